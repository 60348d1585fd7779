"""The disk is full: what cannot be kept is refused, and once there is room again everything goes on."""

from __future__ import annotations

import resource
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.acceptance.daemon import Daemon, crashes
from tests.acceptance.shop import Shop, a_phone, shop, until, walk
from tests.acceptance.town import all_messages, running, town

MEBIBYTE = 2**20
#: Far more messages than the room is for.
MANY = 2000


class SmallDisk:
    """A file system of a few mebibytes of its own, filled up by a file beside the store's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / "ballast"

    def fill(self, daemon: Daemon) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"\0" * 4096)
            except OSError:
                return

    def free(self, daemon: Daemon) -> None:
        self._ballast.unlink()


class SizeLimit:
    """The kernel's limit for the size of a file, drawn just above what the store has now."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fill(self, daemon: Daemon) -> None:
        largest = max(path.stat().st_size for path in self.directory.iterdir())
        self._limit(daemon, largest + 64 * 1024)

    def free(self, daemon: Daemon) -> None:
        self._limit(daemon, resource.RLIM_INFINITY)

    def _limit(self, daemon: Daemon, soft: int) -> None:
        _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(directory: Path) -> Iterator[SmallDisk]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", directory]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield SmallDisk(directory)
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@contextmanager
def size_limit(directory: Path) -> Iterator[SizeLimit]:
    yield SizeLimit(directory)


def may_mount(directory: Path) -> bool:
    """Root in a container often may not."""
    directory.mkdir()
    try:
        with small_disk(directory):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@dataclass(frozen=True)
class Place:
    label: str
    open: Callable[[Path], AbstractContextManager[SmallDisk | SizeLimit]]


async def test_a_full_disk_is_told_and_waited_out(tmp_path: Path) -> None:
    """503 and never a 202 that is not kept; not ready meanwhile; afterwards all that was taken goes out, once."""
    places = [Place("a limit", size_limit)]
    if may_mount(tmp_path / "try"):
        places.append(Place("a small disk", small_disk))

    async def check(place: Place) -> None:
        directory = tmp_path / place.label.replace(" ", "-")
        data = directory / "var"
        data.mkdir(parents=True)
        with place.open(data) as disk:
            await _check(disk, directory)

    await walk(places, check)


async def _check(disk: SmallDisk | SizeLimit, directory: Path) -> None:
    async with (
        town(directory, statuses={}) as here,
        running(here, directory, store={"url": "embedded", "data_dir": str(disk.directory)}) as daemon,
        shop(here, daemon) as its,
    ):
        taken = [await its.taken("before")]
        disk.fill(daemon)
        refused = await _send_until_refused(its, taken)
        assert int(refused.headers["Retry-After"]) >= 1
        assert (refused.json()["code"], refused.json()["retryable"]) == ("store_unavailable", True)
        ready = await its.api.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "no_store"), ready.text
        assert (await its.api.get("/healthz")).status_code == 200
        await its.writes(a_phone(), "is there room for me?")

        async def webhook_answers() -> set[object]:
            return {each["status"] for each in await here.ledger("delivery")}

        await until(webhook_answers, lambda answers: 503 in answers, what="a webhook answered 503")
        assert (await its.status())["restarts"] == 0

        disk.free(daemon)
        await daemon.until_ready()
        taken.append(await its.taken("after"))
        for message_id in taken:
            await its.until(message_id, "accepted")
        await until(
            lambda: _texts(its), lambda texts: "re: is there room for me?" in texts, what="the answer"
        )
        await here.until_quiet()
        on_the_wire = Counter(send["callbackData"] for send in await its.sends())
        answers = {m["messageId"] for m in await all_messages(daemon, direction="outbound")} - set(taken)
        assert len(answers) == 1
        assert on_the_wire == Counter([*taken, *answers])
        assert crashes(await daemon.metrics()) == 0


async def _send_until_refused(its: Shop, taken: list[str]) -> httpx.Response:
    for number in range(MANY):
        answer = await its.send(f"{number} " + "x" * 4000)
        if answer.status_code != 202:
            assert answer.status_code == 503, answer.text
            return answer
        taken.append(answer.json()["messageId"])
    raise AssertionError(f"{MANY} messages were taken on a disk that is full")


async def _texts(its: Shop) -> set[str]:
    return {send["body"]["text"]["body"] for send in await its.sends()}
