"""One account of Meta's, or of a look-alike's: prove it, send, mark read, list groups, move files."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import httpx
import msgspec

from wad.errors import ProviderError, Verdict
from wad.models import OutboundMessage, sha256_digests
from wad.providers.base import Accepted, Connection, Group, GroupMember, Link, MediaContent, Proof
from wad.providers.http import Answer, Origin, Pools, request, stream
from wad.providers.meta.account import Account
from wad.providers.meta.graph import Graph
from wad.providers.meta.probe import proof_of
from wad.providers.meta.profile import MetaProfile
from wad.providers.meta.send import body_of, read_body
from wad.providers.rules import garbled

T = TypeVar("T")

#: The largest file that WhatsApp carries is a document of 100 MB.
MOST_BYTES: Final = 100 * 2**20
#: Seconds to wait, in all, for such a file: 350 kB/s.
DOWNLOAD: Final = 300.0
#: Meta's own bounds: 10,000 groups a number, 1,024 a page.
_GROUP_PAGE: Final = 1024
_GROUP_PAGES: Final = 10
#: What Meta says of any object that is not there, or is not ours; all that was named here is the group.
_NO_SUCH_OBJECT: Final = ("33", "100")
_GROUP_FIELDS: Final = "id,subject,description,creation_timestamp,total_participant_count,participants"


class _Place(msgspec.Struct, frozen=True):
    """Where a file lies, for 5 minutes."""

    url: str
    mime_type: str | None
    size: int | None
    sha256: str | None


class MetaConnection(Connection):
    """A session's connection. It holds no socket: the pools do."""

    def __init__(self, account: Account, pools: Pools, link: Link) -> None:
        self._account = account
        self._pools = pools
        self._link = link
        self._graph = Graph(account, pools, link)
        self._sending: tuple[httpx.URL, httpx.Headers] | None = None  # made with the first send: 4 KB

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._account!r}>"

    async def connect(self) -> Proof:
        if self._account.lacks is not None:
            code, detail = self._account.lacks
            raise ProviderError(Verdict.NEEDS_PERSON, detail, code=code)
        refused: ProviderError | None = None
        for probe in self._account.probes:
            try:
                url = self._account.url(f"{self._account.number}{probe}")
                return await self._graph.get("probe", url, self._proof)
            except ProviderError as error:
                if error.verdict is not Verdict.REJECTED:
                    raise
                refused = error
        assert refused is not None
        # The request is right, so what it names is not: a number that is not this token's, a proof that is wrong.
        raise ProviderError(
            Verdict.NEEDS_PERSON, refused.detail, code="number_unknown", provider_code=refused.provider_code
        )

    async def send(self, message: OutboundMessage) -> Accepted:
        return await self._post("send", body_of(message), self._accepted)

    async def send_marketing(
        self, message: OutboundMessage, *, policy: str, seconds: float | None = None
    ) -> Accepted:
        """Hand a marketing template over through Meta's API for those; it refuses everything else."""
        body = body_of(message, product_policy=policy)
        return await self._post(
            "send_marketing", body, self._accepted, to="marketing_messages", seconds=seconds
        )

    async def send_within(self, message: OutboundMessage, seconds: float) -> Accepted:
        """The same as `send`, where part of its time is spent already."""
        return await self._post("send", body_of(message), self._accepted, seconds=seconds)

    @property
    def profile(self) -> MetaProfile:
        return MetaProfile(self._graph)

    async def mark_read(self, provider_message_id: str, *, typing: bool) -> None:
        body = read_body(provider_message_id, typing=typing)
        await self._post("mark_read", body, self._graph.object, repeatable=True)

    async def groups(self) -> list[Group]:
        found: list[Group] = []
        query = {"limit": str(_GROUP_PAGE)}
        for _ in range(_GROUP_PAGES):
            url = self._account.url(f"{self._account.number}/groups", **query)
            page, after = await self._graph.get("groups", url, self._group_page)
            found += page
            if not page or after is None:
                break
            query["after"] = after
        return found

    async def group(self, group_id: str) -> Group:
        url = self._account.object_url(group_id, fields=_GROUP_FIELDS)
        try:
            return await self._graph.get("group", url, self._one_group)
        except ProviderError as error:
            if error.provider_code not in _NO_SUCH_OBJECT:
                raise
            raise ProviderError(
                Verdict.REJECTED, error.detail, code="group_unknown", provider_code=error.provider_code
            ) from error

    async def upload(self, data: bytes, *, mime_type: str, filename: str | None) -> str:
        url = self._account.url(f"{self._account.number}/media")
        form = httpx.Request(  # for its multipart body; the request that goes out is ours
            "POST",
            url,
            data={"messaging_product": "whatsapp", "type": mime_type},
            files={"file": (filename or "file", data, mime_type)},
        )
        headers = httpx.Headers({**self._account.headers(url), "Content-Type": form.headers["Content-Type"]})
        return await self._graph.call(
            "upload",
            "POST",
            url,
            headers,
            self._media_id,
            body=form.read(),
            upload=True,
            repeatable=True,  # twice is one file too many, and it expires
        )

    @asynccontextmanager
    async def download(self, provider_media_id: str) -> AsyncIterator[MediaContent]:
        """The file; that its hash is right is known once it is read to its end, and NOT_SENT is raised if not."""
        async with AsyncExitStack() as stack:
            yield await self._open_file(provider_media_id, stack)

    # --- requests -----------------------------------------------------------------------------------

    async def _post(
        self,
        operation: str,
        body: bytes,
        read: Callable[[Answer], T],
        *,
        repeatable: bool = False,
        to: str = "messages",
        seconds: float | None = None,
    ) -> T:
        if to != "messages":
            url = self._account.url(f"{self._account.number}/{to}")
            sending = url, self._graph.json_headers(url)
        elif self._sending is None:
            url = self._account.url(f"{self._account.number}/{to}")
            sending = self._sending = url, self._graph.json_headers(url)
        else:
            sending = self._sending
        return await self._graph.call(
            operation, "POST", *sending, read, body=body, repeatable=repeatable, seconds=seconds
        )

    async def _open_file(self, media_id: str, stack: AsyncExitStack) -> MediaContent:
        for last in (False, True):
            place = await self._graph.get("media_url", self._account.object_url(media_id), self._place)
            url = self._account.file_url(place.url)
            if url is None:
                raise ProviderError(
                    Verdict.REJECTED,
                    "the file lies on a host that is not the provider's",
                    code="media_refused",
                )
            opening = stream(
                self._pools.to(Origin.of(url, guarded=self._account.guarded)),
                request("GET", url, self._account.headers(url, accept="*/*")),
                self._file_refused,
                link=self._link,
                operation="download",
                seconds=DOWNLOAD,
                most=MOST_BYTES,
            )
            try:
                headers, chunks = await stack.enter_async_context(opening)
            except ProviderError as error:
                if last or error.code != "media_gone":
                    raise
                continue  # its URL was older than 5 minutes: ask for another one
            mime_type = place.mime_type or headers.get("content-type", "application/octet-stream")
            checked = await stack.enter_async_context(aclosing(_checked(chunks, place.sha256)))
            return MediaContent(mime_type, place.size, place.sha256, checked)
        raise AssertionError("the last try either returned or raised")

    # --- answers ------------------------------------------------------------------------------------

    def _accepted(self, answer: Answer) -> Accepted:
        match self._graph.object(answer):
            case {"messages": [{"id": str(message_id), **more}, *_]} if message_id:
                note = more.get("message_status", "accepted")
                return Accepted(message_id, None if note == "accepted" else str(note))
            case _:
                raise garbled(answer)

    def _proof(self, answer: Answer) -> Proof:
        proof = proof_of(self._graph.object(answer))
        if not proof.data:  # JSON, but of somebody else: a hotel's network, a proxy
            raise garbled(answer)
        return proof

    def _media_id(self, answer: Answer) -> str:
        match self._graph.object(answer):
            case {"id": str(media_id)} if media_id:
                return media_id
            case _:
                raise garbled(answer)

    def _place(self, answer: Answer) -> _Place:
        match self._graph.object(answer):
            case {"url": str(url), **more} if url:
                mime_type, size, sha256 = more.get("mime_type"), more.get("file_size"), more.get("sha256")
                return _Place(
                    url,
                    mime_type if isinstance(mime_type, str) else None,
                    size if isinstance(size, int) else None,
                    sha256 if isinstance(sha256, str) else None,
                )
            case _:
                raise garbled(answer)

    def _file_refused(self, answer: Answer) -> ProviderError:
        if answer.status == httpx.codes.NOT_FOUND:
            return ProviderError(Verdict.REJECTED, "the provider has the file no more", code="media_gone")
        return self._graph.refused(answer)

    def _one_group(self, answer: Answer) -> Group:
        item = self._graph.object(answer)
        if not isinstance(item.get("id"), str):
            raise garbled(answer)
        return _group(item)

    def _group_page(self, answer: Answer) -> tuple[list[Group], str | None]:
        items, after = self._graph.page(answer)
        return [_group(item) for item in items if isinstance(item.get("id"), str)], after


def _members(listed: Any) -> tuple[GroupMember, ...] | None:
    """Those that an answer names: `wa_id` is a phone number, `user_id` stands for one that is not shown."""
    if not isinstance(listed, list):
        return None
    found = []
    for item in listed:
        match item:
            case {"wa_id": str(digits)} if digits:
                found.append(GroupMember(digits, phone=f"+{digits.lstrip('+')}"))
            case {"user_id": str(user_id)} if user_id:
                found.append(GroupMember(user_id))
            case _:
                continue
    return tuple(found)


def _group(item: dict[str, Any]) -> Group:
    subject, description = item.get("subject"), item.get("description")
    participants = item.get("total_participant_count")
    return Group(
        group_id=item["id"],
        subject=subject if isinstance(subject, str) else None,
        description=description if isinstance(description, str) else None,
        created_at=_time(item.get("created_at") or item.get("creation_timestamp")),
        participants=participants if isinstance(participants, int) else None,
        members=_members(item.get("participants")),
    )


def _time(seconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    except (TypeError, ValueError, OverflowError, OSError):
        return None


async def _checked(chunks: AsyncIterator[bytes], sha256: str | None) -> AsyncGenerator[bytes, None]:
    """*chunks*, and an error at their end if they are not what *sha256* promised (in hex, or in base64)."""
    digest = hashlib.sha256()
    async for chunk in chunks:
        digest.update(chunk)
        yield chunk
    expected = sha256_digests(sha256 or "")
    if expected and digest.digest() not in expected:
        raise ProviderError(
            Verdict.NOT_SENT, "the file that arrived is not the one that was promised", code="media_corrupt"
        )
