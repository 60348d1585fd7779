"""Sessions of WhatsApp Web: their memory, pairing, sends and restore, beside Baileys alone over the same simulated network.

wad (the daemon and its bridges) has the first core, as everywhere in here; the simulated WhatsApp Web, which does as
much cryptography as the clients that it serves, has the second. Baileys alone (bare.js) takes wad's place for the
ceiling, in the same run. The pace that wad keeps to of itself (a message a second for each session) is set out of
the way, by `providers.baileys.rate` and `burst`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import trio

from bench.process import REST, SUBJECT, Process, cpu_of, daemon, free_port, memory_of, settle
from bench.report import Figures, medians, milliseconds, table, tenths, whole
from bench.sending import own_cpu
from bench.wire import Client, clock
from bench.world import AUTHORIZATION, Call, World, post, run_callers
from wad.node.find import find_node

#: Clients that the load is spread over at most (a full bridge), and people that each of them writes to.
SHARD: Final = 20
PEOPLE: Final = 20
#: A load's name: over how many sessions (None: all of a bridge), from how many callers.
LOADS: Final[dict[str, tuple[int | None, int]]] = {"one": (1, 1), "busy": (1, 16), "shard": (None, 64)}
#: Seconds that memory is left alone before it is looked at.
SETTLE: Final = 5.0
#: Times that a load is put on each of both, so that what else the machine does troubles both alike.
TURNS: Final = 3
#: Far above what one session can send: its own pace is no matter of this measurement.
_PLENTY: Final = {"rate": 100_000, "burst": 100_000}
_TEXT: Final = (
    "Hola, su pedido va en camino y llega hoy entre las 3 y las 5 de la tarde. Gracias por su compra."
)
_LOOK: Final = 0.01  # seconds between looks at a state
_serial = count(1)


def measure_web(
    world: World, counts: Sequence[int], messages: int, *, directory: str | None = None
) -> Figures:
    """Open so many sessions, step by step; then send, and restore them all. *messages* are for each figure."""
    most = max(counts)
    shard = min(SHARD, most)
    found: Figures = {"shard": shard}
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(dir=directory))
        network = stack.enter_context(Network(world, Path(made)))
        with Alone(network) as alone, network.daemon() as subject:
            its = Wad(network, subject)
            found["alone"] = _open_alone(alone, shard, counts)
            found["open"], found["pairing"], found["to_qr"] = _open(its, counts)
            found["sends"] = _send(alone, its, shard, messages)
            found["offered"] = _offer(its, shard, messages, found["sends"]["wad"]["shard"]["per_second"] / 2)
            found["memory_after"] = its.memory(most)
            found["alone"]["memory_after"] = alone.call("memory")
            linked = network.linked
            stopping = clock()
        found["stop_s"] = clock() - stopping
        _tell("stopped, in seconds", found["stop_s"])
        found["restored"] = {"stopped": _restore(network, most, kill=True)}
        found["restored"]["killed"] = _restore(network, most, kill=False)
        if network.linked != linked:
            raise RuntimeError(f"{network.linked - linked} sessions had to be paired anew")
    return found


class Network:
    """The sandbox with WhatsApp Web, and where a daemon's files for it are."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world, self.directory = world, directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        port = free_port()
        arguments = [
            "wad",
            "sandbox",
            "--bind",
            f"127.0.0.1:{port}",
            "--data-dir",
            str(self.directory / "web"),
        ]
        self.process = self._stack.enter_context(
            Process(
                self.world,
                arguments,
                port=port,
                log=self.directory / "sandbox.log",
                health="/_sandbox/state",
                cores=REST,
            )
        )
        self.client = Asking(self.world, port)
        self._stack.callback(self.client.close)
        self.access: dict[str, Any] = {}
        _until(self.world, lambda: self._see()["running"], what="WhatsApp Web to run")
        [self.emulator] = _children(self.process.pid, "wad-emulator")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _see(self) -> dict[str, Any]:
        self.access = self.client.ask("GET", "/_sandbox/state")[1]["web"]
        return self.access

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    @property
    def cpu(self) -> float:
        """Seconds so far, of the sandbox and of WhatsApp Web, which is a process of its own."""
        return cpu_of(self.process.pid) + cpu_of(self.emulator)

    @property
    def linked(self) -> int:
        """How often a phone has linked a client."""
        page = self.client.ask("GET", "/_sandbox/ledger?kind=link&event=linked&limit=1000")[1]
        return len(page["entries"])

    def scan(self, phone: str, qr: str) -> None:
        status, told = self.client.ask("POST", "/_sandbox/web/scan", {"phone": phone, "qr": qr})
        if status != 200:
            raise RuntimeError(f"the phone cannot scan: {told}")

    def daemon(self) -> Process:
        """A daemon over the same data as the last one."""
        baileys = {
            "web_socket_url": self.access["webSocketUrl"],
            "noise_root_key": self.access["noiseRootKey"],
            "extra_ca": self.access["extraCa"],
            **_PLENTY,
        }
        return daemon(self.world, self.directory, providers={"baileys": baileys})


class Alone:
    """Baileys without wad, in a process that is asked as a bridge is, but one thing at a time."""

    def __init__(self, network: Network) -> None:
        self.world = network.world
        self._network = network

    def __enter__(self) -> Self:
        access = self._network.access
        about = {
            "url": access["webSocketUrl"],
            "rootKey": access["noiseRootKey"],
            "scan": f"{self._network.url}/_sandbox/web/scan",
            "network": [self._network.process.pid, self._network.emulator],
            "text": _TEXT,
        }
        node = trio.run(find_node)
        flags = ["--max-semi-space-size=1"]  # as a bridge has them
        self._process = subprocess.Popen(
            [node.path, *flags, Path(__file__).with_name("bare.js"), json.dumps(about)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"NODE_EXTRA_CA_CERTS": access["extraCa"]},
            preexec_fn=lambda: os.sched_setaffinity(0, SUBJECT),  # noqa: PLW1509  no threads here
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)  # which closes its stdin, and with that it ends

    def call(self, name: str, **args: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(msgspec.json.encode({"id": 1, "call": name, "args": args}) + b"\n")
        stdin.flush()
        told = msgspec.json.decode(stdout.readline())
        if "error" in told:
            raise RuntimeError(f"{name}: {told['error']}")
        return told["ok"]


class Asking:
    """One question at a time, each waited for."""

    def __init__(self, world: World, port: int) -> None:
        self._world, self._client = world, Client(world.loop, port)

    def ask(self, method: str, path: str, body: Any = None, *headers: str) -> tuple[int, Any]:
        if method == "POST":
            request = post(path, msgspec.json.encode(body or {}), *headers)
        else:
            lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
            request = "\r\n".join(lines).encode() + b"\r\n\r\n"
        heard: list[tuple[int, bytes]] = []
        self._client.ask(request, lambda status, said: heard.append((status, said)))
        self._world.loop.run(lambda: bool(heard), 90)
        [(status, said)] = heard
        return status, msgspec.json.decode(said) if said else None

    def close(self) -> None:
        self._client.close()


class Wad:
    """A daemon that runs, as a person with its API and `ps` sees it."""

    def __init__(self, network: Network, process: Process) -> None:
        self.network, self.process, self.world = network, process, network.world
        self._client = Asking(network.world, process.port)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self._client.ask(method, f"/api/whatsapp{path}", body, AUTHORIZATION)

    def pair(self, number: int) -> tuple[float, float]:
        """Create a session and scan its code: seconds to the code, and from the scan until it is connected."""
        name = _name(number)
        began = clock()
        status, told = self.ask(
            "POST", "/sessions", {"sessionId": name, "provider": "baileys", "credentials": {}}
        )
        if status != 201:
            raise RuntimeError(f"{status} {told}")
        shown: list[str] = []

        def offered() -> bool:
            status, told = self.ask("GET", f"/sessions/{name}/qr")
            shown.extend([told["qr"]] if status == 200 else [])
            return bool(shown)

        _until(self.world, offered, what="a code to scan")
        scanned = clock()
        self.network.scan(_phone(number), shown[0])
        _until(
            self.world,
            lambda: self.ask("GET", f"/sessions/{name}/status")[1]["isConnected"],
            what=f"{name} to connect",
        )
        return scanned - began, clock() - scanned

    @property
    def connected(self) -> int:
        """How many sessions are."""
        return sum(each["isConnected"] for each in self.sessions())

    def sessions(self) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = self.ask("GET", f"/sessions?limit=200{cursor}")[1]
            yield from page["items"]
            if not page.get("next"):
                return
            cursor = f"&cursor={page['next']}"

    @property
    def bridges(self) -> list[int]:
        return _children(self.process.pid, "wad-bridge")

    @property
    def cpu(self) -> Figures:
        """Seconds of CPU so far. Bridges must not come or go between two looks."""
        return {
            "daemon": cpu_of(self.process.pid),
            "bridges": sum(map(cpu_of, self.bridges)),
            "network": self.network.cpu,
        }

    def memory(self, sessions: int) -> Figures:
        """MiB, of each process and in all."""
        bridges = [memory_of(pid) for pid in self.bridges]
        its = memory_of(self.process.pid)
        return {
            "sessions": sessions,
            "daemon": its,
            "bridges": bridges,
            "all": {kind: its[kind] + sum(each[kind] for each in bridges) for kind in its},
        }


# --- the parts ------------------------------------------------------------------------------------


def _open_alone(alone: Alone, shard: int, counts: Sequence[int]) -> Figures:
    took, memory = [], {}
    for many in range(1, shard + 1):
        people = _people(many, bare=True)
        took.append(alone.call("pair", phone=_phone(many, bare=True), people=people)["ms"] / 1000)
        if many in {1, shard, *counts}:
            settle(alone.world, SETTLE)
            memory[str(many)] = alone.call("memory")
    found = {"pairing": milliseconds(took), "memory": memory}
    _tell("Baileys alone", found)
    return found


def _open(its: Wad, counts: Sequence[int]) -> tuple[Figures, Figures, Figures]:
    """One after the other, with a look at the memory whenever so many of *counts* are open."""
    memory: Figures = {}
    to_qr, pairing = [], []
    for number in range(max(counts)):
        coded, paired = its.pair(number)
        to_qr.append(coded)
        pairing.append(paired)
        if (many := number + 1) in counts:
            settle(its.world, SETTLE)
            memory[str(many)] = its.memory(many)
            _tell(f"{many} open, in all", memory[str(many)]["all"])
    return memory, milliseconds(pairing), milliseconds(to_qr)


def _send(alone: Alone, its: Wad, shard: int, messages: int) -> Figures:
    """The first message to each of those who are written to (devices and keys are asked for); then the loads, in turns."""
    first = {"sessions": shard, "callers": 1, "messages": shard * PEOPLE}
    found = {"alone": {"first": alone.call("load", **first)}, "wad": {"first": _load(its, **first)}}
    _tell("first messages", {who: figures["first"] for who, figures in found.items()})
    for name, (sessions, callers) in LOADS.items():
        load = {"sessions": sessions or shard, "callers": callers, "messages": messages // TURNS}
        turns = [(alone.call("load", **load), _load(its, **load)) for _ in range(TURNS)]
        for who, figures in zip(found, zip(*turns, strict=True), strict=True):
            found[who][name] = medians(figures)
            _tell(f"{name}, {who}", found[who][name])
    return found


def _load(its: Wad, *, sessions: int, callers: int, messages: int) -> Figures:
    """*callers* that each send the next message once WhatsApp has the last one."""
    before, own, started = its.cpu, own_cpu(), clock()
    calls = run_callers(
        its.world,
        its.process.port,
        _sends(sessions, messages, "Prefer: wait=30"),
        callers=callers,
        expected=200,
        done=lambda made: len(made) >= messages,
    )
    took, after = clock() - started, its.cpu
    return {
        "per_second": messages / took,
        "accepted": milliseconds(call.seconds for call in calls),
        **{f"{name}_cpu_us": (after[name] - before[name]) / messages * 1e6 for name in after},
        "world_cpu_share": (own_cpu() - own) / took,
    }


def _offer(its: Wad, shard: int, messages: int, rate: float) -> Figures:
    """Messages at a set *rate*, whose callers do not wait: the 202, and from there to `accepted` in the history."""
    calls = run_callers(
        its.world,
        its.process.port,
        _sends(shard, messages),
        callers=64,
        rate=rate,
        expected=202,
        done=lambda made: len(made) >= messages,
    )
    offset = time.time() - clock()
    after = []
    for call in calls:
        path = f"/messages/{msgspec.json.decode(call.body)['messageId']}"
        while (accepted := _accepted(its.ask("GET", path)[1])) is None:
            settle(its.world, _LOOK)
        after.append(max(0.0, accepted - offset - call.answered))
    return {
        "per_second": rate,
        "answer": milliseconds(call.seconds for call in calls),
        "answer_to_accepted": milliseconds(after),
    }


def _accepted(message: dict[str, Any]) -> float | None:
    for step in message["history"]:
        if step["status"] == "accepted":
            return datetime.fromisoformat(step["at"]).timestamp()
    return None


def _restore(network: Network, sessions: int, *, kill: bool) -> Figures:
    """Start over what the last one left, however it ended; then end this one by SIGTERM, or *kill* it."""
    started = clock()
    with network.daemon() as subject:
        its = Wad(network, subject)
        _until(network.world, lambda: its.connected >= sessions, what="all to be connected", every=0.1)
        connected = clock() - started
        cpu = its.cpu
        settle(network.world, SETTLE)
        found = {
            "sessions": sessions,
            "ready_s": subject.seconds_to_ready,
            "connected_s": connected,
            "daemon_cpu_s": cpu["daemon"],
            "bridges_cpu_s": cpu["bridges"],
            "memory": its.memory(sessions),
        }
        _tell("restored", {**found, "memory": found["memory"]["all"]})
        if kill:
            os.kill(subject.pid, signal.SIGKILL)
    return found


# --- who is who -----------------------------------------------------------------------------------


def _name(number: int) -> str:
    return f"web-{number:05}"


def _phone(number: int, *, bare: bool = False) -> str:
    return f"52155{6 + bare}0{number:06}"


def _people(number: int, *, bare: bool = False) -> list[str]:
    """Those whom the session writes to."""
    return [f"52155{8 + bare}0{number * PEOPLE + each:06}" for each in range(PEOPLE)]


def _sends(sessions: int, messages: int, *headers: str) -> Iterator[Call]:
    for number in range(messages):
        session = number % sessions
        body = {
            "sessionId": _name(session),
            "to": f"+{_people(session)[number // sessions % PEOPLE]}",
            "type": "text",
            "text": {"body": _TEXT},
        }
        request = post("/api/whatsapp/send", msgspec.json.encode(body), AUTHORIZATION, *headers)
        yield Call(str(next(_serial)), request)


def _children(pid: int, name: str) -> list[int]:
    """The children of that name, oldest first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        if int(rest.split()[1]) == pid and head.partition("(")[2] == name:
            found.append(int(stat.parent.name))
    return sorted(found)


def _until(world: World, good: Any, *, what: str, every: float = _LOOK, seconds: float = 300) -> None:
    end = clock() + seconds
    while not good():
        if clock() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        settle(world, every)


def _tell(what: str, figures: object) -> None:
    print(f"web: {what}: {figures}", file=sys.stderr)


# --- what is said ---------------------------------------------------------------------------------


def web_tables(found: Figures) -> list[str]:
    return [_memory_table(found), _sends_table(found), _times_table(found)]


def _memory_table(found: Figures) -> str:
    alone = {int(many): each["rss_mib"] for many, each in found["alone"]["memory"].items()}
    rows = [
        [f"{many}, Baileys alone", "1", "", tenths(rss), "", tenths(rss), "", _each(rss, alone[1], many)]
        for many, rss in alone.items()
    ]
    after = found["alone"]["memory_after"]["rss_mib"]
    each = _each(after, alone[1], found["shard"])
    rows.append(
        [
            f"{found['shard']}, Baileys alone, after the sends",
            "1",
            "",
            tenths(after),
            "",
            tenths(after),
            "",
            each,
        ]
    )
    looks = [(f"{many}, paired", each) for many, each in found["open"].items()]
    looks.append((f"{found['memory_after']['sessions']}, after the sends", found["memory_after"]))
    restored = found["restored"]["stopped"]["memory"]
    looks.append((f"{restored['sessions']}, restored", restored))
    first = found["open"].get("1")
    for label, look in looks:
        bridges = [each["rss_mib"] for each in look["bridges"]]
        full = min(look["sessions"], SHARD)
        rows.append(
            [
                label,
                whole(len(bridges)),
                tenths(look["daemon"]["rss_mib"]),
                tenths(max(bridges)),
                tenths(max(each["pss_mib"] for each in look["bridges"])),
                tenths(look["all"]["rss_mib"]),
                tenths(look["all"]["pss_mib"]),
                _each(max(bridges), first["bridges"][0]["rss_mib"], full) if first else "",
            ]
        )
    heads = [
        "sessions",
        "bridges",
        "daemon RSS",
        "largest bridge RSS",
        "PSS",
        "all RSS",
        "PSS",
        "each beyond 1",
    ]
    return table("### WhatsApp Web: open sessions, in MiB", heads, rows)


def _each(rss: float, of_one: float, sessions: int) -> str:
    return f"{(rss - of_one) / (sessions - 1):.2f}" if sessions > 1 else ""


def _sends_table(found: Figures) -> str:
    shard = found["shard"]
    labels = {
        "one": "1 session, 1 caller",
        "busy": "1 session, 16 callers",
        "shard": f"{shard} sessions, 64 callers",
    }
    rows = []
    for key, label in (("first", "the first message to each, 1 caller"), *labels.items()):
        alone, its = found["sends"]["alone"][key], found["sends"]["wad"][key]
        rows.append(
            [
                label,
                whole(alone["per_second"]),
                whole(its["per_second"]),
                f"{its['per_second'] / alone['per_second']:.2f}",
                *(tenths(each["accepted"][q]) for each in (alone, its) for q in ("p50_ms", "p99_ms")),
                *(
                    whole(each)
                    for each in (
                        alone["cpu_us"],
                        its["bridges_cpu_us"],
                        its["daemon_cpu_us"],
                        its["network_cpu_us"],
                    )
                ),
            ]
        )
    heads = ["messages/s, accepted", "alone", "wad", "ratio", "alone p50", "p99", "wad p50", "p99"]
    heads += ["µs CPU: alone", "bridge", "daemon", "network"]
    return table("### WhatsApp Web: sends", heads, rows)


def _times_table(found: Figures) -> str:
    offered = found["offered"]
    rows = [
        [label, *(tenths(figures[q]) for q in ("p50_ms", "p99_ms"))]
        for label, figures in (
            ("scan to connected, Baileys alone", found["alone"]["pairing"]),
            ("scan to connected", found["pairing"]),
            ("session created to QR", found["to_qr"]),
            (f"/send to 202, {offered['per_second']:,.0f}/s offered", offered["answer"]),
            ("202 to accepted", offered["answer_to_accepted"]),
        )
    ]
    for how, its in found["restored"].items():
        label = f"{its['sessions']} sessions, {how}: all connected after s"
        rows.append([label, tenths(its["connected_s"]), ""])
        rows.append(
            ["... CPU of daemon and bridges, s", tenths(its["daemon_cpu_s"]), tenths(its["bridges_cpu_s"])]
        )
    return table("### WhatsApp Web: pairing, sending and restore, in ms", ["", "p50", "p99"], rows)
