"""One session of WhatsApp Web, as its actor holds it: what it asks of its bridge, and what the bridge tells of it.

The socket is the bridge's. When to open one, why it closed and what a message means is decided here. Whatever the bridge
tells is acknowledged by returning from `happened`, and that only once it is in the store.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from wad.errors import ProviderError, Verdict
from wad.models import Content, OutboundMessage, Session, utc_now
from wad.node.child import Child, ChildError, ChildGone, ChildTimeout
from wad.providers.baileys import closes, refusals
from wad.providers.baileys.bridges import Bridges
from wad.providers.baileys.content import FILES, File, message_id_of, quoted, wire
from wad.providers.baileys.files import Received, Uploaded, of_id
from wad.providers.baileys.groups import group_of
from wad.providers.baileys.jids import Key, bare, jid_of, phone_of, user_of
from wad.providers.baileys.people import People
from wad.providers.baileys.shelf import MOST_BYTES, Shelf, reading
from wad.providers.baileys.telling import Telling
from wad.providers.base import Accepted, Connection, Group, Link, MediaContent, Pairing, Proof

log: Final = logging.getLogger("wad.providers.baileys")

#: Seconds for the way to a QR code or to `open`: Baileys gives a socket 20 s, and its first queries more.
_CONNECT: Final = 45.0
#: Seconds for a send: the bridge waits 30 s for the acknowledgement, after what enciphering needs to ask for.
_SEND: Final = 40.0
#: Seconds for a send with a file, which is uploaded first; and for fetching one.
_SEND_FILE: Final = 150.0
_DOWNLOAD: Final = 80.0
_ASK: Final = 30.0
#: Seconds that letting go may take. A bridge that is frozen is killed by its heartbeat within 15.
_LET_GO: Final = 20.0
#: Unexplained closes in a row, after which somebody should look.
_SUSPICIOUS: Final = 5


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What all sessions of the process are opened with, in the bridge's words."""

    url: str
    version: tuple[int, int, int] | None = None
    root_key: str | None = None
    spool: Path

    @property
    def wire(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "version": None if self.version is None else list(self.version),
            "browser": None,
            "rootKey": self.root_key,
            "spool": str(self.spool.absolute()),
            # Or the phone would show no notifications: WhatsApp takes it that somebody reads here.
            "markOnline": False,
        }


class _Attempt:
    """One `connect` that waits: for a QR code, for `open`, or for an error.

    An error counts until `connect` has returned, even where it comes on the heels of the other two.
    """

    def __init__(self) -> None:
        self.over = trio.Event()
        self.error: ProviderError | None = None


class BaileysConnection(Connection):
    """A living session's. Only its actor calls it; only its bridge calls `happened`, `asked` and `dropped`."""

    def __init__(
        self, session: Session, link: Link, *, bridges: Bridges, shelf: Shelf, settings: Settings
    ) -> None:
        self.name = wire_name(session.session_id)
        self._session_id = session.session_id
        self._dedicated = session.settings.dedicated
        self._link = link
        self._bridges = bridges
        self._shelf = shelf
        self._settings = settings
        self._child: Child | None = None  # while the bridge has been told to open it
        self._attempt: _Attempt | None = None
        self._proof: Proof | None = None  # while it is open
        self._pairing: Pairing | None = None
        self._paired = False  # whether a phone has ever confirmed the keys that are in use
        self._left = False  # the block of `open` is about to end: nothing more may be told
        self._people = People(link)
        self._telling = Telling(session.session_id, link, self._people)
        self._in_air: dict[str, OutboundMessage] = {}  # by WhatsApp's id
        self._unexplained = 0

    def __repr__(self) -> str:
        state = "open" if self._proof else "pairing" if self._pairing else "closed"
        return f"<BaileysConnection {self.name} {state}>"

    # --- connecting ---------------------------------------------------------------------------------

    async def connect(self) -> Proof | None:
        if self._proof is not None:
            return self._proof  # Baileys pings, and closes a socket that falls silent for 35 s
        if self._pairing is not None and not _is_over(self._pairing):
            self._link.pairing(self._pairing)
            return None
        with self._called("connect"):
            return await self._connect()

    async def _connect(self) -> Proof | None:
        child = await self._bridges.board(self, dedicated=self._dedicated)
        attempt = self._attempt = _Attempt()
        try:
            creds = (await self._link.keys.get("creds", ["creds"])).get("creds")
            self._remember(creds)
            self._child = child
            await self._ask("open", {"creds": creds, "settings": self._settings.wire}, repeatable=True)
            with trio.move_on_after(_CONNECT):
                await attempt.over.wait()
        finally:
            self._attempt = None
        if not attempt.over.is_set():
            await self._let_go()
            raise ProviderError(
                Verdict.NOT_SENT, "WhatsApp did not answer in time", code="provider_timeout", health=True
            )
        if attempt.error is not None:
            raise attempt.error
        return self._proof

    async def disconnect(self) -> None:
        await self._let_go()

    async def logout(self) -> None:
        if self._proof is None:
            raise _not_connected()
        with self._called("logout"):
            await self._ask("logout", {}, repeatable=True)
        await self._let_go()

    async def pairing_code(self, phone_number: str) -> str:
        if self._pairing is None:
            raise ProviderError(
                Verdict.REJECTED, "the session is not waiting for a phone", code="not_pairing"
            )
        with self._called("pairing_code"):
            answer = await self._ask(
                "pairing_code", {"phone": user_of(phone_number).removeprefix("+")}, repeatable=True
            )
        return str(answer["code"])

    async def leave(self) -> None:
        """The end: after this the link is not called any more, and what is still told stays in the spool."""
        with trio.CancelScope(shield=True):
            await self._let_go()
            self._left = True
            await self._telling.leave()

    async def _let_go(self) -> None:
        """Have the bridge close the socket, if there is one. What it told before has been handed on by then."""
        child, self._child = self._child, None
        if child is not None and child.running:
            try:
                await child.call("close", {"session": self.name}, timeout=_LET_GO)
            except (ChildError, ChildGone, ChildTimeout) as error:
                log.warning("close_failed", extra={"session_id": self._session_id, "detail": str(error)})
        self._proof = self._pairing = None
        self._bridges.leave(self)

    def _remember(self, creds: str | None) -> None:
        """Who we are, and whether a phone ever said so, by what is stored."""
        stored = json.loads(creds) if creds is not None else {}
        self._paired = bool(stored.get("account"))
        self._people.know_me(stored.get("me") or {})

    # --- what it is asked for -----------------------------------------------------------------------

    async def send(self, message: OutboundMessage) -> Accepted:
        if self._proof is None:
            raise _not_connected()
        message_id, chat = message_id_of(message.message_id), jid_of(message.to)
        self._in_air[message_id] = message
        try:
            with self._called("send"):
                file = await self._file_of(message.content)
                # The first message to a number is preceded by a question: one that nobody has would vanish.
                args: dict[str, Any] = {
                    "id": message_id,
                    "jid": chat,
                    "content": wire(message.content, chat=chat, file=file),
                    "quoted": await self._quoted(message, chat),
                    "check": True,
                }
                await self._ask("send", args, seconds=_SEND if file is None else _SEND_FILE)
        finally:
            del self._in_air[message_id]
        return Accepted(message_id)

    async def _file_of(self, content: Content) -> File | None:
        """The file that *content* names, on disk: uploaded, linked to, or one that somebody sent us."""
        media_id = content[content["type"]].get("mediaId") if content["type"] in FILES else None
        received = of_id(media_id) if media_id is not None else None
        if not isinstance(received, Received):
            return await self._shelf.find(content, self._session_id, self._link)
        path, _ = await self._fetch(received)  # removed by the day's sweep
        return File(path, received.mime_type, received.filename)

    async def _fetch(self, received: Received) -> tuple[Path, str | None]:
        """A file that somebody sent, on disk; and its hash."""
        path = self._shelf.place()
        args = {
            "message": {"key": received.key, "message": received.message},
            "path": str(path.absolute()),
            "limit": MOST_BYTES,
        }
        with self._called("download"):
            answer = await self._ask("download", args, seconds=_DOWNLOAD, repeatable=True)
        return path, answer.get("sha256")

    async def _quoted(self, message: OutboundMessage, chat: str) -> dict[str, Any] | None:
        if message.quotes is None or message.type == "reaction":
            return None
        return quoted(message.quotes, chat, await self._content_of(message.quotes))

    async def _content_of(self, name: str) -> Content | None:
        """What the message called *name* holds: one of ours, or one that came in."""
        if "/" in name:
            return await self._link.received_content(name)
        message = await self._ours(name)
        return None if message is None else message.content

    async def _ours(self, message_id: str) -> OutboundMessage | None:
        return self._in_air.get(message_id) or await self._link.sent(message_id)

    async def mark_read(self, provider_message_id: str, *, typing: bool) -> None:
        key = Key.named(provider_message_id, "")
        if key.from_me:
            raise ProviderError(Verdict.REJECTED, "the message is one of ours", code="not_found")
        self._require_open()
        with self._called("mark_read"):
            await self._ask("read", {"keys": [key.wire]}, repeatable=True)
            if typing:
                await self._ask("presence", {"jid": key.chat, "kind": "composing"}, repeatable=True)

    async def groups(self) -> list[Group]:
        self._require_open()
        with self._called("groups"):
            listed = await self._ask("groups", {}, repeatable=True)
        return [group_of(each) for each in listed if isinstance(each, Mapping) and each.get("id")]

    async def group(self, group_id: str) -> Group:
        self._require_open()
        with self._called("group"):
            try:
                return group_of(await self._ask("group", {"jid": group_id}, repeatable=True))
            except ProviderError as error:
                if error.verdict is not Verdict.REJECTED:
                    raise
                raise ProviderError(
                    Verdict.REJECTED,
                    "the session is in no such group",
                    code="group_unknown",
                    provider_code=error.provider_code,
                ) from None

    async def upload(self, data: bytes, *, mime_type: str, filename: str | None) -> str:
        if len(data) > MOST_BYTES:
            raise ProviderError(
                Verdict.REJECTED, f"a file of more than {MOST_BYTES} bytes", code="media_too_large"
            )
        return await self._shelf.keep(data, mime_type=mime_type, filename=filename)

    @asynccontextmanager
    async def download(self, provider_media_id: str) -> AsyncIterator[MediaContent]:
        match of_id(provider_media_id):
            case Uploaded() as file:
                path = self._shelf.path_of(file)
                async with reading(path, mime_type=file.mime_type, sha256=None, once=False) as content:
                    yield content
            case Received() as received:
                self._require_open()
                path, sha256 = await self._fetch(received)
                async with reading(path, mime_type=received.mime_type, sha256=sha256, once=True) as content:
                    yield content
            case None:
                raise ProviderError(Verdict.REJECTED, "the id names no file", code="media_gone")

    # --- calls of the bridge ------------------------------------------------------------------------

    async def _ask(
        self, call: str, args: Mapping[str, Any], *, seconds: float = _ASK, repeatable: bool = False
    ) -> Any:
        """What the bridge answers. Raises ProviderError; where the call is *repeatable*, none that is in doubt."""
        child = self._child
        if child is None:
            raise _not_connected()
        try:
            return await child.call(call, {"session": self.name, **args}, timeout=seconds)
        except ChildError as error:
            rule = refusals.rule_of(error.code, error.data)
            status = error.data.get("status")
            raise refusals.error_of(
                rule,
                message=error.message,
                provider_code=error.code if status is None else str(status),
                repeatable=repeatable,
            ) from None
        except ChildGone:
            raise refusals.error_of(refusals.GONE, repeatable=repeatable) from None
        except ChildTimeout:
            raise refusals.error_of(refusals.SLOW, repeatable=repeatable) from None

    def _called(self, operation: str) -> _Reported:
        return _Reported(self._link, operation)

    def _require_open(self) -> None:
        if self._proof is None:
            raise _not_connected()

    # --- what the bridge asks -----------------------------------------------------------------------

    async def asked(self, call: str, args: dict[str, Any]) -> Any:
        if self._left:
            raise ChildError("no_session", "the session has left")
        keys = self._link.keys
        match call:
            case "keys.get":
                return await keys.get(args["type"], args["ids"])
            case "keys.set":
                await keys.set(args["data"])
                return {}
            case "creds.set":
                await keys.set({"creds": {"creds": args["creds"]}})
                return {}
            case "message.get":
                return await self._sent(args["key"])
            case _:
                raise ChildError("unknown_call", f"no call {call}")

    async def _sent(self, wire_key: Mapping[str, Any]) -> dict[str, Any] | None:
        """A message of ours again, for a recipient who could not decipher it.

        The id alone gives nobody anything: whoever knows one, of a message to somebody else, could ask for that.
        """
        key = Key.of(wire_key)
        message = await self._ours(key.id) if key is not None and key.from_me else None
        if key is None or message is None:
            return None
        if not await self._people.are_one(key.chat, jid_of(message.to)):
            log.warning(
                "asked_for_by_another",
                extra={"session_id": self._session_id, "message_id": message.message_id},
            )
            return None
        try:
            file = await self._file_of(message.content)
        except ProviderError as error:
            raise ChildError(error.code, error.detail) from None
        return {"content": wire(message.content, chat=key.chat, file=file)}

    # --- what the bridge tells ----------------------------------------------------------------------

    async def happened(self, event: str, args: dict[str, Any]) -> None:
        if self._left:
            return
        match event:
            case "qr":
                self._offered(args)
            case "paired":
                self._paired = True
            case "open":
                self._opened(args.get("me") or {})
            case "close":
                await self._closed(args)
            case "alive":
                if self._proof is not None:
                    self._link.alive()
            case "mapping":
                self._people.learn(args["pairs"])
            case _:
                await self._telling.tell(event, args)

    def dropped(self, error: ProviderError) -> None:
        """The bridge died; whoever waits for an answer of its has heard so, and who waits for its start still does."""
        was_up = self._is_up
        child, self._child = self._child, None
        self._proof = self._pairing = None
        if child is not None:
            self._end(error, was_up=was_up)

    def _offered(self, args: Mapping[str, Any]) -> None:
        if self._child is None:
            return  # told to let go meanwhile
        self._pairing = Pairing(args["qr"], datetime.fromisoformat(args["expiresAt"]))
        self._link.pairing(self._pairing)
        if self._attempt is not None:
            self._attempt.over.set()

    def _opened(self, me: Mapping[str, Any]) -> None:
        if self._child is None:
            return  # told to let go meanwhile
        self._people.know_me(me)
        self._paired, self._pairing, self._unexplained = True, None, 0
        named = {"jid": me.get("id"), "lid": me.get("lid"), "name": me.get("name")}
        data = {name: bare(value) if name != "name" else value for name, value in named.items() if value}
        self._proof = Proof(phone_of(me.get("id")), data)
        if self._attempt is not None and not self._attempt.over.is_set():
            self._attempt.over.set()
        else:
            self._link.proven(self._proof)

    async def _closed(self, args: Mapping[str, Any]) -> None:
        status, reason, data = args.get("status"), str(args.get("reason") or ""), args.get("data")
        if self._child is None:
            return
        rule = closes.rule_of(status, reason, pairing=not self._paired)
        if isinstance(data, Mapping) and isinstance(data.get("detail"), str):
            reason = f"{reason}: {data['detail']}"
        error = closes.error_of(rule, status, reason, data)
        log.info(
            "socket_closed",
            extra={
                "session_id": self._session_id,
                "provider_code": error.provider_code,
                "reason": error.code,
            },
        )
        if rule.code == "provider_failed":
            self._unexplained += 1
            if self._unexplained % _SUSPICIOUS == 0:
                log.error(
                    "closes_unexplained", extra={"session_id": self._session_id, "count": self._unexplained}
                )
        was_up = self._is_up
        self._proof = self._pairing = None
        if self._attempt is not None:
            self._attempt.error = error
        if rule.verdict is Verdict.NEEDS_PERSON:
            # It will not be opened again soon; and nothing may write keys that are about to go.
            await self._let_go()
        if rule.forgets:
            await self._link.keys.clear()
            self._paired = False
        self._end(error, was_up=was_up)

    @property
    def _is_up(self) -> bool:
        """Whether the link takes it for connected, or for pairing."""
        return self._proof is not None or self._pairing is not None

    def _end(self, error: ProviderError, *, was_up: bool) -> None:
        """Whoever connects hears of *error*; else, where it *was_up*, the link does."""
        if self._attempt is not None:
            self._attempt.error = error
            self._attempt.over.set()
        elif was_up and not self._left:
            self._link.lost(error)


class _Reported:
    """Tells the link how a call went."""

    def __init__(self, link: Link, operation: str) -> None:
        self._link = link
        self._operation = operation
        self._started = -inf

    def __enter__(self) -> None:
        self._started = trio.current_time()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        match error:
            case None:
                result = "ok"
            case ProviderError(code=code):
                result = code
            case trio.Cancelled():
                result = "cancelled"
            case _:
                result = "crashed"
        self._link.called(self._operation, result, trio.current_time() - self._started)


def wire_name(session_id: str) -> str:
    """*session_id* as the bridge calls it: the name of a file, and so without dots. No two become one.

    It is the id itself, which begins with no low line, unless that has a dot.
    """
    return session_id if "." not in session_id else f"_{session_id.replace('_', '__').replace('.', '_d')}"


def _is_over(pairing: Pairing) -> bool:
    return pairing.expires_at is not None and pairing.expires_at <= utc_now()


def _not_connected() -> ProviderError:
    return refusals.error_of(refusals.CALLS["no_session"])
