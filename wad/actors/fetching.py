"""What customers send besides text: fetched from the provider in the background, while it still has it, and kept on disk.

    waiting ──fetched, and what it was promised to be──▶ stored
       │  ▲
       │  └── the provider, or our disk, cannot now: later, with growing waits
       └────── refused, too large, another file three times, or a day over: failed, with its reason

The message does not wait for its file: it is stored, and handed to the flow, before the first byte is asked for. The rows
that say `waiting` are the list of work, so a crash costs one try. A session that has nothing to fetch has no task for it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from datetime import timedelta
from math import inf
from typing import Final, NamedTuple

import trio

from wad.actors.filetypes import UNKNOWN, contradicts, found_type
from wad.actors.lanes import Lanes, Workers
from wad.actors.retry import RETRY_AFTER
from wad.actors.services import Services
from wad.errors import ProviderError, Verdict
from wad.events import MediaFetched
from wad.models import (
    ChatId,
    Failure,
    Media,
    MediaState,
    MessageId,
    Pending,
    Session,
    SessionState,
    sha256_digests,
)
from wad.providers.base import Connection, MediaContent, ProviderKind
from wad.store.files import Files, Writing

#: Files of one session that are fetched side by side.
CONCURRENCY: Final = 2
#: How long a file is tried for. Providers keep one for 7 days and more, and `GET /media/{id}` still asks them.
WINDOW: Final = timedelta(hours=24)
#: Tries for a file that is not the one that was promised: what was garbled once may arrive whole.
CORRUPT_TRIES: Final = 3
#: As long as a provider may have us wait.
_MOST: Final = 3600.0
#: What the kernel says of a disk, or a quota, that has no room: EFBIG is the limit of one file.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Outcome(NamedTuple):
    """What a try came to: a word for the metrics, the row as it is now, and in how many seconds the next one may be."""

    result: str
    media: Media
    pause: float = inf


class Fetching:
    """The files that one session has still to fetch."""

    __slots__ = ("_connection", "_kind", "_nursery", "_services", "_session", "_workers", "lanes")

    def __init__(
        self, services: Services, session: Callable[[], Session], kind: Callable[[], ProviderKind]
    ) -> None:
        self._services = services
        self._session = session
        self._kind = kind
        self.lanes = Lanes()
        self._workers = Workers(self.lanes, self._fetch, concurrency=CONCURRENCY, gate=self._gate)
        self._connection: Connection | None = None
        self._nursery: trio.Nursery | None = None

    # --- the actor's side ---------------------------------------------------------------------------

    def open(self, connection: Connection, nursery: trio.Nursery) -> None:
        """What is in hand when *nursery* is cancelled is fetched anew in the next life."""
        self._connection = connection
        self._nursery = nursery
        self._workers.start()

    def close(self) -> None:
        self._connection = self._nursery = None
        self.lanes.clear()

    def load(self, waiting: Iterable[Pending]) -> None:
        """*waiting*: what an earlier life left."""
        for pending in waiting:
            wait = (pending.due_at - self._services.now()).total_seconds() if pending.due_at else 0.0
            self.lanes.add(pending, due=trio.current_time() + wait if wait > 0 else -inf)
        self.wake()

    def offer(self, media: Iterable[Media]) -> None:
        """These are on disk as `waiting`, or were before. Never waits."""
        for one in media:
            media_id, at = MessageId(one.media_id), one.created_at
            self.lanes.add(Pending(media_id, ChatId(one.media_id), int(at.timestamp()), at))
        self.wake()

    def wake(self) -> None:
        """There may be something to fetch: a new file, or a connection."""
        self._workers.wake(self._nursery)

    def _gate(self, _now: float) -> float:
        """What comes over a socket waits for it: `wake` tells. Others are asked whatever state the session is in."""
        needs_socket = self._kind().capabilities.pairing
        return inf if needs_socket and self._session().state is not SessionState.CONNECTED else 0.0

    # --- one file -----------------------------------------------------------------------------------

    async def _fetch(self, pending: Pending) -> None:
        store = self._services.patient
        media = await store.media(pending.message_id)
        if media is None or media.state is not MediaState.WAITING:
            self.lanes.done(pending)
            return
        started = trio.current_time()
        try:
            outcome = await self._try(media)
        except Exception as error:  # a bug: the actor crashes, but not again over the same file
            bug = Failure("internal", f"wad crashed on it: {type(error).__name__}")
            await self._end(pending, media, _failed(media, bug), started)
            raise
        await self._end(pending, media, outcome, started)

    async def _end(self, pending: Pending, before: Media, outcome: _Outcome, started: float) -> None:
        saved = await self._services.patient.save_media(before, outcome.media)
        if saved:
            seconds = trio.current_time() - started
            self._services.events.publish(MediaFetched(outcome.media, outcome.result, seconds))
        if saved and outcome.media.state is MediaState.WAITING:
            self.lanes.again(pending, trio.current_time() + outcome.pause, hold=False)
        else:
            self.lanes.done(pending)

    async def _try(self, media: Media) -> _Outcome:
        files, session = self._services.files, self._session()
        if files is None or not self._services.fetches:
            return _failed(
                media, Failure("fetch_off", "the configuration says that nothing is fetched (media.fetch)")
            )
        if media.provider not in (None, session.provider):
            told = f"{media.provider} has the file, and the session left it before it was fetched"
            return _failed(media, Failure("provider_changed", told))
        try:
            files.check_room()  # a provider that is asked in vain may send 100 MB
            async with self._services.fetching:
                return _Outcome("stored", await self._stored(media, files))
        except ProviderError as error:
            return self._after(media, error)
        except OSError as error:
            code = "disk_full" if error.errno in _FULL else "disk_failed"
            return self._later(
                "disk", media, Failure(code, error.strerror or type(error).__name__, retryable=True)
            )

    async def _stored(self, media: Media, files: Files) -> Media:
        """Fetch *media*, and have it stand on the disk; raises ProviderError or OSError where it does not."""
        assert self._connection is not None
        async with (
            self._connection.download(media.provider_media_id) as content,
            files.writing(media.media_id, media.session_id) as file,
        ):
            await self._read(content, file)
            promised = sha256_digests(media.sha256 or content.sha256 or "")
            if promised and file.digest not in promised:
                raise ProviderError(
                    Verdict.NOT_SENT,
                    "the file that arrived is not the one that was promised",
                    code="media_corrupt",
                )
        declared = content.mime_type if media.mime_type == UNKNOWN else media.mime_type
        found = found_type(file.head)
        return media.moved(
            MediaState.STORED,
            mime_type=declared,
            found_type=found,
            is_suspect=contradicts(found, declared),
            size=file.size,
            sha256=file.digest.hex(),
            attempts=media.attempts + 1,
            due_at=None,
            error=None,
        )

    async def _read(self, content: MediaContent, file: Writing) -> None:
        most = self._services.limits.file_size
        too_large = ProviderError(
            Verdict.REJECTED, f"a file of more than {most} bytes (media.max_size)", code="media_too_large"
        )
        if content.size is not None and content.size > most:
            raise too_large
        async for chunk in content.chunks:
            if file.size + len(chunk) > most:
                raise too_large
            await file.write(chunk)

    # --- what a failure means -----------------------------------------------------------------------

    def _after(self, media: Media, error: ProviderError) -> _Outcome:
        failure = Failure.of(error)
        is_over = error.verdict is Verdict.REJECTED or (
            error.code == "media_corrupt" and media.attempts + 1 >= CORRUPT_TRIES
        )
        if is_over:
            return _failed(media, failure)
        return self._later("retry", media, failure, at_least=min(error.retry_after or 0.0, _MOST))

    def _later(self, result: str, media: Media, failure: Failure, *, at_least: float = 0.0) -> _Outcome:
        pause = RETRY_AFTER[min(media.attempts, len(RETRY_AFTER) - 1)]
        pause = max(at_least, pause * (1 + self._services.random.uniform(-0.2, 0.2)))
        due_at = self._services.now() + timedelta(seconds=pause)
        if due_at > media.created_at + WINDOW:
            return _failed(media, failure)
        waiting = media.moved(MediaState.WAITING, attempts=media.attempts + 1, due_at=due_at, error=failure)
        return _Outcome(result, waiting, pause)


def _failed(media: Media, failure: Failure) -> _Outcome:
    failed = media.moved(MediaState.FAILED, attempts=media.attempts + 1, due_at=None, error=failure)
    return _Outcome("failed", failed)
