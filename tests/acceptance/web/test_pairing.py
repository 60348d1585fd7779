"""A phone pairs, stays paired over restarts, and is lost: for each way, the state, its reason, and what mends it."""

from __future__ import annotations

import codecs
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

from tests.acceptance.daemon import TOKEN, Daemon
from tests.acceptance.shop import walk
from tests.acceptance.town import Town, running, town
from tests.acceptance.web.place import Web, a_person, bridges, kill, needs_node, unpaired, until, web_town

pytestmark = needs_node

#: Baileys' clock for QR codes, thirty times as fast: 2 s for the first one, 0.7 s for each of the five others.
QUICK_CODES = """
const real = globalThis.setTimeout
const quick = (work, ms, ...more) => real(work, work.name === 'genPairQR' ? ms / 30 : ms, ...more)
globalThis.setTimeout = Object.defineProperties(quick, Object.getOwnPropertyDescriptors(real))
"""


async def works(shop: Web) -> None:
    """Both directions."""
    ana = a_person()
    assert await shop.shown(await shop.taken("hola", f"+{ana}"), ana) == {"type": "text", "text": "hola"}
    await shop.says(ana, text="buenas")
    [arrived] = await shop.arrived(ana)
    assert arrived["text"] == {"body": "buenas"}


async def test_a_phone_pairs_by_the_code_on_the_screen_and_stays_paired(tmp_path: Path) -> None:
    """The code in all its forms; then restarts, soft and hard, that nobody has to pair after."""
    async with web_town(tmp_path) as (here, daemon), unpaired(here, daemon) as shop:
        await shop.create(connect=False)
        early = await shop.api.get(f"{shop.path}/qr")
        assert (early.status_code, early.json()["code"]) == (409, "not_pairing")
        status = await shop.connects()
        assert (status["state"], status["isConnected"], status["reason"]) == ("pairing", False, None)
        code = await shop.qr()
        assert code["qr"] == status["qrCode"]
        assert code["qr"].startswith("https://wa.me/settings/linked_devices#")
        assert datetime.fromisoformat(code["expiresAt"]) > datetime.now(UTC)
        forms = {
            "image/png": b"\x89PNG\r\n\x1a\n",
            "image/svg+xml": b"<?xml",
            "text/plain": "█".encode(),
        }
        for form, start in forms.items():
            drawn = await shop.api.get(f"{shop.path}/qr", headers={"Accept": form})
            assert drawn.status_code == 200
            assert drawn.headers["content-type"].startswith(form)
            assert start in drawn.content
        named = await shop.api.get(f"{shop.path}/qr", params={"format": "png"})
        assert named.headers["content-type"] == "image/png"

        paired = await shop.scan()
        assert (paired["phoneNumber"], paired["qrCode"], paired["link"]) == (f"+{shop.phone}", None, "linked")
        assert (await shop.api.get(f"{shop.path}/qr")).status_code == 409
        await works(shop)

        assert await daemon.stop() == 0
        await daemon.start()
        await shop.until_status(isConnected=True, phoneNumber=f"+{shop.phone}")
        await works(shop)
        daemon.kill()
        await daemon.start()
        await shop.until_status(isConnected=True)
        await works(shop)
        assert len(await shop.noted("linked")) == 1


@pytest.mark.parametrize("victim", ["bridge", "daemon"])
async def test_a_kill_in_the_middle_of_a_pairing_leaves_one_that_can_be_paired(
    tmp_path: Path, victim: str
) -> None:
    """Whatever of it was on disk: the session is connected, or shows a code to whoever scans again.

    Or it is `logged_out`: its keys were on disk, and the phone had no answer from it. `connect` shows a code then.
    """
    async with web_town(tmp_path) as (here, daemon), AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(unpaired(here, daemon, f"s{n}")) for n in range(5)]
        for session in sessions:
            await session.make()

        async def scan(session: Web) -> dict[str, Any]:
            """Scan what is shown. Its client may be gone by then, and the phone says so: look again."""
            status = await session.status()
            if status["state"] == "pairing":
                code = {"phone": session.phone, "qr": status["qrCode"]}
                await here.client.post(f"{here.sandbox_url}/_sandbox/web/scan", json=code)
            elif status["state"] == "logged_out":
                await session.connects()
            return status

        async with trio.open_nursery() as nursery:
            for session in sessions:
                nursery.start_soon(scan, session)
                await trio.sleep(0.08)
            if victim == "bridge":
                kill(*bridges(daemon))
            else:
                daemon.kill()
                await daemon.start()
            nursery.cancel_scope.cancel()
        for session in sessions:
            await until(partial(scan, session), lambda s: s["state"] == "connected", what="connected")
            await works(session)


async def test_codes_change_and_come_to_an_end(tmp_path: Path) -> None:
    """Nobody scans: the code changes, until WhatsApp gives no more. Then a person has to ask for new ones."""
    quick = tmp_path / "quick.cjs"
    quick.write_text(QUICK_CODES)
    environ = {"NODE_OPTIONS": f"--require={quick}"}
    async with web_town(tmp_path, environ=environ) as (here, daemon), unpaired(here, daemon) as shop:
        await shop.make()
        seen: list[str] = []

        async def look() -> dict[str, Any]:
            status = await shop.status()
            if status["qrCode"] not in (None, *seen):
                seen.append(status["qrCode"])
            return status

        status = await until(look, lambda s: s["state"] != "pairing")
        assert len(seen) > 2
        assert (status["state"], status["qrCode"], status["nextRetryAt"]) == ("logged_out", None, None)
        assert (status["reason"]["code"], status["reason"]["needsPerson"]) == ("pairing_expired", True)
        refused = await shop.send()
        assert (refused.status_code, refused.json()["code"]) == (409, "session_unavailable")

        assert (await shop.connects())["state"] == "pairing"
        await shop.scan()
        await works(shop)


# --- what happens to sessions that are paired -------------------------------------------------------

Story: TypeAlias = Callable[[Web], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    label: str
    story: Story


async def pairs_by_code(shop: Web) -> None:
    """The session is unpaired when the story begins."""
    await shop.asks("unlink", phone=shop.phone)
    await shop.stopped_by("logged_out")
    assert (await shop.connects())["state"] == "pairing"
    answer = await shop.api.post(f"{shop.path}/pairing-code", json={"phoneNumber": f"+{shop.phone}"})
    assert answer.status_code == 200, answer.text
    assert re.fullmatch(r"[A-Z0-9]{4}-?[A-Z0-9]{4}", answer.json()["code"])
    await shop.asks("pairing-code", phone=shop.phone, code=answer.json()["code"])
    assert (await shop.until_status(state="connected"))["phoneNumber"] == f"+{shop.phone}"
    await works(shop)


async def is_unlinked_on_the_phone(shop: Web) -> None:
    await shop.asks("unlink", phone=shop.phone)
    status = await shop.stopped_by("logged_out")
    assert (status["state"], status["isConnected"], status["nextRetryAt"]) == ("logged_out", False, None)
    assert (await shop.send()).status_code == 409
    assert (await shop.connects())["state"] == "pairing"
    await shop.scan()
    await works(shop)


async def logs_out(shop: Web) -> None:
    answer = await shop.api.post(f"{shop.path}/logout")
    assert (answer.status_code, answer.json()["state"]) == (200, "logged_out")
    phones = (await shop.here.control("GET", "/web"))["phones"]
    assert [each["clients"] for each in phones if each["phone"] == shop.phone] == [[]]
    assert (await shop.connects())["state"] == "pairing"
    await shop.scan()
    await works(shop)


async def keeps_its_pairing_while_disconnected(shop: Web) -> None:
    answer = await shop.api.post(f"{shop.path}/disconnect", headers={"Prefer": "wait=20"})
    assert (answer.status_code, answer.json()["state"]) == (200, "disconnected")
    assert (await shop.connects())["state"] == "connected"
    await works(shop)


async def is_replaced(shop: Web) -> None:
    """Two holders of one device would take it from each other for ever."""
    await shop.asks("replace", phone=shop.phone)
    status = await shop.stopped_by("replaced")
    assert (status["state"], status["nextRetryAt"]) == ("failed", None)


async def is_banned(shop: Web, *, kind: str, code: str, detail: str) -> None:
    await shop.asks("ban", phone=shop.phone, kind=kind)
    status = await shop.stopped_by(code)
    assert (status["state"], status["nextRetryAt"]) == ("failed", None)
    assert detail in status["reason"]["detail"]


async def loses_its_connection(shop: Web, **how: Any) -> None:
    """Waiting mends it, and nobody is needed."""
    before = len(await shop.noted("connected"))
    await shop.asks("drop", phone=shop.phone, **how)
    await until(partial(shop.noted, "connected"), lambda noted: len(noted) > before, what="back")
    await shop.until_status(isConnected=True, reason=None)
    await works(shop)


async def falls_silent(shop: Web) -> None:
    """A send that nobody acknowledges goes again once the connection has broken, and arrives once."""
    await shop.asks("faults", phone=shop.phone, kind="drop_after")
    ana = a_person()
    message_id = await shop.taken("una vez", f"+{ana}")
    assert await shop.shown(message_id, ana) == {"type": "text", "text": "una vez"}
    await shop.until(message_id, "delivered")
    await shop.until_status(isConnected=True)


async def is_banned_for_a_while(shop: Web) -> None:
    """Once the ban is over somebody says so, and it goes on as it was."""
    await is_banned(shop, kind="temporary", code="temporarily_banned", detail="until 20")
    await shop.asks("ban", phone=shop.phone, kind="none")
    assert (await shop.connects())["state"] == "connected"
    await works(shop)


#: What only a person ends, and stays so over a restart of the daemon.
STAY = {
    "replaced": "is replaced",
    "banned": "is banned",
    "blocked": "is blocked",
    "client_outdated": "speaks an old version",
}
STORIES = [
    Case("pairs by a code that is typed in", pairs_by_code),
    Case("is unlinked on the phone", is_unlinked_on_the_phone),
    Case("logs out", logs_out),
    Case("is disconnected", keeps_its_pairing_while_disconnected),
    Case("is banned for a while", is_banned_for_a_while),
    Case("is told that WhatsApp is unavailable", partial(loses_its_connection, code=503)),
    Case("is told to start anew", partial(loses_its_connection, code=515)),
    Case("loses its connection", loses_its_connection),
    Case("loses it with a message on its way", falls_silent),
    Case(STAY["replaced"], is_replaced),
    Case(STAY["banned"], partial(is_banned, kind="banned", code="banned", detail="banned")),
    Case(STAY["blocked"], partial(is_banned, kind="blocked", code="blocked", detail="refuses the number")),
    Case(
        STAY["client_outdated"],
        partial(is_banned, kind="outdated", code="client_outdated", detail="`client_version`"),
    ),
]


async def test_a_paired_session_is_lost_and_found(tmp_path: Path) -> None:
    """Every close by its cause. What stopped stays so, also over a restart; `connect` is what takes it up again."""
    async with web_town(tmp_path) as (here, daemon), AsyncExitStack() as stack:
        sessions = {
            case.label: await stack.enter_async_context(unpaired(here, daemon, f"s{n}"))
            for n, case in enumerate(STORIES)
        }

        async def tell(case: Case) -> None:
            await sessions[case.label].open()
            await case.story(sessions[case.label])

        await walk(STORIES, tell)

        stopped = {code: sessions[label] for code, label in STAY.items()}
        connected = {code: len(await each.noted("connected")) for code, each in stopped.items()}
        daemon.kill()
        await daemon.start()
        for label, session in sessions.items():
            if label not in STAY.values():
                await session.until_status(isConnected=True)
        for code, session in stopped.items():
            status = await session.status()
            assert (status["state"], status["reason"]["code"]) == ("failed", code)
            assert len(await session.noted("connected")) == connected[code]  # nobody tried

        replaced = stopped["replaced"]
        assert (await replaced.connects())["state"] == "connected"
        await works(replaced)


# --- what keeps a session from connecting at all ----------------------------------------------------


@asynccontextmanager
async def created(here: Town, directory: Path, **baileys: Any) -> AsyncIterator[Web]:
    """A session that was created at a daemon of its own, configured so."""
    await trio.Path(directory).mkdir()
    before = here.web
    here.web = {**(before or {}), **baileys}
    try:
        async with running(here, directory) as daemon, unpaired(here, daemon) as shop:
            await shop.create()
            yield shop
    finally:
        here.web = before


async def test_what_keeps_it_from_connecting_is_in_its_status(tmp_path: Path) -> None:
    """A server that cannot show the root's signature, and a machine without Node."""
    async with town(tmp_path, web=True) as here:
        async with created(here, tmp_path / "untrusted", noise_root_key="ab" * 32) as shop:
            status = await shop.stopped_by("untrusted_server")
            assert (status["state"], status["qrCode"]) == ("failed", None)
        async with created(here, tmp_path / "nodeless", node="/nowhere/node") as shop:
            status = await shop.stopped_by("node_missing")
            assert (status["state"], status["isConnected"]) == ("failed", False)
            assert "/nowhere/node" in status["reason"]["detail"]
            assert "pip install" in status["reason"]["detail"]
            ready = await shop.api.get("/readyz")
            assert ready.status_code == 200  # one session's trouble


# --- the terminal -----------------------------------------------------------------------------------


class Terminal:
    """`wad` at a terminal of its own, and what it has drawn there."""

    def __init__(self, daemon: Daemon, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        self.drawn = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._terminal = ours
        environ = {**os.environ, "WAD_URL": daemon.url, "WAD_TOKEN": TOKEN, "TERM": "xterm-256color"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wad", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environ
        )
        os.close(theirs)

    async def watch(self) -> None:
        """Read until it ends."""
        while True:
            try:
                read = await trio.to_thread.run_sync(os.read, self._terminal, 65536)
            except OSError:  # as Linux says that nobody is at the other end any more
                return
            if not read:
                return
            self.drawn += self._decoder.decode(read)

    @property
    def plain(self) -> str:
        """What is drawn, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.drawn).replace("\r", "")

    async def ended(self) -> int:
        return await trio.to_thread.run_sync(self._process.wait)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self._terminal)


@pytest.fixture
def terminals() -> Any:
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()


async def test_the_code_is_drawn_in_a_terminal_until_it_is_scanned(
    tmp_path: Path, terminals: list[Terminal]
) -> None:
    async with web_town(tmp_path) as (here, daemon), unpaired(here, daemon) as shop:
        await shop.make()
        terminal = Terminal(daemon, "qr", shop.session_id)
        terminals.append(terminal)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.watch)
            text = (await shop.api.get(f"{shop.path}/qr", headers={"Accept": "text/plain"})).text.strip("\n")

            async def shown() -> str:
                return terminal.plain

            await until(shown, lambda drawn: text in drawn, what="the code in the terminal")
            await shop.scan()
            assert await terminal.ended() == 0
        assert f"{shop.session_id} is connected" in terminal.plain
