"""What a session's connection is used for besides sending: marking read, groups, and files."""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import trio

from wad.actors.requests import Call
from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.errors import ActorDown, Conflict, NotFound, NotSupported, ProviderError
from wad.models import DesiredState, InboundMessage, Media, MediaState, MessageId, SessionId, SessionState
from wad.providers.base import Connection, Group, MediaContent
from wad.store.files import FileLost
from wad.supervisor.actors import Actors
from wad.supervisor.numbers import named_number

log: Final = logging.getLogger("wad.calls")
R = TypeVar("R")

#: Seconds for one call: longer than a large file takes from a provider.
CALL_TIMEOUT: Final = 90.0
#: Seconds that a session has to begin pairing before it is refused a code.
PAIRING_TIMEOUT: Final = 20.0
#: How long a provider keeps an uploaded file (Meta: 30 days).
UPLOAD_TTL: Final = timedelta(days=30)
_CHUNK: Final = 64 * 1024


class Calls:
    """Each one runs beside the actor's other work, and raises ProviderError, ActorDown or NotSupported."""

    def __init__(self, services: Services, actors: Actors) -> None:
        self._services = services
        self._actors = actors

    async def mark_read(self, session_id: SessionId, message_id: MessageId, *, typing: bool) -> None:
        actor = self._actors.get(session_id)
        can = actor.kind.capabilities
        if typing:  # which marks it read as well: some can do nothing else
            self._require(actor, "typing", can.typing)
        else:
            self._require(actor, "readReceipts", can.read_receipts)
        item = await self._services.store.inbox_item(message_id)
        if item is None or item.session_id != session_id or not isinstance(item.event, InboundMessage):
            raise NotFound(f"the session received no message {message_id!r}")
        provider_id = item.event.provider_message_id
        number = item.event.number.id if item.event.number else None

        async def mark(connection: Connection) -> None:
            line = connection if number is None else connection.of(number)
            await line.mark_read(provider_id, typing=typing)

        await self._call(actor, mark)

    async def groups(self, session_id: SessionId) -> list[Group]:
        actor = self._actors.get(session_id)
        self._require(actor, "groups", actor.kind.capabilities.groups)
        return await self._call(actor, lambda connection: connection.groups())

    async def group(self, session_id: SessionId, group_id: str) -> Group:
        """One group, with its members. NotFound where the session is in no such group."""
        actor = self._actors.get(session_id)
        self._require(actor, "groups", actor.kind.capabilities.groups)
        try:
            return await self._call(actor, lambda connection: connection.group(group_id))
        except ProviderError as error:
            if error.code == "group_unknown":
                raise NotFound(f"the session is in no group {group_id!r}") from error
            raise

    async def use(
        self, session_id: SessionId, capability: str, work: Callable[[Connection], Awaitable[R]]
    ) -> R:
        """What the kind declares under *capability*, which is a field of its `Capabilities` by one word."""
        actor = self._actors.get(session_id)
        self._require(actor, capability, getattr(actor.kind.capabilities, capability))
        return await self._call(actor, work)

    async def pairing_code(self, session_id: SessionId, phone_number: str) -> str:
        """The code to type into that phone. A session that was just told to connect is waited for."""
        actor = self._actors.get(session_id)
        self._require(actor, "pairing", actor.kind.capabilities.pairing)
        with trio.move_on_after(PAIRING_TIMEOUT):
            while (
                actor.session.state is SessionState.CONNECTING
                and actor.session.reason is None
                and actor.session.desired_state is DesiredState.CONNECTED
            ):
                await actor.change_of_state()
        if actor.session.state is not SessionState.PAIRING:
            raise Conflict(
                f"the session is {actor.session.state}: it has a code while it is pairing", code="not_pairing"
            )
        return await self._call(actor, lambda connection: connection.pairing_code(phone_number))

    async def upload(
        self,
        session_id: SessionId,
        data: bytes,
        *,
        mime_type: str,
        filename: str | None,
        number: str | None = None,
    ) -> Media:
        """Store a file with the provider, under an id of wad's own; *number*: for the session's number that sends it."""
        actor = self._actors.get(session_id)
        self._require(actor, "mediaUpload", actor.kind.capabilities.media_upload)
        sender = named_number(actor, number)

        async def store(connection: Connection) -> str:
            line = connection if sender is None else connection.of(sender.id)
            return await line.upload(data, mime_type=mime_type, filename=filename)

        provider_id = await self._call(actor, store)
        now = self._services.now()
        media = Media(
            media_id=f"med_{secrets.token_hex(16)}",
            session_id=session_id,
            provider=actor.session.provider,
            provider_media_id=provider_id,
            mime_type=mime_type,
            size=len(data),
            filename=filename,
            number=sender,
            created_at=now,
            expires_at=now + UPLOAD_TTL,
        )
        await self._services.store.add_media([media])
        return media

    @asynccontextmanager
    async def download(self, media: Media) -> AsyncIterator[MediaContent]:
        """The file of *media*: from our disk where it is there, else from its provider.

        From there it is fetched whole first: a slow reader must not hold the provider's connection.
        """
        async with AsyncExitStack() as opening:
            if (kept := await self._kept(media, opening)) is not None:
                yield kept
                return
        actor = self._actors.get(SessionId(media.session_id))
        if media.provider not in (None, actor.session.provider):
            what = f"{media.provider} keeps the file, and the session left it: only after a change back can it be had"
            raise NotFound(what, code="provider_changed")
        async with trio.wrap_file(tempfile.TemporaryFile()) as file:
            yield await self._call(actor, lambda connection: _fetch(connection, media, file))

    async def _kept(self, media: Media, opening: AsyncExitStack) -> MediaContent | None:
        files = self._services.files
        if files is None or media.state is not MediaState.STORED or media.size is None:
            return None
        try:
            reading = files.reading(media.media_id, media.session_id, media.size)
            chunks = await opening.enter_async_context(reading)
        except FileLost as error:
            log.error("file_lost", extra={"media_id": media.media_id, "error": str(error)})  # noqa: TRY400  it says all
            return None
        mime_type = "application/octet-stream" if media.is_suspect else media.mime_type
        return MediaContent(mime_type, media.size, media.sha256, chunks)

    async def _call(self, actor: SessionActor, work: Callable[[Connection], Awaitable[R]]) -> R:
        with trio.move_on_after(CALL_TIMEOUT):
            return await actor.mailbox.ask(Call(work))
        raise ActorDown("the session's actor did not answer in time")

    @staticmethod
    def _require(actor: SessionActor, capability: str, has_it: bool) -> None:
        if not has_it:
            raise NotSupported(actor.session.provider, capability)


async def _fetch(connection: Connection, media: Media, file: Any) -> MediaContent:
    """Put the file of *media* into *file*, and say how to read it from there."""
    try:
        async with connection.download(media.provider_media_id) as content:
            async for chunk in content.chunks:
                await file.write(chunk)
        size = await file.tell()
        await file.seek(0)
    except ValueError:
        if not file.closed:
            raise
        raise ActorDown("whoever asked for the file has left") from None
    return MediaContent(content.mime_type, size, content.sha256, _chunks(file))


async def _chunks(file: Any) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK):
        yield chunk
