"""One connection, told by its bridge what two processes on their way do not tell at will: the order of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from wad.errors import ProviderError
from wad.models import (
    Address,
    Credentials,
    DesiredState,
    MessageId,
    OutboundMessage,
    Session,
    SessionId,
    utc_now,
)
from wad.providers.baileys.connection import BaileysConnection, Settings
from wad.providers.baileys.shelf import Shelf
from wad.providers.base import Pairing
from wad.providers.pools import Pools


class Bridge:
    """Carries one session, and tells what it is given, in one go, when that is opened."""

    running = True

    def __init__(self, *tells: tuple[str, dict[str, Any]]) -> None:
        self._tells = tells
        self._rider: Any = None

    async def board(self, rider: Any, *, dedicated: bool) -> Bridge:
        self._rider = rider
        return self

    def leave(self, rider: Any) -> None:
        self._rider = None

    async def call(self, name: str, args: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        if name == "open":
            for event, told in self._tells:
                await self._rider.happened(event, told)
        return {}


class Heard:
    """A link without keys, which notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.messages: dict[str, OutboundMessage] = {}
        self.stored: dict[str, str] = {}
        self.keys = self

    async def get(self, kind: str, names: Any) -> dict[str, str]:
        return {name: self.stored[name] for name in names if name in self.stored}

    async def clear(self) -> None:
        self.heard.append("keys cleared")

    def called(self, operation: str, result: str, seconds: float) -> None:
        pass

    def pairing(self, pairing: Pairing) -> None:
        self.heard.append("pairing")

    def proven(self, proof: Any) -> None:
        self.heard.append("proven")

    def lost(self, error: ProviderError) -> None:
        self.heard.append(f"lost: {error.code}")

    async def sent(self, provider_message_id: str) -> OutboundMessage | None:
        return self.messages.get(provider_message_id)


def outbound(to: Address) -> OutboundMessage:
    now = utc_now()
    return OutboundMessage(
        message_id=MessageId("msg_a"),
        session_id=SessionId("shop"),
        provider="baileys",
        to=to,
        content={"type": "text", "text": {"body": "hola"}},
        seq=1,
        created_at=now,
        updated_at=now,
        expires_at=now,
    )


def close(status: int) -> tuple[str, dict[str, Any]]:
    return "close", {"status": status, "reason": "", "data": {}}


@asynccontextmanager
async def connection_of(link: Any, bridge: Any, directory: Path) -> AsyncIterator[BaileysConnection]:
    now = utc_now()
    session = Session(
        session_id=SessionId("shop"),
        shop_id=None,
        provider="baileys",
        phone_number=None,
        credentials=Credentials(),
        desired_state=DesiredState.CONNECTED,
        created_at=now,
        updated_at=now,
        rev="1",
    )
    async with Pools() as pools:
        yield BaileysConnection(
            session,
            link,
            bridges=bridge,
            shelf=Shelf(directory, pools),
            settings=Settings(url="wss://localhost", spool=directory),
        )


OPEN = "open", {"me": {"id": "15550000001:3@s.whatsapp.net"}}
QR = "qr", {"qr": "2@abc", "expiresAt": "2099-01-01T00:00:00+00:00"}

#: What the bridge tells -> how `connect` fails, and what the link hears.
AT_ONCE = {
    "closed while it opened": ([close(428)], "connection_closed", []),
    "opened and closed": ([OPEN, close(428)], "connection_closed", []),
    "opened and unlinked": ([OPEN, close(401)], "logged_out", ["keys cleared"]),
    "offered and closed": ([QR, close(408)], "connection_lost", ["pairing"]),
}


@pytest.mark.parametrize(("tells", "code", "heard"), AT_ONCE.values(), ids=list(AT_ONCE))
async def test_who_connects_hears_of_a_socket_that_closes_as_soon_as_it_is_open(
    tmp_path: Path, tells: list[Any], code: str, heard: list[str]
):
    """And not of a phone that it waits for, which is what a connect without proof means."""
    link = Heard()
    async with connection_of(link, Bridge(*tells), tmp_path) as connection:
        with pytest.raises(ProviderError) as caught:
            await connection.connect()
    assert (caught.value.code, link.heard) == (code, heard)


LUZ_LID, LEO_LID = "81234567890@lid", "89876543210@lid"

#: Whom the message went to, who asks for it again, and whether they are given it.
ASKERS = {
    "who it went to": (Address(phone="+5215512345678"), {"remoteJid": "5215512345678@s.whatsapp.net"}, True),
    "one of their devices": (
        Address(phone="+5215512345678"),
        {"remoteJid": "5215512345678:3@s.whatsapp.net"},
        True,
    ),
    "they, by LID": (Address(phone="+5215512345678"), {"remoteJid": LUZ_LID}, True),
    "they, by number": (Address(jid=LUZ_LID), {"remoteJid": "5215512345678@s.whatsapp.net"}, True),
    "they, in WhatsApp's spelling": (
        Address(phone="+5511987654321"),
        {"remoteJid": "551187654321@s.whatsapp.net"},
        True,
    ),
    "somebody else": (Address(phone="+5215512345678"), {"remoteJid": "5215587654321@s.whatsapp.net"}, False),
    "somebody else, by LID": (Address(phone="+5215512345678"), {"remoteJid": LEO_LID}, False),
    "a LID that nobody knows": (Address(phone="+5215512345678"), {"remoteJid": "1@lid"}, False),
    "a member of its group": (
        Address(group_id="1@g.us"),
        {"remoteJid": "1@g.us", "participant": LEO_LID},
        True,
    ),
    "a member of another group": (
        Address(phone="+5215512345678"),
        {"remoteJid": "1@g.us", "participant": LEO_LID},
        False,
    ),
    "who says it is theirs": (
        Address(phone="+5215512345678"),
        {"remoteJid": "5215512345678@s.whatsapp.net", "fromMe": False},
        False,
    ),
}


@pytest.mark.parametrize(("to", "key", "given"), ASKERS.values(), ids=list(ASKERS))
async def test_a_message_is_given_again_to_its_chat_alone(
    tmp_path: Path, to: Address, key: dict[str, Any], given: bool
):
    """The id of a message is no secret to whoever was in a group with it; its content is theirs who it went to."""
    link = Heard()
    link.messages["3EB0A"] = outbound(to)
    link.stored = {
        "81234567890_reverse": '"5215512345678"',
        "89876543210_reverse": '"5215587654321"',
    }
    async with connection_of(link, Bridge(), tmp_path) as connection:
        answer = await connection.asked("message.get", {"key": {"id": "3EB0A", "fromMe": True, **key}})
    assert (answer is not None) is given
