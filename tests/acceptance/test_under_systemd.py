"""The real daemon and a stand-in for systemd: what it tells, when, and the socket that it is handed."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import trio
import trio.testing

from tests.acceptance.daemon import Daemon
from tests.acceptance.shop import a_phone, shop, until
from tests.acceptance.town import running, town
from tests.test_notify import Systemd


async def test_it_tells_systemd_what_it_does(tmp_path: Path) -> None:
    """READY once it is, signs of life while its loop turns, and STOPPING before it goes: sd_notify(3)."""
    systemd = Systemd(str(tmp_path / "notify"))
    heard: list[str] = []

    async def words(*wanted: str) -> None:
        """Return once each was told, in whichever order; what came before is forgotten."""

        async def look() -> set[str]:
            heard.extend(line for message in systemd.heard() for line in message.splitlines())
            return set(wanted) - {line.partition("=")[0] for line in heard}

        await until(look, lambda missing: not missing, what=wanted)

    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "300000"}
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, environ=environ) as daemon,
        shop(here, daemon) as its,
    ):
        await words("READY", "STATUS")
        assert heard[0] == "WATCHDOG=1", "it lives before it is ready"
        assert (await its.api.get("/readyz")).status_code == 200
        heard.clear()
        await words("WATCHDOG")
        heard.clear()
        await words("WATCHDOG")  # again, and again

        # A process that stands still gives no sign of life: systemd would end it.
        daemon.signal(signal.SIGSTOP)
        await until(lambda: _state(daemon), lambda state: state == "T", what="stopped")
        systemd.heard()
        await trio.sleep(0.5)
        assert systemd.heard() == []
        daemon.signal(signal.SIGCONT)
        heard.clear()
        await words("WATCHDOG")

        # A provider that hangs is no reason for silence.
        await its.fault("hang")
        await its.until(await its.taken(), "sending")
        systemd.heard()
        heard.clear()
        await words("WATCHDOG")

        heard.clear()
        daemon.signal(signal.SIGHUP)
        await words("RELOADING", "MONOTONIC_USEC", "READY")
        assert heard.index("RELOADING=1") < heard.index("READY=1")

        heard.clear()
        daemon.signal(signal.SIGTERM)
        await words("STOPPING")
        heard.clear()
        await words("WATCHDOG")  # while it drains
        daemon.signal(signal.SIGTERM)
        await daemon.ended()
    systemd.close()


async def test_a_connection_waits_in_systemds_socket_while_the_daemon_restarts(tmp_path: Path) -> None:
    """The socket is systemd's and stays: whoever connects between two lives is answered by the second."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with (
            town(tmp_path) as here,
            running(here, tmp_path, listener=listener) as daemon,
            shop(here, daemon) as its,
        ):
            await its.until(await its.taken("before"), "read")
            assert await daemon.stop() == 0
            answers: list[int] = []

            async def send() -> None:
                answers.append((await its.send("in between", a_phone())).status_code)

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await daemon.start()
            assert len(answers) == 5
            assert set(answers) <= {202, 503}  # 503: it is there, and brings its sessions back
            sends = await until(
                its.sends, lambda sends: len(sends) == 1 + answers.count(202), what="what was taken"
            )
            assert {send["body"]["text"]["body"] for send in sends} <= {"before", "in between"}


async def _state(daemon: Daemon) -> str:
    """How the kernel has the process: `S` it sleeps, `T` it is stopped."""
    return (await trio.Path(f"/proc/{daemon.pid}/stat").read_text()).rpartition(") ")[2][0]
