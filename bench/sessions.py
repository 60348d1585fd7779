"""Sessions for a daemon to restore, written through wad's own store."""

from __future__ import annotations

from pathlib import Path

import trio

from bench.process import MASTER_KEY
from bench.world import phone_number_id
from wad.models import Credentials, DesiredState, Session, SessionId, SessionState, ShopId, utc_now
from wad.secrets import Vault
from wad.store.open import open_store


def fill(directory: Path, count: int, *, store: str = "embedded", database: str = "wad") -> None:
    """*count* sessions of cloud_api that were connected when wad last ran, in the data directory of `daemon`."""
    trio.run(_fill, directory / "var", count, store, database)


async def _fill(data_dir: Path, count: int, url: str, database: str) -> None:
    async with (
        open_store(url, database=database, data_dir=data_dir, vault=Vault(MASTER_KEY)) as store,
        trio.open_nursery() as nursery,
    ):
        for number in range(count):
            nursery.start_soon(store.add_session, _session(number))


def _session(number: int) -> Session:
    now = utc_now()
    return Session(
        session_id=SessionId(f"bench-{number:05}"),
        provider="cloud_api",
        shop_id=ShopId(f"shop-{number // 2}"),
        phone_number=f"+52155{number:08}",
        credentials=Credentials(accessToken=f"EAA{number:0200}", phoneNumberId=phone_number_id(number)),
        desired_state=DesiredState.CONNECTED,
        state=SessionState.CONNECTED,
        is_connected=True,
        last_seen=now,
        connection_data={"verifiedName": "Tienda", "qualityRating": "GREEN", "throughput": "STANDARD"},
        created_at=now,
        updated_at=now,
    )
