"""Customers' files on disk: sealed, whole or not at all, and noticed where they are not what was written."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from wad.secrets import OVERHEAD, Vault
from wad.store.base import StoreUnusable
from wad.store.files import FRAME, FileLost, Files, open_files, sealed_size

ID = "med_ab" + "0" * 30
OTHER = "med_ab" + "1" * 30
SESSION = "shop"
ROOM = 2**30


@pytest.fixture
def vault() -> Vault:
    vault = Vault(os.urandom(32))
    vault.new_key(SESSION)
    return vault


@pytest.fixture
async def files(tmp_path: Path, vault: Vault) -> Files:
    return await loaded(tmp_path, vault)


async def loaded(data_dir: Path, vault: Vault, max_disk: int = ROOM) -> Files:
    files = open_files(data_dir, vault, max_disk=max_disk)
    await files.load()
    return files


async def write(files: Files, content: bytes, media_id: str = ID, piece: int = 10_000) -> bytes:
    """Write *content* in pieces; its hash, as it was counted meanwhile."""
    async with files.writing(media_id, SESSION) as file:
        for at in range(0, len(content), piece):
            await file.write(content[at : at + piece])
    assert file.size == len(content)
    return file.digest


async def read(files: Files, size: int, media_id: str = ID) -> bytes:
    async with files.reading(media_id, SESSION, size) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def told(files: Files, size: int, into: bytearray) -> None:
    async with files.reading(ID, SESSION, size) as chunks:
        async for chunk in chunks:
            into += chunk


def names(data_dir: Path) -> list[str]:
    return [path.name for path in data_dir.rglob("*") if path.is_file()]


def on_disk(data_dir: Path, media_id: str = ID) -> Path:
    return data_dir / "media" / "ab" / media_id


SIZES = [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 3 * FRAME + 777]


@pytest.mark.parametrize("size", SIZES)
async def test_a_file_is_read_as_it_was_written(files: Files, tmp_path: Path, size: int):
    """Whatever its size, with frames that are full and one that is not."""
    content = os.urandom(size)
    assert await write(files, content) == hashlib.sha256(content).digest()
    assert await read(files, size) == content
    assert files.used == on_disk(tmp_path).stat().st_size == sealed_size(size)


async def test_nothing_of_a_file_can_be_read_on_the_disk(files: Files, tmp_path: Path):
    """Sealed, and for the owner alone."""
    await write(files, b"a customer's secret " * 10_000)
    path = on_disk(tmp_path)
    assert b"secret" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: FRAME + OVERHEAD])


def garble(path: Path) -> None:
    sealed = bytearray(path.read_bytes())
    sealed[100] ^= 1
    path.write_bytes(sealed)


def swap_frames(path: Path) -> None:
    sealed, frame = path.read_bytes(), FRAME + OVERHEAD
    path.write_bytes(sealed[frame : 2 * frame] + sealed[:frame] + sealed[2 * frame :])


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("gone", Path.unlink),
    ("cut at a frame", cut),
    ("one byte less", lambda path: path.write_bytes(path.read_bytes()[:-1])),
    ("one bit changed", garble),
    ("frames in another order", swap_frames),
    ("another file's", lambda path: path.write_bytes(on_disk(path.parents[2], OTHER).read_bytes())),
]


@pytest.mark.parametrize("damage", [damage for _, damage in DAMAGES], ids=[label for label, _ in DAMAGES])
async def test_a_file_that_is_not_what_was_written_is_lost_before_a_byte_is_told(
    files: Files, tmp_path: Path, damage: Callable[[Path], object]
):
    """Whoever can write to the disk can take files away, and nothing else."""
    size = 2 * FRAME + 9
    for media_id in (ID, OTHER):
        await write(files, os.urandom(size), media_id)
    damage(on_disk(tmp_path))
    with pytest.raises(FileLost):
        async with files.reading(ID, SESSION, size):
            raise AssertionError("it was opened")


async def test_a_later_frame_that_does_not_open_ends_the_reading(files: Files, tmp_path: Path):
    """What was told by then is right; the rest is not told."""
    content = os.urandom(2 * FRAME)
    await write(files, content)
    path = on_disk(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    heard = bytearray()
    with pytest.raises(FileLost):
        await told(files, len(content), heard)
    assert heard == content[:FRAME]


async def test_the_last_frame_cannot_be_left_away(files: Files, tmp_path: Path):
    """Not even together with the row that says the size: a frame knows whether it is the last."""
    await write(files, os.urandom(2 * FRAME))
    cut(on_disk(tmp_path))
    with pytest.raises(FileLost):
        await read(files, FRAME)


async def test_another_sessions_key_opens_nothing(files: Files, vault: Vault):
    await write(files, b"x")
    vault.new_key("other")
    with pytest.raises(FileLost):
        async with files.reading(ID, "other", 1):
            raise AssertionError("it was opened")


async def test_files_stay_readable_when_the_master_key_is_another_one(tmp_path: Path):
    """The few data keys are wrapped anew; what they sealed stays as it is."""
    old, new = os.urandom(32), os.urandom(32)
    before = Vault(old)
    wrapped = before.new_key(SESSION)
    await write(await loaded(tmp_path, before), b"kept")
    rewrapped = Vault(new, [old]).rewrapped(SESSION, wrapped)
    assert rewrapped is not None
    after = Vault(new)
    after.learn(SESSION, rewrapped)
    assert await read(await loaded(tmp_path, after), 4) == b"kept"


async def test_nothing_is_left_of_a_file_that_was_not_written_to_its_end(files: Files, tmp_path: Path):
    """Neither under its name nor under another, and its room is free again."""

    async def fail() -> None:
        async with files.writing(ID, SESSION) as file:
            await file.write(os.urandom(3 * FRAME))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert names(tmp_path) == []
    assert (files.used, files._coming) == (0, 0)


async def test_what_a_crash_left_half_written_is_removed_at_the_start(
    files: Files, tmp_path: Path, vault: Vault
):
    """And what stands is counted."""
    await write(files, b"whole")
    on_disk(tmp_path, OTHER).with_suffix(".part").write_bytes(b"half")
    again = await loaded(tmp_path, vault)
    assert names(tmp_path) == [ID]
    assert again.used == sealed_size(5)


async def test_a_file_that_is_written_again_takes_its_room_once(files: Files):
    """After a crash between the file and its row it is fetched anew."""
    for content in (os.urandom(FRAME), b"shorter"):
        await write(files, content)
    assert await read(files, 7) == b"shorter"
    assert files.used == sealed_size(7)


async def test_beyond_max_disk_is_as_a_full_disk(tmp_path: Path, vault: Vault):
    """Of two that are written side by side, too: what is coming counts."""
    files = await loaded(tmp_path, vault, max_disk=3 * FRAME)
    async with files.writing(OTHER, SESSION) as first:
        await first.write(os.urandom(FRAME + 1))
        with pytest.raises(OSError, match="max_disk") as caught:
            await write(files, os.urandom(2 * FRAME))
        assert caught.value.errno == errno.ENOSPC
    assert files.used == sealed_size(FRAME + 1)
    await write(files, os.urandom(FRAME))


async def test_files_are_listed_and_removed(files: Files):
    """For the upkeep: what is there already is no error."""
    for media_id in (ID, OTHER, "med_cd" + "0" * 30):
        await write(files, b"x", media_id)
    listed = [media_id async for some in files.listed() for media_id in some]
    assert sorted(listed) == [ID, OTHER, "med_cd" + "0" * 30]
    assert await files.remove([ID, ID, OTHER]) == 2
    assert files.used == sealed_size(1)


async def test_a_name_that_is_no_id_reaches_no_file(files: Files):
    """Ids come out of the store; this is the second lock."""
    with pytest.raises(ValueError, match="no id"):
        async with files.writing("med_../../x", SESSION):
            raise AssertionError("it was opened")


async def test_a_directory_that_cannot_be_made_is_told_at_the_start(tmp_path: Path, vault: Vault):
    (tmp_path / "media").write_text("in the way")
    with pytest.raises(StoreUnusable, match="media"):
        await loaded(tmp_path, vault)


async def test_a_cancelled_writing_leaves_nothing(files: Files, tmp_path: Path):
    """The daemon stops in the middle of it."""
    with trio.CancelScope() as scope:
        async with files.writing(ID, SESSION) as file:
            await file.write(os.urandom(2 * FRAME))
            scope.cancel()
            await file.write(os.urandom(2 * FRAME))
    assert scope.cancelled_caught
    assert names(tmp_path) == []
