"""The spool: webhooks on this machine's disk until the store has them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from wad.errors import StoreUnavailable
from wad.models import SessionId, WebhookRequest, next_seq
from wad.secrets import Vault, WrongMasterKey
from wad.store.base import Result, StoreUnusable, Write
from wad.store.spool import FILE, Spool, Spooled, open_spool

MASTER = b"m" * 32


def webhook(body: str) -> Spooled:
    request = WebhookRequest(url="https://wa.example.com/w", headers={"x": "y"}, body=body.encode())
    return Spooled(provider="cloud_api", session_id=SessionId("shop"), request=request, seq=next_seq())


def opened(
    directory: Path, master: bytes = MASTER, *olds: bytes, max_size: int = 1 << 20
) -> AbstractAsyncContextManager[Spool]:
    return open_spool(directory, Vault(master, olds), max_size=max_size)


async def test_what_is_kept_is_read_in_order_by_the_next_life(tmp_path: Path) -> None:
    """Side by side or not: the place is that of the arrival, and what is removed does not come back."""
    webhooks = [webhook(str(n)) for n in range(20)]
    async with opened(tmp_path) as spool, trio.open_nursery() as nursery:
        for each in reversed(webhooks):
            nursery.start_soon(spool.add, each)
    async with opened(tmp_path) as spool:
        assert spool.depth == 20
        assert spool.oldest_seconds() > 0
        assert await spool.oldest() == webhooks
        await spool.remove(webhooks[:5])
        assert (spool.depth, await spool.oldest()) == (15, webhooks[5:])
    async with opened(tmp_path) as spool:
        await spool.remove(await spool.oldest())
        assert (spool.depth, spool.oldest_seconds()) == (0, 0.0)


async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    """The file is its owner's alone, and what customers wrote is sealed in it."""
    async with opened(tmp_path) as spool:
        await spool.add(webhook("a secret of Ana's"))
        for path in (tmp_path / FILE, tmp_path / f"{FILE}-wal"):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path  # noqa: PTH116
            assert b"of Ana's" not in await trio.Path(path).read_bytes(), path


async def test_a_full_spool_says_when_to_come_back(tmp_path: Path) -> None:
    """The cap counts what is there; room that was made is room again."""
    large = os.urandom(300).hex()
    async with opened(tmp_path, max_size=700) as spool:
        await spool.add(webhook(large))
        with pytest.raises(StoreUnavailable) as refused:
            await spool.add(webhook(large))
        assert (refused.value.retry_after, spool.depth) == (30, 1)
        await spool.remove(await spool.oldest())
        await spool.add(webhook(large))


async def test_a_rotated_master_key_still_reads_it(tmp_path: Path) -> None:
    """Its own key is wrapped anew, so that the old master may go afterwards."""
    kept = webhook("x")
    async with opened(tmp_path) as spool:
        await spool.add(kept)
    async with opened(tmp_path, b"n" * 32, MASTER):
        pass
    async with opened(tmp_path, b"n" * 32) as spool:
        assert await spool.oldest() == [kept]


async def test_a_foreign_master_key_is_refused_while_something_waits(tmp_path: Path) -> None:
    """Going on would lose what was answered; an empty file gets a new key."""
    async with opened(tmp_path) as spool:
        await spool.add(webhook("x"))
    with pytest.raises(WrongMasterKey, match=r"spool\.db"):
        async with opened(tmp_path, b"n" * 32):
            pass
    async with opened(tmp_path) as spool:
        await spool.remove(await spool.oldest())
    async with opened(tmp_path, b"n" * 32) as spool:
        await spool.add(webhook("x"))


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "no directory": lambda path: path.write_bytes(b""),
    "no database": lambda path: (path.mkdir(), (path / FILE).write_bytes(os.urandom(8192))),
}


@pytest.mark.parametrize("spoil", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_place_that_cannot_be_written_ends_the_start(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """That is told before the first outage needs it."""
    place = tmp_path / "data"
    spoil(place)
    with pytest.raises((StoreUnusable, StoreUnavailable)):
        async with opened(place):
            pass


@pytest.mark.parametrize("lost", ["of a row that was kept", "of rows that were removed"])
async def test_a_write_whose_answer_is_lost_is_counted_as_what_it_did(tmp_path: Path, lost: str) -> None:
    """Else webhooks would stand behind one that is not there, or one would wait for the next life."""

    async def write(writes: Sequence[Write]) -> list[Result]:
        await engine_write(writes)
        monkeypatch.undo()
        raise StoreUnavailable("the answer is lost")

    async with opened(tmp_path) as spool:
        monkeypatch = pytest.MonkeyPatch()
        engine_write = spool._engine.write
        if lost == "of a row that was kept":
            monkeypatch.setattr(spool._engine, "write", write)
            with pytest.raises(StoreUnavailable):
                await spool.add(kept := webhook("kept"))
            await spool.until_some()
            assert await spool.oldest() == [kept]
            assert spool.depth == 1
        else:
            await spool.add(webhook("gone"))
            rows = await spool.oldest()
            monkeypatch.setattr(spool._engine, "write", write)
            with pytest.raises(StoreUnavailable):
                await spool.remove(rows)
            assert await spool.oldest() == []
            assert (spool.depth, spool.oldest_seconds()) == (0, 0.0)
        with trio.move_on_after(0.05) as waiting:
            await spool.until_some()
        assert waiting.cancelled_caught == (lost == "of rows that were removed")
