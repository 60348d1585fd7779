"""Talking to systemd, heard by a socket that stands in for it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from wad.config import ConfigError
from wad.notify import Notifier, take_sockets, watchdog


class Systemd:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address.replace("@", "\0") if address.startswith("@") else address)

    def heard(self) -> list[str]:
        """Every message since the last call."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path: Path) -> Iterator[Systemd]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@wad-test-{os.getpid()}"
    made = Systemd(address)
    yield made
    made.close()


def notifier(systemd: Systemd, **variables: str) -> Notifier:
    return Notifier.take({"NOTIFY_SOCKET": systemd.address, **variables})


# --- what it is doing -----------------------------------------------------------------------------


def test_each_step_of_a_life_is_told_in_systemds_words(systemd, monkeypatch):
    """sd_notify(3): one datagram each, assignments a line each."""
    monkeypatch.setattr("time.monotonic_ns", lambda: 5_000_000)
    told = notifier(systemd)
    told.extend(60)
    told.status("restored 312 of 1000")
    told.ready("1000 sessions")
    told.reloading()
    told.ready("reloaded")
    told.alive()
    told.stopping("3 sends in hand")
    assert systemd.heard() == [
        "EXTEND_TIMEOUT_USEC=60000000",
        "STATUS=restored 312 of 1000",
        "READY=1\nSTATUS=1000 sessions",
        "RELOADING=1\nMONOTONIC_USEC=5000",
        "READY=1\nSTATUS=reloaded",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=3 sends in hand",
    ]


def test_a_status_cannot_smuggle_another_assignment_in(systemd):
    """A line break would begin one, and MAINPID= would be obeyed."""
    notifier(systemd).status("a\nMAINPID=1\r\nREADY=1")
    assert systemd.heard() == ["STATUS=a MAINPID=1 READY=1"]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_without_a_socket_it_can_use_it_says_nothing(address):
    """On a newcomer's machine there is no systemd to tell."""
    told = Notifier.take({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    told.ready("x")
    told.alive()
    assert told.watchdog_seconds is None


def test_a_systemd_that_does_not_listen_harms_nobody(tmp_path, caplog):
    """It is logged, and wad goes on."""
    Notifier.take({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")
    assert [record.message for record in caplog.records] == ["notify_failed"]


def test_the_variables_are_taken_out_of_the_environment(systemd):
    """A child process must not report itself ready, or feed wad's watchdog."""
    environ = {
        "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "LISTEN_PID": "1",
        "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http", "HOME": "/",
    }  # fmt: skip
    Notifier.take(environ)
    take_sockets(environ)
    assert environ == {"HOME": "/"}


# --- the watchdog ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        pytest.param({"WATCHDOG_USEC": "30000000"}, 30, id="for the service"),
        pytest.param(
            {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30, id="for this process"
        ),
        pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None, id="for another process"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="off"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="garbled"),
        pytest.param({}, None, id="none"),
    ],
)
def test_the_watchdogs_time_is_what_the_unit_says(systemd, variables, seconds):
    """And only where it is meant for this process."""
    assert notifier(systemd, **variables).watchdog_seconds == seconds


async def test_a_living_loop_pings_at_a_third_of_the_time(systemd, autojump_clock):
    """At once, and then often enough that one lost ping is not the end."""
    told = notifier(systemd, WATCHDOG_USEC="30000000")
    with trio.move_on_after(25):
        await watchdog(told)
    assert systemd.heard() == ["WATCHDOG=1"] * 3


async def test_a_loop_that_stands_still_sends_nothing_and_catches_nothing_up(systemd, mock_clock):
    """Five minutes in one synchronous call: systemd hears nothing of them, before or after."""
    told = notifier(systemd, WATCHDOG_USEC="30000000")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog, told)
        await trio.testing.wait_all_tasks_blocked()
        assert systemd.heard() == ["WATCHDOG=1"]
        mock_clock.jump(300)
        assert systemd.heard() == []
        await trio.testing.wait_all_tasks_blocked()
        assert systemd.heard() == ["WATCHDOG=1"]
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_there_is_nothing_to_wait_for(systemd):
    """It ends at once, and no timer runs."""
    await watchdog(notifier(systemd))
    assert systemd.heard() == []


# --- sockets --------------------------------------------------------------------------------------


def listening() -> socket.socket:
    opened = socket.socket()
    opened.bind(("127.0.0.1", 0))
    opened.listen()
    return opened


def listen(count: int, names: str = "") -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}


def two_in_a_row() -> tuple[socket.socket, socket.socket]:
    """Two listening sockets whose descriptors follow one another, as systemd hands them over."""
    first = listening()
    second = first.fileno() + 1
    while True:
        opened = listening()
        if opened.fileno() == second:
            return first, opened
        try:
            os.fstat(second)
        except OSError:
            os.dup2(opened.fileno(), second)
            opened.close()
            return first, socket.socket(fileno=second)
        first, second = opened, opened.fileno() + 1


def test_sockets_that_systemd_opened_are_taken_with_their_names():
    """In the unit's order; children do not inherit them."""
    one, two = two_in_a_row()
    for opened in (one, two):
        os.set_inheritable(opened.fileno(), True)  # as they are after an exec
    handed = take_sockets(listen(2, "http"), first=one.fileno())
    assert [each.name for each in handed] == ["http", f"fd{two.fileno()}"]
    assert [each.socket.getsockname() for each in handed] == [one.getsockname(), two.getsockname()]
    assert not any(os.get_inheritable(each.socket.fileno()) for each in handed)
    for each, opened in zip(handed, (one, two), strict=True):
        opened.detach()
        each.socket.close()


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="nothing handed over"),
        pytest.param({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, id="for another process"),
        pytest.param({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}, id="garbled"),
        pytest.param({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}, id="none"),
    ],
)
def test_without_sockets_for_this_process_there_are_none(environ):
    """wad binds its own then."""
    assert take_sockets(environ) == []


def test_a_socket_that_cannot_be_served_on_is_reported():
    """A datagram socket, or one that does not listen, is the unit's mistake: systemd is not to try again."""
    with socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        for wrong in (idle, datagram):
            with pytest.raises(ConfigError, match=r"socket http: .*not a listening stream socket"):
                take_sockets(listen(1, "http"), first=wrong.fileno())
            assert wrong.fileno() > 0
    with pytest.raises(ConfigError, match="Bad file descriptor"):
        take_sockets(listen(1), first=9999)


def test_a_real_process_finds_its_socket_at_descriptor_3():
    """As systemd starts it: the descriptor, and the process's own id in the environment."""
    opened = listening()
    child = (
        "import os; from wad.notify import take_sockets; os.environ['LISTEN_PID'] = str(os.getpid());"
        "[handed] = take_sockets(os.environ); print(handed.name, handed.socket.getsockname()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.dup2({opened.fileno()}, 3); {child}"],
        pass_fds=[opened.fileno()], capture_output=True, text=True, check=True,
        env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"},
    )  # fmt: skip
    assert done.stdout.split() == ["http", str(opened.getsockname()[1])]
    opened.close()
