"""Customers' files on this machine's disk, sealed like everything else: one file each, in frames, under `store.data_dir`.

    media/ab/med_ab...   frame 0 · frame 1 · ... · the last frame     each sealed by its session's data key

A frame is 64 KiB of the file (the last one what is left), bound to its file, its place and whether it is the last. So a
file is written and read with little memory, and one that was cut, changed or put together from others does not open. It appears whole or not at all: written under another name, flushed, renamed, and the directory flushed.

What the store's rows say is the truth. A file without a row is rubbish; a row without its file is told as `FileLost`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol, TypeVar

import trio

from wad.failpoints import reach
from wad.secrets import OVERHEAD, Unreadable, Vault
from wad.store.base import StoreUnusable

T = TypeVar("T")

DIRECTORY: Final = "media"
#: What a file is sealed in: 16 frames a mebibyte, each 33 bytes larger than what it holds.
FRAME: Final = 64 * 1024
_SEALED: Final = FRAME + OVERHEAD
#: Of a file's beginning: what tells its type lies in there (an Office document's deepest).
HEAD: Final = 8192
_PART: Final = ".part"
_ID: Final = re.compile(r"med_[0-9a-f]{8,64}")


class FileLost(Exception):
    """The file is not there, or is not what was written: it may be fetched anew, if its provider has it still."""


class InThread(Protocol):
    async def __call__(self, work: Callable[[], T], /) -> T: ...


async def _in_thread(work: Callable[[], T], /) -> T:
    return await trio.to_thread.run_sync(work)


class Files:
    """All files of a process. `used` is what they take of the disk."""

    def __init__(
        self, directory: Path, vault: Vault, *, max_disk: int, in_thread: InThread = _in_thread
    ) -> None:
        """*vault* has to know the data keys of the sessions whose files are written and read: the store's does."""
        self.used = 0
        self._directory = directory
        self._vault = vault
        self._max_disk = max_disk
        self._in_thread = in_thread
        self._coming = 0  # bytes of files that are being written

    def __repr__(self) -> str:
        return f"<Files {self._directory} {self.used} bytes>"

    async def load(self) -> None:
        """Make the directory, remove what an earlier life left half written, and count the rest."""
        try:
            self.used = await self._in_thread(self._swept)
        except OSError as error:
            raise StoreUnusable(f"{self._directory} cannot be written: {error.strerror}") from error

    def _swept(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        used = 0
        for part in self._parts():
            for path in part.iterdir():
                if path.suffix == _PART:
                    path.unlink()
                else:
                    used += path.stat().st_size
        return used

    def _parts(self) -> Iterator[Path]:
        return (each for each in sorted(self._directory.iterdir()) if each.is_dir())

    def _path(self, media_id: str) -> Path:
        if _ID.fullmatch(media_id) is None:
            raise ValueError(f"{media_id!r} is no id of a file")
        return self._directory / media_id[4:6] / media_id

    # --- writing

    @asynccontextmanager
    async def writing(self, media_id: str, session_id: str) -> AsyncIterator[Writing]:
        """A file to be written; it stands, whole, once the block is left, and not at all where that raised.

        Raises OSError: also where `max_disk` leaves no room, as a full disk would.
        """
        path = self._path(media_id)
        part = path.with_name(path.name + _PART)
        file = await self._in_thread(partial(_create, part))
        frames = Writing(self, media_id, session_id, file)
        placed = False
        try:
            yield frames
            await frames.end()
            replaced = await self._in_thread(partial(_place, file, part, path))
            placed = True
            self.used += frames.sealed - replaced
        finally:
            self._coming -= frames.sealed
            if not placed:
                with trio.CancelScope(shield=True):
                    await self._in_thread(partial(_discard, file, part))

    def check_room(self, size: int = _SEALED) -> None:
        """Raise OSError, as a full disk would, where `max_disk` leaves no room for *size* bytes more."""
        if self.used + self._coming + size > self._max_disk:
            raise OSError(errno.ENOSPC, "media.max_disk is reached")

    async def append(self, file: IO[bytes], sealed: bytes) -> None:
        """For `Writing`: one more frame, if there is room for it."""
        self.check_room(len(sealed))
        self._coming += len(sealed)
        try:
            await self._in_thread(partial(_write, file, sealed))
        except BaseException:
            self._coming -= len(sealed)
            raise

    def sealed(self, frames: Frames, index: int, plain: bytes, *, last: bool) -> bytes:
        return self._vault.seal(frames.session_id, frames.field(index, last=last), plain, compress=False)

    # --- reading

    @asynccontextmanager
    async def reading(self, media_id: str, session_id: str, size: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The file, of the *size* that its row says. Raises FileLost; of a later frame, the iterator does."""
        file = await self._open(media_id, size)
        try:
            frames = Frames(media_id, session_id)
            async with aclosing(self._chunks(file, frames, _frames(size))) as chunks:
                first = await anext(chunks)  # whether it opens at all is known before a byte goes out
                async with aclosing(_with_first(first, chunks)) as whole:
                    yield whole
        finally:
            with trio.CancelScope(shield=True):
                await self._in_thread(file.close)

    async def _open(self, media_id: str, size: int) -> IO[bytes]:
        try:
            file = await self._in_thread(lambda: self._path(media_id).open("rb"))
        except OSError as error:
            raise FileLost(f"the file of {media_id} cannot be opened: {error.strerror}") from error
        found = os.fstat(file.fileno()).st_size
        if found != sealed_size(size):
            await self._in_thread(file.close)
            raise FileLost(f"the file of {media_id} has {found} bytes, not {sealed_size(size)}")
        return file

    async def _chunks(self, file: IO[bytes], frames: Frames, count: int) -> AsyncGenerator[bytes, None]:
        for index in range(count):
            try:
                sealed = await self._in_thread(partial(file.read, _SEALED))
                field = frames.field(index, last=index == count - 1)
                plain = self._vault.open(frames.session_id, field, sealed)
            except (OSError, Unreadable) as error:
                raise FileLost(f"frame {index} of {frames.media_id} does not open: {error}") from error
            yield plain

    # --- keeping house

    async def listed(self) -> AsyncGenerator[list[str], None]:
        """The ids of all files, some at a time."""
        for part in await self._in_thread(lambda: list(self._parts())):
            names = await self._in_thread(partial(os.listdir, part))
            yield [name for name in names if _ID.fullmatch(name)]

    async def remove(self, media_ids: Iterable[str]) -> int:
        """Remove these, as far as they are there; how many went."""
        sizes = await self._in_thread(lambda: [_remove(self._path(each)) for each in media_ids])
        self.used -= sum(sizes)
        return sum(1 for size in sizes if size)


class Frames:
    """What a frame is bound to, besides its session."""

    def __init__(self, media_id: str, session_id: str) -> None:
        self.media_id = media_id
        self.session_id = session_id

    def field(self, index: int, *, last: bool) -> str:
        return f"media/{self.media_id}/{index}/{'last' if last else 'more'}"


class Writing(Frames):
    """A file on its way to the disk. `write` takes any pieces; what makes a frame is written at once."""

    def __init__(self, files: Files, media_id: str, session_id: str, file: IO[bytes]) -> None:
        super().__init__(media_id, session_id)
        self.size = 0
        self.head = b""
        self.sealed = 0  # bytes on the disk
        self._files = files
        self._file = file
        self._hash = hashlib.sha256()
        self._rest = bytearray()
        self._index = 0

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was written so far."""
        return self._hash.digest()

    async def write(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)
        if len(self.head) < HEAD:
            self.head += chunk[: HEAD - len(self.head)]
        self._rest += chunk
        while len(self._rest) > FRAME:  # a whole frame may be the last, and that has to be known
            await self._put(bytes(self._rest[:FRAME]), last=False)
            del self._rest[:FRAME]

    async def end(self) -> None:
        await self._put(bytes(self._rest), last=True)

    async def _put(self, plain: bytes, *, last: bool) -> None:
        sealed = self._files.sealed(self, self._index, plain, last=last)
        await self._files.append(self._file, sealed)
        self.sealed += len(sealed)
        self._index += 1


def sealed_size(size: int) -> int:
    """What a file of *size* bytes takes of the disk."""
    return size + _frames(size) * OVERHEAD


def _frames(size: int) -> int:
    return max(1, -(-size // FRAME))  # an empty file has its last frame, too


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


# --- in a thread


def _create(part: Path) -> IO[bytes]:
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0)


def _write(file: IO[bytes], sealed: bytes) -> None:
    left = memoryview(sealed)
    while left:  # a disk that is nearly full takes a part
        left = left[file.write(left) :]


def _place(file: IO[bytes], part: Path, path: Path) -> int:
    """Have the file stand, whatever happens from now on; the size of one that stood there already."""
    os.fsync(file.fileno())
    file.close()
    replaced = path.stat().st_size if path.exists() else 0
    reach("media.written")
    part.rename(path)
    for directory in (path.parent, path.parent.parent):
        _flush(directory)
    return replaced


def _flush(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _discard(file: IO[bytes], part: Path) -> None:
    file.close()
    part.unlink(missing_ok=True)


def _remove(path: Path) -> int:
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size


def open_files(data_dir: Path, vault: Vault, *, max_disk: int) -> Files:
    """Those in *data_dir*; `load` them before anything else."""
    return Files(data_dir / DIRECTORY, vault, max_disk=max_disk)
