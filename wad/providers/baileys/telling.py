"""What a bridge tells of messages, handed on to the link, which stores it: all of it, and before it is acknowledged."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import trio

from wad.errors import StoreUnavailable
from wad.models import AccountEvent, Inbound, SessionId, utc_now
from wad.providers.baileys.inbound import event_of, mended, storable, told
from wad.providers.baileys.jids import bare
from wad.providers.baileys.people import Known, People, lids_of
from wad.providers.baileys.reading import opened
from wad.providers.baileys.statuses import status_of_ack, status_of_receipt, status_of_update
from wad.providers.base import Link

log: Final = logging.getLogger("wad.providers.baileys")

#: Seconds between tries to store what came in, while the store is down.
_STORE_AGAIN: Final = 1.0
_MOST_AGAIN: Final = 60.0
#: Seconds that the end waits for what is being stored.
_STORING: Final = 5.0


class Telling:
    """One session's. After `leave` nothing more is told."""

    def __init__(self, session_id: SessionId, link: Link, people: People) -> None:
        self._session_id = session_id
        self._link = link
        self._people = people
        self._left = False
        self._telling = trio.Lock()

    async def leave(self) -> None:
        self._left = True
        with trio.move_on_after(_STORING):
            async with self._telling:
                pass

    async def tell(self, event: str, args: Mapping[str, Any]) -> None:
        """Store what *event* holds, however long the store takes: until then the bridge keeps it too."""
        raw = None
        pause = _STORE_AGAIN
        while not self._left:
            try:
                async with self._telling:
                    await self._link.received(await self._events(event, args) if raw is None else [raw])
            except StoreUnavailable:
                await trio.sleep(_STORE_AGAIN)
            except (
                Exception
            ):  # a bug of ours: what was told is kept as it came, and the next event is not held up
                log.exception(
                    "bridge_event_failed", extra={"session_id": self._session_id, "operation": event}
                )
                if raw is not None:  # a store that fails in a way of its own has not stored it either
                    await trio.sleep(pause)
                    pause = min(pause * 2, _MOST_AGAIN)
                raw = _raw(event, args)
            else:
                return

    async def _events(self, event: str, args: Mapping[str, Any]) -> Sequence[Inbound]:
        now = utc_now()
        found: list[Inbound | None] = []
        match event:
            case "messages":
                messages = [each for each in args["messages"] if isinstance(each, Mapping)]
                known = await self._people.known(lids_of(messages))
                if any(message.get("chosen") for message in messages):
                    known = msgspec.structs.replace(known, options=await self._options(messages))
                found += [self._event(message, known) for message in messages]
            case "updates":
                found += [status_of_update(each, now) for each in args["updates"]]
            case "receipts":
                receipts = args["receipts"]
                users = {str((each.get("receipt") or {}).get("userJid", "")) for each in receipts}
                known = await self._people.known({bare(jid) for jid in users if jid.endswith("@lid")})
                found += [status_of_receipt(each, known) for each in receipts]
            case "ack":
                found.append(status_of_ack(args["id"], args.get("error"), now))
            case "groups.update":
                found += [_group_event(group, now) for group in args["groups"]]
            case other:
                log.warning(
                    "bridge_event_unknown", extra={"session_id": self._session_id, "operation": other}
                )
        return [each for each in found if each is not None]

    async def _options(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """What the polls of ours that *messages* are votes in had to offer, by hash."""
        options: dict[str, str] = {}
        for message in messages:
            inside = opened(message.get("message"))
            part = inside.part if inside is not None and message.get("chosen") else None
            key = part.get("pollCreationMessageKey") if isinstance(part, Mapping) else None
            poll = await self._link.sent(str(key.get("id"))) if isinstance(key, Mapping) else None
            if poll is not None and poll.content["type"] == "poll":
                for option in poll.content["poll"]["options"]:
                    options[hashlib.sha256(option.encode()).hexdigest()] = option
        return options

    def _event(self, message: Mapping[str, Any], known: Known) -> Inbound | None:
        try:
            return storable(event_of(message, known))
        except UnicodeEncodeError:
            return self._event(mended(message), known)
        except Exception:  # a bug of ours: the message is kept as it came, and the next one is not held up
            log.exception("message_unreadable", extra={"session_id": self._session_id})
            key = message.get("key") or {}
            return AccountEvent(
                type="provider.event",
                dedupe_key=f"unreadable:{key.get('remoteJid')}/{key.get('id')}",
                data={"event": "message.unreadable", "message": told(message)},
            )


def _raw(event: str, args: Mapping[str, Any]) -> AccountEvent:
    """*event* as text, which is the one thing that cannot fail to be written down."""
    text = json.dumps(told(mended(args)))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return AccountEvent(
        type="provider.event",
        dedupe_key=f"raw:{digest}",
        data={"event": "bridge.unhandled", "operation": event, "json": text},
    )


def _group_event(group: Mapping[str, Any], now: datetime) -> AccountEvent:
    data = {"event": "group.update", "group": told(group), "at": now.isoformat().replace("+00:00", "Z")}
    return AccountEvent(type="provider.event", dedupe_key=f"group:{group.get('id')}:{data['at']}", data=data)
