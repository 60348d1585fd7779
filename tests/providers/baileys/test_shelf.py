"""Files on disk: uploads that wait to be sent, links that are fetched, and what becomes of old ones."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from wad.conformance.peer import Peer, answering, hang_up, serving
from wad.errors import ProviderError, Verdict
from wad.guard import Guard
from wad.providers.baileys.files import Uploaded, of_id
from wad.providers.baileys.shelf import MOST_BYTES, Shelf
from wad.providers.pools import Pools


class Deaf:
    """A link that keeps how calls went, and hears nothing else."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def called(self, operation: str, result: str, seconds: float) -> None:
        self.calls.append((operation, result))


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with serving() as peer:
        peer.otherwise = answering(200, b"a photo", content_type="image/png")
        yield peer


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with Pools(guard=Guard(["127.0.0.0/8"]).network()) as pools:
        shelf = Shelf(tmp_path, pools)
        await shelf.make()
        yield shelf


def image(**part: str) -> dict[str, Any]:
    return {"type": "image", "image": part}


async def find(shelf: Shelf, heard: Deaf | None = None, **part: str) -> Any:
    return await shelf.find(image(**part), "shop", heard or Deaf())


async def refused(shelf: Shelf, **part: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await find(shelf, **part)
    return caught.value


async def test_an_upload_is_found_again_with_all_that_was_said_of_it(shelf: Shelf):
    media_id = await shelf.keep(b"%PDF", mime_type="application/pdf", filename="año; 1.pdf")

    file = await find(shelf, mediaId=media_id)

    assert (file.mime_type, file.filename) == ("application/pdf", "año; 1.pdf")
    assert file.path.read_bytes() == b"%PDF"


@pytest.mark.parametrize("media_id", ["", "x", "up:../../etc/passwd;a;b", "up:;;", "wa:e30=", "1234"])
async def test_an_id_that_is_not_ours_leads_to_no_file(shelf: Shelf, media_id: str):
    error = await refused(shelf, mediaId=media_id)

    assert (error.verdict, error.code) == (Verdict.REJECTED, "media_gone")


async def test_a_link_is_fetched_once_for_many_recipients(shelf: Shelf, peer: Peer):
    """A campaign's picture is not asked for a thousand times."""
    link = Deaf()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(find_into, shelf, link, f"{peer.url}/a/photo.png?x=1")
    file = await find(shelf, link, link=f"{peer.url}/a/photo.png?x=1")

    assert (file.path.read_bytes(), file.mime_type, file.filename) == (b"a photo", "image/png", "photo.png")
    assert len(peer.received) == 1
    assert link.calls == [("fetch_link", "ok")]
    assert "authorization" not in peer.last.headers


async def test_files_take_no_more_than_their_share_of_the_disk(tmp_path: Path, peer: Peer):
    """Uploads and links each; what there is no room for is tried again later, when the day's sweep has been."""
    async with Pools(guard=Guard(["127.0.0.0/8"]).network()) as pools:
        shelf = Shelf(tmp_path, pools, most=MOST_BYTES + 10)
        await shelf.make()
        await find(shelf, link=f"{peer.url}/1.png")  # 7 bytes, and room for one more of the largest
        await find(shelf, link=f"{peer.url}/2.png")
        error = await refused(shelf, link=f"{peer.url}/3.png")
        assert (error.verdict, error.code) == (Verdict.NOT_SENT, "media_store_full")
        assert (await find(shelf, link=f"{peer.url}/1.png")).path.read_bytes() == b"a photo"
        age(tmp_path / "links", 1201)  # nobody is sending them any more
        await find(shelf, link=f"{peer.url}/3.png")
        assert len(list((tmp_path / "links").iterdir())) == 1

        await shelf.keep(bytes(MOST_BYTES), mime_type="video/mp4", filename=None)
        with pytest.raises(ProviderError, match="uploads take"):
            await shelf.keep(bytes(11), mime_type="video/mp4", filename=None)
        age(tmp_path / "media", 32 * 86400)
        await shelf.sweep()
        await shelf.keep(bytes(11), mime_type="video/mp4", filename=None)


def age(directory: Path, seconds: float) -> None:
    for path in directory.iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


async def find_into(shelf: Shelf, link: Deaf, url: str) -> None:
    await find(shelf, link, link=url)


async def test_a_type_that_the_server_does_not_know_is_told_by_the_name(shelf: Shelf, peer: Peer):
    peer.otherwise = answering(200, b"%PDF", content_type="application/octet-stream")

    assert (await find(shelf, link=f"{peer.url}/f.pdf")).mime_type == "application/pdf"


async def test_a_redirection_is_followed(shelf: Shelf, peer: Peer):
    peer.scripts = [answering(302, location="/elsewhere.png")]

    file = await find(shelf, link=f"{peer.url}/here")

    assert (peer.last.path, file.filename) == ("/elsewhere.png", "elsewhere.png")


FAILURES = {
    "not found": (answering(404), Verdict.REJECTED, "media_unreachable"),
    "broken": (answering(500), Verdict.NOT_SENT, "media_unreachable"),
    "busy": (answering(429), Verdict.NOT_SENT, "media_unreachable"),
    "cut": (hang_up, Verdict.NOT_SENT, "media_unreachable"),
    "in circles": (answering(302, location="/"), Verdict.REJECTED, "media_unreachable"),
    "to a file": (answering(302, location="file:///etc/passwd"), Verdict.REJECTED, "media_unreachable"),
    "to nowhere": (answering(302, location="http://x:y/"), Verdict.REJECTED, "media_unreachable"),
    "inside": (answering(302, location="http://10.0.0.1/"), Verdict.REJECTED, "url_not_allowed"),
}


@pytest.mark.parametrize(("script", "verdict", "code"), FAILURES.values(), ids=list(FAILURES))
async def test_a_link_that_leads_to_no_file_fails_this_message_alone(
    shelf: Shelf, peer: Peer, script, verdict, code
):
    """A shop's server that is down says nothing of WhatsApp's health: the breaker must not open for it."""
    peer.otherwise = script

    error = await refused(shelf, link=f"{peer.url}/x")

    assert (error.verdict, error.code, error.health) == (verdict, code, False)


async def test_a_link_that_cannot_be_reached_is_not_called_the_provider(shelf: Shelf):
    """Whoever reads it looks for the trouble where it is."""
    error = await refused(shelf, link="http://127.0.0.1:1/x.png")

    assert (error.code, "provider" in error.detail) == ("media_unreachable", False)


@pytest.mark.parametrize(
    "url", ["http://x:y/", "https://user:pass@127.0.0.1/", "http:///x", "http://169.254.169.254/"]
)
async def test_a_url_that_is_none_or_leads_inside_is_refused(shelf: Shelf, url: str):
    assert (await refused(shelf, link=url)).verdict is Verdict.REJECTED


async def test_what_is_old_is_removed_and_what_is_not_stays(shelf: Shelf, tmp_path: Path):
    old, new = [await shelf.keep(b"x", mime_type="image/png", filename=None) for _ in range(2)]
    for directory in ("links", "received"):
        (tmp_path / directory / "left").write_bytes(b"x")
        os.utime(tmp_path / directory / "left", (0, 0))
    kept = of_id(old)
    assert isinstance(kept, Uploaded)
    os.utime(shelf.path_of(kept), (0, 0))

    await shelf.sweep()

    assert (await refused(shelf, mediaId=old)).code == "media_gone"
    assert (await find(shelf, mediaId=new)).path.exists()
    assert not [*(tmp_path / "links").iterdir(), *(tmp_path / "received").iterdir()]


async def test_nobody_else_may_read_the_files(shelf: Shelf, tmp_path: Path):
    found = await trio.to_thread.run_sync(lambda: list(tmp_path.iterdir()))
    modes = {path.name: path.stat().st_mode & 0o777 for path in found}

    assert modes == {"media": 0o700, "links": 0o700, "received": 0o700, "spool": 0o700}
