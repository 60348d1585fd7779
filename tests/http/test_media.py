"""Files over HTTP: uploaded as a form, fetched as a download, and never more than there is room for.

On the real clock: files are read in threads, for which a mock clock does not wait.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.house import House
from tests.http.front import API, Front, Reply, SignedProvider, form, front
from tests.simulated import SimulatedConnection
from wad.models import ChatId, InboundMessage, Person, SessionId
from wad.secrets import Vault
from wad.store.files import Files, open_files

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


async def upload(
    ask: Front,
    content: bytes = PNG,
    filename: str | None = "a.png",
    kind: str | None = "image/png",
    session_id: str = "shop",
) -> Reply:
    raw, headers = form(("sessionId", None, None, session_id.encode()), ("file", filename, kind, content))
    return await ask("POST", "/media", raw=raw, headers=headers)


async def test_a_file_is_uploaded_sent_and_fetched():
    """201 with its place; a message names it by wad's id, and the provider hears its own."""
    async with front() as ask:
        await ask.session()
        made = await upload(ask)
        media_id = made.json["mediaId"]
        assert (made.status, made.headers["location"]) == (201, f"{API}/media/{media_id}")
        assert (made.json["size"], made.json["mimeType"], made.json["filename"]) == (
            len(PNG),
            "image/png",
            "a.png",
        )
        sent = await ask(
            "POST", "/send", {"sessionId": "shop", "to": "+5215512345678", "image": {"mediaId": media_id}}
        )
        await trio.sleep(1)
        assert sent.status == 202
        assert ask.house.world.ledger[0].content["image"]["mediaId"] == f"up-{len(PNG)}"
        fetched = await ask("GET", made.headers["location"])
        assert (fetched.status, fetched.body) == (200, f"up-{len(PNG)}".encode())
        assert int(fetched.headers["content-length"]) == len(fetched.body)


async def test_a_file_is_never_shown_as_a_page_of_ours():
    """A download, whatever it says it is, and without a name that breaks out."""
    async with front() as ask:
        await ask.session()
        made = await upload(ask, b"<script>", 'x";\r\nSet-Cookie: a=b.html'.replace("\r\n", ""), "text/html")
        fetched = await ask("GET", made.headers["location"])
        assert fetched.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
        assert "sandbox" in fetched.headers["content-security-policy"]
        assert fetched.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in fetched.headers


NAMES = [
    ("../../etc/passwd.png", "passwd.png"),
    ("niño.png", "niño.png"),
]


@pytest.mark.parametrize(("given", "kept"), NAMES)
async def test_of_a_path_the_name_is_kept(given, kept):
    """Browsers have sent whole paths."""
    async with front() as ask:
        await ask.session()
        assert (await upload(ask, filename=given)).json["filename"] == kept


@pytest.mark.parametrize(("filename", "kind", "known"), [
    ("a.png", None, "image/png"),
    ("a.png", "application/octet-stream", "image/png"),
    ("a.png", "image/webp", "image/webp"),
    ("a.unknown", None, None),
    ("a", "no type", None),
])  # fmt: skip
async def test_a_file_has_a_type(filename, kind, known):
    """What the client says, else what the name says, else 422."""
    async with front() as ask:
        await ask.session()
        made = await upload(ask, filename=filename, kind=kind)
        if known is None:
            assert (made.status, made.pointers) == (422, {"/file"})
        else:
            assert (made.status, made.json["mimeType"]) == (201, known)


BAD_FORMS = [
    ("no file", [("sessionId", None, None, b"shop")], {"/file"}),
    ("no session", [("file", "a.png", "image/png", PNG)], {"/sessionId"}),
    ("two files", [("sessionId", None, None, b"shop"), *[("file", "a.png", "image/png", PNG)] * 2], {"/file"}),
    ("an empty file", [("sessionId", None, None, b"shop"), ("file", "a.png", "image/png", b"")], {"/file"}),
    ("a field of no use", [("sessionId", None, None, b"shop"), ("x", None, None, b"y"), ("file", "a.png", "image/png", PNG)], {"/x"}),
    ("nothing", [], {"/sessionId", "/file"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "pointers"), [row[1:] for row in BAD_FORMS], ids=[row[0] for row in BAD_FORMS]
)
async def test_a_form_is_checked_like_a_body(parts, pointers):
    """422 with every bad field."""
    async with front() as ask:
        await ask.session()
        raw, headers = form(*parts)
        reply = await ask("POST", "/media", raw=raw, headers=headers)
        assert (reply.status, reply.pointers) == (422, pointers)


async def test_only_a_form_is_taken():
    """415 for anything else."""
    async with front() as ask:
        for kind in ("image/png", "application/json", "application/x-www-form-urlencoded"):
            assert (await ask("POST", "/media", raw=PNG, headers={"Content-Type": kind})).status == 415


async def test_a_form_without_an_end_or_a_boundary_is_refused():
    """400 or 422, never a 500."""
    async with front() as ask:
        await ask.session()
        raw, headers = form(("sessionId", None, None, b"shop"), ("file", "a.png", "image/png", PNG))
        for body, kind in (
            (raw[:-10], headers["Content-Type"]),
            (raw, "multipart/form-data"),
            (b"--xx", headers["Content-Type"]),
        ):
            assert (await ask("POST", "/media", raw=body, headers={"Content-Type": kind})).status in (
                400,
                422,
            )


async def test_a_file_larger_than_allowed_is_not_read():
    """413 over http.max_upload, which is not http.max_body."""
    async with front(config={"http": {"max_body": "64KiB", "max_upload": "200KiB"}}) as ask:
        await ask.session()
        assert (await upload(ask, b"x" * 150_000)).status == 201
        assert (await upload(ask, b"x" * 300_000)).status == 413


async def test_no_more_files_are_in_hand_than_fit():
    """429 with Retry-After: each is held in memory until the provider has it."""
    async with front() as ask:
        await ask.session()
        all_taken, done = trio.Event(), trio.Event()
        taken, replies = [], []

        async def slow(self, data, *, mime_type, filename):
            taken.append(filename)
            if len(taken) == 4:
                all_taken.set()
            await done.wait()
            return "up"

        async def one():
            replies.append(await upload(ask))

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(SimulatedConnection, "upload", slow)
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(one)
                await all_taken.wait()
                fifth = await upload(ask)
                assert (fifth.status, fifth.headers["retry-after"]) == (429, "1")
                done.set()
        assert [reply.status for reply in replies] == [201] * 4


async def test_an_unknown_file_is_a_404():
    """As is one of a session that is gone."""
    async with front() as ask:
        await ask.session()
        made = await upload(ask)
        await ask("DELETE", "/sessions/shop")
        assert (await ask("GET", made.headers["location"])).status == 404
        assert (await ask("GET", "/media/med_none")).status == 404


# --- what customers sent ----------------------------------------------------------------------------


class DiskHouse(House):
    """A house that keeps files."""

    def __init__(self, directory: Path) -> None:
        super().__init__(world=SignedProvider())
        self.directory = directory

    def files(self, vault: Vault) -> Files:
        return open_files(self.directory, vault, max_disk=2**30)


async def receive(ask: Front, **more: str) -> str:
    """A customer sends a file to the session `shop`; the id of the message."""
    sent = InboundMessage(
        provider_message_id="in-1",
        chat=ChatId("+521"),
        sender=Person(phone="+521"),
        content={"type": "image", "image": {"mediaId": "up-1", "mimeType": "text/plain", **more}},
    )
    await ask.sessions.actors.get(SessionId("shop")).received([sent])
    item = await ask.stream._store.inbox_by_dedupe("shop", "m:in-1")
    return item.message_id


async def until_fetched(ask: Front, message_id: str) -> dict[str, Any]:
    with trio.fail_after(20):
        while True:
            shown = (await ask("GET", f"/messages/{message_id}")).json
            if shown["media"]["state"] != "waiting":
                return shown
            await trio.sleep(0.01)


async def test_a_message_shows_how_wad_has_its_file(tmp_path: Path):
    """Its state, and what the content says beside what was declared; and the file comes from the disk."""
    async with front(DiskHouse(tmp_path)) as ask:
        await ask.session()
        message_id = await receive(ask)
        media = (await until_fetched(ask, message_id))["media"]
        digest = hashlib.sha256(b"up-1").hexdigest()
        assert (media["state"], media["size"], media["sha256"]) == ("stored", 4, digest)
        assert (media["mimeType"], media["foundType"], media["error"]) == ("text/plain", None, None)
        fetched = await ask("GET", f"/media/{media['mediaId']}")
        assert (fetched.status, fetched.body) == (200, b"up-1")
        assert fetched.headers["content-type"] == "text/plain"
        assert (fetched.headers["content-length"], fetched.headers["etag"]) == ("4", f'"{digest}"')
        again = await ask(
            "GET", f"/media/{media['mediaId']}", headers={"If-None-Match": fetched.headers["etag"]}
        )
        assert (again.status, again.body) == (304, b"")


async def test_a_file_that_is_not_what_it_says_comes_as_bytes(tmp_path: Path):
    """Whatever a customer calls it."""
    async with front(DiskHouse(tmp_path)) as ask:
        await ask.session()
        shown = await until_fetched(ask, await receive(ask, mimeType="image/png"))
        media = shown["media"]
        assert (media["state"], media["mimeType"], media["foundType"]) == ("stored", "image/png", None)
        fetched = await ask("GET", f"/media/{media['mediaId']}")
        assert fetched.headers["content-type"] == "application/octet-stream"


async def test_a_file_that_is_gone_from_the_disk_comes_from_its_provider(tmp_path: Path):
    """Somebody cleaned up: the row says one thing and the disk another."""
    async with front(DiskHouse(tmp_path)) as ask:
        await ask.session()
        media_id = (await until_fetched(ask, await receive(ask)))["media"]["mediaId"]
        [path] = (tmp_path / "media").rglob("med_*")
        path.unlink()
        fetched = await ask("GET", f"/media/{media_id}")
        assert (fetched.status, fetched.body) == (200, b"up-1")


async def test_what_is_shown_of_a_file_has_no_secret(tmp_path: Path):
    """The provider's id may be the key that opens the file."""
    async with front(DiskHouse(tmp_path)) as ask:
        await ask.session()
        shown = await until_fetched(ask, await receive(ask, mediaId="wa:its-key"))
        assert "its-key" not in json.dumps(shown)
        lists = await ask("GET", "/messages")
        assert "media" not in lists.json["items"][0]
