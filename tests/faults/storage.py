"""What happens to what is on disk: a row that cannot be read any more, a log with a torn end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import trio

from tests.faults.load import Load
from tests.faults.matrix import fault
from tests.faults.world import World


@fault("a message that cannot be read", stores=["sqlite"], outbound=["failed"], logs=["unreadable_row"])
async def garbled(world: World, load: Load) -> None:
    """It holds up nobody else, and no actor falls over it again and again; who asks for it is told."""
    shop = world.shops["cloud_api"]
    later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    message_id = await shop.taken("not for the network", sendAt=later)
    world.kill()

    def put(body: bytes | None) -> bytes:
        """Have *body*, or nothing but zeros, in the place of what is returned."""
        with closing(sqlite3.connect(world.data_dir / "wad.db")) as db, db:
            [was] = db.execute("SELECT body FROM messages WHERE messageId = ?", (message_id,)).fetchone()
            new = bytes(len(was)) if body is None else body
            db.execute("UPDATE messages SET body = ? WHERE messageId = ?", (new, message_id))
        return bytes(was)

    was = await trio.to_thread.run_sync(put, None)
    await world.start()
    await shop.until(message_id, "failed")
    assert (await shop.message(message_id))["error"]["code"] == "unreadable"
    world.kill()
    await trio.to_thread.run_sync(put, was)  # or every row to come would find it
    await world.start()


@fault("a log with a torn end", stores=["sqlite"])
async def torn(world: World, load: Load) -> None:
    """What a power cut leaves behind the last commit is nothing."""
    for _ in range(3):
        await load.until_more(5)
        world.kill()
        wal = trio.Path(world.data_dir / "wad.db-wal")
        async with await wal.open("ab") as file:
            await file.write(b"\x37\x7f\x06\x82" + bytes(range(256)) * 17)
        await world.start()
