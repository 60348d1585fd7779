"""One connection, told by its bridge what two processes on their way do not tell at will: the order of events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from wad.errors import ProviderError
from wad.models import Credentials, DesiredState, Session, SessionId, utc_now
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
        self.keys = self

    async def get(self, kind: str, names: Any) -> dict[str, str]:
        return {}

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


def close(status: int) -> tuple[str, dict[str, Any]]:
    return "close", {"status": status, "reason": "", "data": {}}


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
    link: Any = Heard()
    bridge: Any = Bridge(*tells)
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
        connection = BaileysConnection(
            session,
            link,
            bridges=bridge,
            shelf=Shelf(tmp_path, pools),
            settings=Settings(url="wss://localhost", spool=tmp_path),
        )
        with pytest.raises(ProviderError) as caught:
            await connection.connect()
    assert (caught.value.code, link.heard) == (code, heard)
