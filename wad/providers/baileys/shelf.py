"""Files on this machine's disk: what shops uploaded, what their links lead to, and what is on its way to a reader.

WhatsApp Web keeps no file by an id, so an upload waits here until it is sent or too old. A link is fetched by wad, through
the guard, and not by the library, which would fetch anything from anywhere.
"""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from time import time
from typing import Any, Final
from urllib.parse import unquote

import httpx
import trio

from wad import __version__
from wad.errors import ProviderError, Verdict
from wad.providers.baileys.content import FILES, File
from wad.providers.baileys.files import Uploaded, of_id, uploaded_id
from wad.providers.base import Link, MediaContent
from wad.providers.http import Answer, Origin, Pools, request, stream

log: Final = logging.getLogger("wad.providers.baileys")

#: The largest file that WhatsApp's own clients take without asking is a document of 100 MB.
MOST_BYTES: Final = 100 * 2**20
#: Seconds to wait, in all, for such a file behind a link.
FETCH: Final = 60.0
_REDIRECTS: Final = 3
#: Seconds that a fetched link is good for, so that a campaign fetches its picture once: as long as Meta keeps one.
_FRESH: Final = 600.0
#: Seconds that a file is kept: an upload as long as its id is good for (30 days and one to spare), others for a day.
_KEPT: Final[Mapping[str, float]] = {"media": 31 * 86400.0, "links": 86400.0, "received": 86400.0}
SWEEP_EVERY: Final = 86400.0
#: Bytes that uploads may take, and as many that links may: fifty of the largest files, or 25,000 photos.
MOST_KEPT: Final = 5 * 2**30
#: Seconds after which a fetched link may go where there is no room: nobody takes it any more, and no send is under way.
_STALE: Final = 2 * _FRESH
_CHUNK: Final = 64 * 1024


class Shelf:
    """One a process. Names of files are ours; nobody else's text becomes a path."""

    def __init__(self, directory: Path, pools: Pools, *, most: int = MOST_KEPT) -> None:
        self._directory = directory
        self._pools = pools
        self._most = most
        self._held = {"media": 0, "links": 0}  # bytes on the disk; counted anew at each sweep
        self._coming = 0  # bytes of links that are being fetched, each taken for the largest there is
        self._fetching: dict[str, trio.Lock] = {}
        self._fetched: dict[str, tuple[File, float]] = {}  # by session and URL; until when

    def __repr__(self) -> str:
        return f"<Shelf {self._directory}>"

    @property
    def spool(self) -> Path:
        return self._directory / "spool"

    async def make(self) -> None:
        for name in (*_KEPT, "spool"):
            await trio.Path(self._directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    async def forget_spool(self, name: str) -> None:
        """Remove the spool of the session that bridges call *name*, and one that was being written anew."""
        with trio.CancelScope(shield=True):
            for ending in ("jsonl", "jsonl.new"):
                try:
                    await trio.Path(self.spool / f"{name}.{ending}").unlink(missing_ok=True)
                except OSError as error:
                    log.error(  # noqa: TRY400  the session is gone all the same, and the file cannot be read
                        "spool_not_removed", extra={"detail": f"{name}.{ending}: {error.strerror}"}
                    )

    async def sweep(self) -> None:
        """Remove what is too old, by the day it was written."""
        await trio.to_thread.run_sync(self._sweep)
        now = trio.current_time()
        self._fetched = {what: kept for what, kept in self._fetched.items() if kept[1] > now}
        self._fetching = {what: lock for what, lock in self._fetching.items() if lock.locked()}

    def _sweep(self) -> None:
        for name, seconds in _KEPT.items():
            self._remove(name, older=seconds)

    def _remove(self, name: str, *, older: float) -> None:
        held = 0
        for path in (self._directory / name).iterdir():
            try:
                found = path.stat()
                if found.st_mtime < time() - older:
                    path.unlink()
                else:
                    held += found.st_size
            except FileNotFoundError:
                continue
        if name in self._held:
            self._held[name] = held

    def _fits(self, name: str, size: int) -> bool:
        coming = self._coming if name == "links" else 0
        return self._held[name] + coming + size <= self._most

    # --- uploads ------------------------------------------------------------------------------------

    async def keep(self, data: bytes, *, mime_type: str, filename: str | None) -> str:
        """Keep *data* until it is sent, or old; its media id."""
        if not self._fits("media", len(data)):
            raise _full("uploads", self._most)
        self._held["media"] += len(data)
        file = Uploaded(secrets.token_hex(16), mime_type, filename)
        path = trio.Path(self._directory / "media" / file.name)
        await path.with_suffix(".part").write_bytes(data)
        await path.with_suffix(".part").rename(path)
        return uploaded_id(file)

    def path_of(self, file: Uploaded) -> Path:
        return self._directory / "media" / file.name

    # --- what a message names -----------------------------------------------------------------------

    async def find(self, content: Mapping[str, Any], session: str, link: Link) -> File | None:
        """The file that *content* names; None where it names none. Raises ProviderError where it cannot be had."""
        if content["type"] not in FILES:
            return None
        part = content[content["type"]]
        if "link" in part:
            return await self._linked(part["link"], session, link)
        match of_id(part["mediaId"]):
            case Uploaded() as file:
                path = self.path_of(file)
                if not await trio.Path(path).exists():
                    raise _gone("the file is kept no more: upload it again")
                return File(path, file.mime_type, file.filename)
            case _:
                raise _gone("the id names no uploaded file")

    async def _linked(self, url: str, session: str, link: Link) -> File:
        what = f"{session} {url}"
        async with self._fetching.setdefault(what, trio.Lock()):
            known = self._fetched.get(what)
            if (
                known is not None
                and known[1] > trio.current_time()
                and await trio.Path(known[0].path).exists()
            ):
                return known[0]
            path = self._directory / "links" / hashlib.sha256(what.encode()).hexdigest()
            try:
                file = await self._in_bounds(url, path, link)
            except ProviderError as error:
                raise _of_link(error) from None
            self._fetched[what] = file, trio.current_time() + _FRESH
            return file

    async def _in_bounds(self, url: str, path: Path, link: Link) -> File:
        """Fetch, with room for the largest file there is: how large this one is is known once it is there."""
        if not self._fits("links", MOST_BYTES):
            await trio.to_thread.run_sync(partial(self._remove, "links", older=_STALE))
            if not self._fits("links", MOST_BYTES):
                raise _full("links", self._most)
        self._coming += MOST_BYTES
        try:
            before = await _size(path)
            file = await self._fetch(url, path, link)
            self._held["links"] += await _size(path) - before
        finally:
            self._coming -= MOST_BYTES
        return file

    async def _fetch(self, url: str, path: Path, link: Link) -> File:
        target = _target(url)
        for _ in range(_REDIRECTS + 1):
            where: list[str] = []
            headers = httpx.Headers(
                {
                    "Host": target.netloc.decode("ascii"),
                    "User-Agent": f"wad/{__version__}",
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                }
            )
            try:
                async with (
                    stream(
                        self._pools.to(Origin.of(target, guarded=True)),
                        request("GET", target, headers),
                        partial(_refused, where),
                        link=link,
                        operation="fetch_link",
                        seconds=FETCH,
                        most=MOST_BYTES,
                    ) as (answer, chunks),
                    await trio.open_file(path.with_suffix(".part"), "wb") as file,
                ):
                    async for chunk in chunks:
                        await file.write(chunk)
            except ProviderError:
                if not where:
                    raise
                target = _target(where[0], target)
                continue
            await trio.Path(path.with_suffix(".part")).rename(path)
            name = unquote(target.path.rpartition("/")[2])[-255:] or None
            return File(path, _mime(answer.get("content-type"), name), name)
        raise ProviderError(
            Verdict.REJECTED, "the link leads from one redirection to the next", code="media_unreachable"
        )

    # --- files for readers --------------------------------------------------------------------------

    def place(self) -> Path:
        """Where a file may be put that somebody is about to read."""
        return self._directory / "received" / secrets.token_hex(16)


@asynccontextmanager
async def reading(
    path: Path, *, mime_type: str, sha256: str | None, once: bool
) -> AsyncIterator[MediaContent]:
    """The file at *path*, removed afterwards where it is for reading *once*."""
    try:
        async with await trio.open_file(path, "rb") as file:
            size = (await trio.Path(path).stat()).st_size
            async with aclosing(_chunks(file)) as chunks:
                yield MediaContent(mime_type, size, sha256, chunks)
    except FileNotFoundError:
        raise _gone("the file is kept no more") from None
    finally:
        if once:
            with trio.CancelScope(shield=True):
                await trio.Path(path).unlink(missing_ok=True)


async def _chunks(file: Any) -> AsyncGenerator[bytes, None]:
    while chunk := await file.read(_CHUNK):
        yield chunk


def _target(url: str, base: httpx.URL | None = None) -> httpx.URL:
    """What is to be fetched; where a redirection leads, seen from *base*."""
    try:
        target = httpx.URL(url) if base is None else base.join(url)
        target.netloc.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise ProviderError(Verdict.REJECTED, f"it is no URL: {error}", code="media_unreachable") from None
    if target.scheme not in ("http", "https") or not target.host or target.userinfo:
        raise ProviderError(Verdict.REJECTED, "it is no plain URL of the web", code="media_unreachable")
    return target


def _mime(header: str | None, name: str | None) -> str | None:
    """What the server says it is, unless it does not know; else what the name says."""
    bare = (header or "").partition(";")[0].strip().lower()
    if bare and bare not in ("application/octet-stream", "binary/octet-stream"):
        return header
    return mimetypes.guess_type(name or "")[0]


def _refused(where: list[str], answer: Answer) -> ProviderError:
    """What an answer that is no file means; where it leads elsewhere, that is put into *where*."""
    location = answer.headers.get("location")
    if answer.status in (301, 302, 303, 307, 308) and location:
        where.append(location)
    busy = answer.status == 429 or answer.status >= 500
    return ProviderError(
        Verdict.NOT_SENT if busy else Verdict.REJECTED,
        f"the link answers with HTTP {answer.status}",
        code="media_unreachable",
        provider_code=str(answer.status),
    )


def _of_link(error: ProviderError) -> ProviderError:
    """*error* as what it means for this one message: a shop's server that is down says nothing about WhatsApp."""
    if error.code == "url_not_allowed":
        return ProviderError(Verdict.REJECTED, "the guard refuses the link", code="url_not_allowed")
    if error.code == "media_store_full":
        return error
    code = error.code if error.code == "media_too_large" else "media_unreachable"
    detail = error.detail.replace("the provider", "its server")  # the words of every exchange of ours
    return ProviderError(error.verdict, f"the link: {detail}", code=code, provider_code=error.provider_code)


def _full(what: str, most: int) -> ProviderError:
    return ProviderError(
        Verdict.NOT_SENT,
        f"the files of {what} take {most} bytes on wad's disk already: there is room when the oldest have gone",
        code="media_store_full",
    )


async def _size(path: Path) -> int:
    try:
        return (await trio.Path(path).stat()).st_size
    except FileNotFoundError:
        return 0


def _gone(detail: str) -> ProviderError:
    return ProviderError(Verdict.REJECTED, detail, code="media_gone")
