"""What customers send besides text is fetched in the background: kept on disk, tried again, or given up with a reason.

Files are written at once here, and not in threads, for which a mock clock would not wait.
"""

from __future__ import annotations

import base64
import errno
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.house import House, now, paired, shop
from tests.simulated import SimulatedConnection, SimulatedProvider, SocketProvider, refusal
from wad.actors.fetching import CONCURRENCY
from wad.actors.services import Limits
from wad.errors import ProviderError, Verdict
from wad.events import MediaFetched
from wad.models import ChatId, InboundMessage, InboxItem, InboxState, Media, MediaState, Person, SessionId
from wad.providers.base import MediaContent
from wad.secrets import Vault
from wad.store.files import DIRECTORY, Files
from wad.store.store import Retention
from wad.supervisor.sessions import Sessions

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200_000)
#: What a download does in place of giving the file. It may raise.
Behaviour = Callable[[], Any]


class World(SimulatedProvider):
    """The simulated provider with files: their content by its id, and what goes wrong with the next downloads."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.told: dict[str, str] = {}  # the hash that it promises
        self.fails: list[Exception] = []
        self.slow = 0.0  # seconds that each download takes
        self.asked: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0

    @asynccontextmanager
    async def open(self, session: Any, link: Any) -> AsyncIterator[SimulatedConnection]:
        self.opened.append(session.session_id)
        yield FileConnection(self, session, link)


class FileConnection(SimulatedConnection):
    @asynccontextmanager
    async def download(self, provider_media_id: str) -> AsyncIterator[MediaContent]:
        async with downloading(self._world, provider_media_id) as content:
            yield content


@asynccontextmanager
async def downloading(world: Any, provider_media_id: str) -> AsyncIterator[MediaContent]:
    world.asked.append((trio.current_time(), provider_media_id))
    world.at_once += 1
    world.most_at_once = max(world.most_at_once, world.at_once)
    try:
        content = world.files.get(provider_media_id, PNG)
        async with aclosing(_chunks(world, content)) as chunks:
            yield MediaContent("image/png", None, world.told.get(provider_media_id), chunks)
    finally:
        world.at_once -= 1


async def _chunks(world: Any, content: bytes) -> AsyncGenerator[bytes, None]:
    yield content[: len(content) // 2]
    await trio.sleep(world.slow)
    if world.fails:
        raise world.fails.pop(0)
    yield content[len(content) // 2 :]


class DiskHouse(House):
    """A house with a disk."""

    def __init__(self, directory: Path, world: SimulatedProvider | None = None, **more: Any) -> None:
        super().__init__(world=world or World(), **more)
        self.directory = directory
        self.max_disk = 2**30
        self.broken: list[OSError] = []  # what the next uses of the disk raise

    def files(self, vault: Vault) -> Files:
        async def at_once(work: Callable[[], Any]) -> Any:
            await trio.lowlevel.checkpoint()
            if self.broken:
                raise self.broken.pop(0)
            return work()

        return Files(self.directory / DIRECTORY, vault, max_disk=self.max_disk, in_thread=at_once)


@pytest.fixture
def house(tmp_path: Path) -> DiskHouse:
    return DiskHouse(tmp_path)


def picture(number: int = 1, *, sha256: str | None = None, kind: str = "image/png") -> InboundMessage:
    file = {"mediaId": f"file-{number}", "mimeType": kind, "caption": "mira"}
    if sha256 is not None:
        file["sha256"] = sha256
    return InboundMessage(
        provider_message_id=f"in-{number}",
        chat=ChatId(f"+52{number}"),
        sender=Person(phone=f"+52{number}"),
        content={"type": "image", "image": file},
    )


async def receive(sessions: Sessions, *messages: InboundMessage) -> None:
    await sessions.actors.get(SessionId("shop")).received(messages)


async def media_of(house: DiskHouse, number: int = 1) -> Media:
    item = await house.store().inbox_by_dedupe("shop", f"m:in-{number}")
    assert isinstance(item, InboxItem)
    assert isinstance(item.event, InboundMessage)
    media = await house.store().media(item.event.content["image"]["mediaId"])
    assert media is not None
    return media


async def served(sessions: Sessions, media: Media) -> tuple[str, bytes]:
    async with sessions.calls.download(media) as content:
        return content.mime_type, b"".join([chunk async for chunk in content.chunks])


def results(house: DiskHouse) -> list[str]:
    return [fact.result for fact in house.facts_of(MediaFetched)]


async def test_a_customers_file_is_kept_without_anybody_asking(house: DiskHouse, autojump_clock: MockClock):
    """Fetched once, and served from the disk ever after, whatever becomes of the provider's."""
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture())
        await trio.sleep(1)
        media = await media_of(house)
        assert (media.state, media.size, media.found_type) == (MediaState.STORED, len(PNG), "image/png")
        assert media.sha256 == hashlib.sha256(PNG).hexdigest()
        assert media.expires_at - media.created_at == house.limits.file_ttl
        house.world.files["file-1"] = b"another one"
        assert await served(sessions, media) == ("image/png", PNG)
        assert (len(house.world.asked), results(house)) == (1, ["stored"])
        assert sessions.media_bytes > len(PNG)


async def test_a_message_does_not_wait_for_its_file(house: DiskHouse, autojump_clock: MockClock):
    """Stored and done while the file is still on its way, however long that takes."""
    house.world.slow = 3600
    async with house.run() as sessions:
        await shop(sessions)
        before = trio.current_time()
        await receive(sessions, picture())
        assert trio.current_time() == before
        item = await house.store().inbox_by_dedupe("shop", "m:in-1")
        assert item is not None
        assert item.state is InboxState.DONE
        assert (await media_of(house)).state is MediaState.WAITING


async def test_what_is_waiting_can_be_had_from_the_provider_meanwhile(house: DiskHouse):
    """Nobody has to know how far the fetching is. On the real clock: this way is through a thread."""
    house.world.slow = 3600
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture())
        await trio.testing.wait_all_tasks_blocked()
        media = await media_of(house)
        assert media.state is MediaState.WAITING
        house.world.slow = 0
        assert (await served(sessions, media))[1] == PNG
        assert len(house.world.asked) == 2


async def test_few_files_are_fetched_side_by_side(house: DiskHouse, autojump_clock: MockClock):
    """A customer who sends an album does not keep the session, or the process, from anything else."""
    house.world.slow = 1
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, *(picture(number) for number in range(10)))
        await trio.sleep(30)
        assert house.world.most_at_once == CONCURRENCY
        assert {(await media_of(house, number)).state for number in range(10)} == {MediaState.STORED}


async def test_a_file_that_came_twice_is_fetched_once(house: DiskHouse, autojump_clock: MockClock):
    """A webhook that is told again names the same file."""
    async with house.run() as sessions:
        await shop(sessions)
        for _ in range(3):
            await receive(sessions, picture())
            await trio.sleep(5)
    assert len(house.world.asked) == 1


RETRIED = [
    ("unreachable", refusal(Verdict.NOT_SENT, "provider_unreachable"), 1.0),
    ("throttled, with a time", refusal(Verdict.THROTTLED, "rate_limited", retry_after=90.0), 90.0),
    ("cut", refusal(Verdict.UNKNOWN, "connection_lost"), 1.0),
    ("a person is needed", refusal(Verdict.NEEDS_PERSON, "token_invalid"), 1.0),
]


@pytest.mark.parametrize(("error", "pause"), [row[1:] for row in RETRIED], ids=[row[0] for row in RETRIED])
async def test_what_may_pass_is_tried_again(
    house: DiskHouse, autojump_clock: MockClock, error: ProviderError, pause: float
):
    """After a wait, with jitter; and as long as the provider says."""
    house.world.fails = [error]
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture())
        await trio.sleep(0.5)
        waiting = await media_of(house)
        assert (waiting.state, waiting.attempts) == (MediaState.WAITING, 1)
        assert waiting.error is not None
        assert waiting.error.code == error.code
        await trio.sleep(200)
        stored = await media_of(house)
        assert (stored.state, stored.attempts, stored.error) == (MediaState.STORED, 2, None)
    first, second = (at for at, _ in house.world.asked)
    assert 0.8 * pause <= second - first <= 1.2 * pause
    assert results(house) == ["retry", "stored"]


async def test_after_a_day_it_is_given_up_with_the_last_reason(house: DiskHouse, autojump_clock: MockClock):
    """Growing waits meanwhile; the message has long been done."""
    house.world.fails = [refusal(Verdict.NOT_SENT, "provider_unreachable") for _ in range(1000)]
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture())
        await trio.sleep(25 * 3600)
        media = await media_of(house)
        assert (media.state, media.error and media.error.code) == (MediaState.FAILED, "provider_unreachable")
        assert media.due_at is None
        tries = len(house.world.asked)
        assert 100 < tries < 250
        await trio.sleep(25 * 3600)
        assert len(house.world.asked) == tries
    assert results(house)[-1] == "failed"


@pytest.mark.parametrize("code", ["media_gone", "media_refused", "media_too_large"])
async def test_a_refusal_ends_it_at_once(house: DiskHouse, autojump_clock: MockClock, code: str):
    """What the provider will never give is not asked for again."""
    house.world.fails = [refusal(Verdict.REJECTED, code)]
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture())
        await trio.sleep(3600)
        media = await media_of(house)
    assert (media.state, media.error and media.error.code) == (MediaState.FAILED, code)
    assert len(house.world.asked) == 1


HASHES = [hashlib.sha256(PNG).hexdigest(), base64.b64encode(hashlib.sha256(PNG).digest()).decode()]


@pytest.mark.parametrize("promised", HASHES, ids=["hex", "base64"])
async def test_a_file_has_to_be_the_one_that_was_promised(
    house: DiskHouse, autojump_clock: MockClock, promised: str
):
    """What was garbled on its way may arrive whole; three times another file is another file."""
    house.world.files["file-1"] = PNG[:-1] + b"x"
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture(1, sha256=promised), picture(2, sha256=promised))
        await trio.sleep(3600)
        bad, good = await media_of(house, 1), await media_of(house, 2)
        assert (bad.state, bad.error and bad.error.code, bad.attempts) == (
            MediaState.FAILED,
            "media_corrupt",
            3,
        )
        assert good.state is MediaState.STORED
        item = await house.store().inbox_by_dedupe("shop", "m:in-1")
        assert item is not None
        assert item.state is InboxState.DONE


async def test_a_file_over_the_bound_is_not_kept(tmp_path: Path, autojump_clock: MockClock):
    """Whatever the provider said of its size."""
    house = DiskHouse(tmp_path, limits=Limits(file_size=len(PNG) - 1))
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture())
        await trio.sleep(3600)
        media = await media_of(house)
        assert (media.state, media.error and media.error.code) == (MediaState.FAILED, "media_too_large")
        assert sessions.media_bytes == 0


async def test_a_file_that_is_not_what_it_says_is_served_as_bytes(
    house: DiskHouse, autojump_clock: MockClock
):
    """A page that calls itself a picture is not told as one; the row has both words."""
    house.world.files["file-1"] = b"<!DOCTYPE html><script>alert(1)</script>"
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture(), picture(2, kind="image/jpeg"))
        await trio.sleep(5)
        page, png = await media_of(house), await media_of(house, 2)
        assert (page.mime_type, page.found_type, page.is_suspect) == ("image/png", None, True)
        assert (png.mime_type, png.found_type, png.is_suspect) == ("image/jpeg", "image/png", True)
        for media in (page, png):
            assert (await served(sessions, media))[0] == "application/octet-stream"


DISKS = [
    ("full", OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
    ("over its quota", OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full"),
    ("failing", OSError(errno.EIO, "Input/output error"), "disk_failed"),
]


@pytest.mark.parametrize(("error", "code"), [row[1:] for row in DISKS], ids=[row[0] for row in DISKS])
async def test_a_disk_that_cannot_is_waited_for(
    house: DiskHouse, autojump_clock: MockClock, error: OSError, code: str
):
    """No crash, no lost message: the file is fetched when there is room again."""
    async with house.run() as sessions:
        await shop(sessions)
        house.broken = [error]
        await receive(sessions, picture())
        await trio.sleep(0.5)
        waiting = await media_of(house)
        assert (waiting.state, waiting.error and waiting.error.code) == (MediaState.WAITING, code)
        await trio.sleep(60)
        assert (await media_of(house)).state is MediaState.STORED
        assert sessions.status(SessionId("shop")).restarts == 0
    assert results(house) == ["disk", "stored"]


async def test_max_disk_is_as_a_full_disk(house: DiskHouse, autojump_clock: MockClock):
    """New files wait for room, a day at most; those that are there stay."""
    house.max_disk = len(PNG) + 60_000
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture(1))
        await trio.sleep(5)
        await receive(sessions, picture(2))
        await trio.sleep(5)
        waiting = await media_of(house, 2)
        assert (waiting.state, waiting.error and waiting.error.code) == (MediaState.WAITING, "disk_full")
        assert (await media_of(house, 1)).state is MediaState.STORED
        assert [media_id for _, media_id in house.world.asked] == ["file-1"]


async def test_a_crash_costs_one_try(house: DiskHouse, autojump_clock: MockClock):
    """The rows are the list of work: the next life goes on where the row says, and leaves no half file."""
    house.world.slow = 100
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture())
        await trio.sleep(50)
        house.die()
    house.world.slow = 0
    async with house.run() as sessions:
        await trio.sleep(5)
        media = await media_of(house)
        assert media.state is MediaState.STORED
        assert await served(sessions, media) == ("image/png", PNG)
    assert len(house.world.asked) == 2


async def test_a_restart_keeps_the_time_of_the_next_try(house: DiskHouse, autojump_clock: MockClock):
    """Or a crash loop would be a storm for the provider."""
    house.world.fails = [refusal(Verdict.THROTTLED, "rate_limited", retry_after=500.0)]
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture())
        await trio.sleep(1)
    async with house.run():
        await trio.sleep(600)
        assert (await media_of(house)).state is MediaState.STORED
    first, second = (at for at, _ in house.world.asked)
    assert second - first >= 500


async def test_a_bug_costs_one_crash_and_that_file(house: DiskHouse, autojump_clock: MockClock):
    """A poisoned file must not crash the session again and again."""
    house.world.fails = [RuntimeError("a bug")]
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture(1))
        await trio.sleep(60)
        await receive(sessions, picture(2))
        await trio.sleep(60)
        media = await media_of(house, 1)
        assert (media.state, media.error and media.error.code) == (MediaState.FAILED, "internal")
        assert (await media_of(house, 2)).state is MediaState.STORED
        assert sessions.status(SessionId("shop")).restarts == 1


async def test_a_file_of_a_provider_that_was_left_is_given_up(tmp_path: Path, autojump_clock: MockClock):
    """Its id means nothing to the new one; what was fetched before stays."""

    class Other(World):
        name = "other"

    house = DiskHouse(tmp_path, others=(Other(),))
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture(1))
        await trio.sleep(5)
        house.world.fails = [refusal(Verdict.NOT_SENT, "provider_unreachable") for _ in range(5)]
        await receive(sessions, picture(2))
        await trio.sleep(5)
        await sessions.update(SessionId("shop"), provider="other", credentials={"key": "shop"})
        await trio.sleep(120)
        kept, lost = await media_of(house, 1), await media_of(house, 2)
        assert (lost.state, lost.error and lost.error.code) == (MediaState.FAILED, "provider_changed")
        assert await served(sessions, kept) == ("image/png", PNG)


class SocketWorld(SocketProvider, World):
    """Files over a socket."""

    @asynccontextmanager
    async def open(self, session: Any, link: Any) -> AsyncIterator[Any]:
        async with super().open(session, link) as connection:
            connection.download = lambda media_id: downloading(self, media_id)
            yield connection


async def test_what_comes_over_a_socket_waits_for_it_without_trying(
    tmp_path: Path, autojump_clock: MockClock
):
    """A phone that is away for hours costs no try, and is asked as soon as it is back."""
    world = SocketWorld()
    house = DiskHouse(tmp_path, world)
    async with house.run() as sessions:
        await paired(house, sessions)
        world.connects["shop"] = [refusal(Verdict.NOT_SENT, "away") for _ in range(5)]
        world.drop("shop", refusal(Verdict.NOT_SENT, "connection_lost"))
        await receive(sessions, picture())
        await trio.sleep(1)
        assert world.asked == []
        await trio.sleep(300)
        assert (await media_of(house)).state is MediaState.STORED
    assert len(world.asked) == 1


async def test_nothing_is_fetched_where_the_configuration_says_so(tmp_path: Path, autojump_clock: MockClock):
    """The file is its provider's alone, and can be had from there; what was still waiting is given up."""
    house = DiskHouse(tmp_path)
    house.world.slow = 1000
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, picture(1))
    house.limits = Limits(fetch=False)
    house.world.slow = 0
    async with house.run() as sessions:
        await trio.sleep(5)
        await receive(sessions, picture(2))
        await trio.sleep(5)
        waiting, remote = await media_of(house, 1), await media_of(house, 2)
        assert (waiting.state, waiting.error and waiting.error.code) == (MediaState.FAILED, "fetch_off")
        assert remote.state is MediaState.REMOTE


async def test_a_file_whose_time_is_over_goes_and_so_does_one_without_a_row(
    tmp_path: Path, autojump_clock: MockClock
):
    """The upkeep asks the rows: they say what is kept, and for how long."""
    house = DiskHouse(tmp_path, limits=Limits(file_ttl=timedelta(days=1)))
    async with house.run() as sessions, trio.open_nursery() as nursery:
        nursery.start_soon(sessions.look_after, Retention())
        await shop(sessions)
        await shop(sessions, "other")
        await receive(sessions, picture(1))
        await sessions.actors.get(SessionId("other")).received([picture(2)])
        await trio.sleep(5)
        assert len(list(house.directory.rglob("med_*"))) == 2
        await sessions.delete(SessionId("other"))
        await trio.sleep(3700)
        assert len(list(house.directory.rglob("med_*"))) == 1
        media = await media_of(house, 1)
        await trio.sleep(house.limits.file_ttl / timedelta(seconds=1))
        assert list(house.directory.rglob("med_*")) == []
        assert sessions.media_bytes == 0
        assert now() > media.expires_at
        nursery.cancel_scope.cancel()
