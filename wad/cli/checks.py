"""The checks of `wad doctor`. Each returns what it found, and changes nothing."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx
import msgspec

from wad.cli.running import run
from wad.cli.stop import Stop
from wad.config import Config, ConfigError, find, load
from wad.config.first_start import ADMIN_TOKEN_FILE, MASTER_KEY_FILE
from wad.config.values import decoded_key

Level = Literal["ok", "warn", "fail"]

_NODE: Final = 20  # the oldest that Baileys 7 runs on
_BUILT: Final = 1764547200.0  # 2025-12-01: a clock before this version was written is wrong
_LEAST_FREE: Final = 1 << 30  # bytes: some days of messages, and room for SQLite's log
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_PATIENCE: Final = 5.0  # seconds for a connection


class Finding(msgspec.Struct, frozen=True):
    check: str
    level: Level
    detail: str
    next_step: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"check": self.check, "level": self.level, "detail": self.detail, "next": self.next_step}


def examined(path: Path | None, environ: Mapping[str, str], *, online: bool) -> list[Finding]:
    """Everything found, in the order in which things have to be right."""
    try:
        config = load(path, environ)
    except ConfigError as error:
        return [
            *(Finding("config", "fail", str(problem)) for problem in error.problems),
            Finding("config", "fail", "nothing else was looked at", "mend these, then look again"),
            *_machine(None),
        ]
    file = find(path, environ)
    running = _daemon(config)
    return [
        Finding("config", "ok", f"{file or 'no file: the defaults'}"),
        *_data_dir(config),
        *_keys(config),
        *_store(config),
        *_ports(config, is_running=running.level == "ok"),
        running,
        *_public_url(config, online=online),
        *_machine(config),
        *(_providers(config) if online else ()),
    ]


# --- what is stored ----------------------------------------------------------------------------------


def _data_dir(config: Config) -> Iterator[Finding]:
    if config.store.kind != "embedded":
        return
    directory = config.store.data_dir
    if not directory.exists():
        parent = next(each for each in directory.absolute().parents if each.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("data dir", "ok", f"{directory} is made on the first start")
        else:
            yield Finding(
                "data dir", "fail", f"{directory} is not there, and {parent} is not writable", _move(config)
            )
        return
    if not directory.is_dir() or not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            "data dir", "fail", f"{directory} is no directory that this user may write", _move(config)
        )
        return
    if _others_may(directory):
        yield Finding("data dir", "warn", f"{directory} is open to others", f"chmod go= {directory}")
    else:
        yield Finding("data dir", "ok", str(directory.absolute()))
    free = shutil.disk_usage(directory).free
    if free < _LEAST_FREE:
        yield Finding(
            "disk", "warn", f"{free >> 20} MiB are free for {directory}", "make room, or move data_dir"
        )


def _move(config: Config) -> str:
    return f"mkdir -m 700 {config.store.data_dir}, own it, or set store.data_dir (WAD_STORE__DATA_DIR)"


def _others_may(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _keys(config: Config) -> Iterator[Finding]:
    if config.secrets.master_key is not None:
        yield Finding("master key", "ok", "in the configuration")
    elif config.store.kind == "embedded":
        yield _own_file(config.store.data_dir / MASTER_KEY_FILE, "master key", decoded_key)
    if config.auth.tokens:
        yield Finding("tokens", "ok", f"{len(config.auth.tokens)} in the configuration")
    else:
        yield _own_file(config.store.data_dir / ADMIN_TOKEN_FILE, "tokens", str)


def _own_file(path: Path, check: str, reads: Callable[[str], object]) -> Finding:
    """A file that wad makes for itself, and that nobody else should read."""
    if not path.exists():
        return Finding(check, "ok", f"{path} is made on the first start")
    try:
        reads(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        return Finding(check, "fail", f"{path}: {error}", "restore it from your backup")
    if _others_may(path):
        return Finding(check, "warn", f"{path} can be read by others", f"chmod 600 {path}")
    return Finding(check, "ok", str(path))


def _store(config: Config) -> Iterator[Finding]:
    from wad.store.open import FILE

    shown = config.store.shown_url
    match config.store.kind:
        case "memory":
            yield Finding(
                "store", "warn", "memory: everything is gone when wad ends", "store.url: embedded keeps it"
            )
            return
        case "embedded":
            place = config.store.data_dir / FILE
            if not place.exists():
                yield Finding("store", "ok", f"{place} is made on the first start")
                return
            if _in_use(place):
                yield Finding("store", "ok", f"{place}, in use by a running wad")
                return
    try:
        detail = run(partial(_look_into, config))
    except Stop as stop:
        yield Finding("store", "fail", f"{shown}: {stop.message}", stop.next_step)
    else:
        yield Finding("store", "ok", f"{shown}: {detail}")


def _in_use(database: Path) -> bool:
    """Whether a daemon, or another command, holds the lock beside the file."""
    try:
        with database.with_name(f"{database.name}.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # opening it tells better what is wrong
    return False


async def _look_into(config: Config) -> str:
    """What is stored, by the engine alone: opening it as the daemon does could write into it."""
    from wad.cli.configuration import with_secrets
    from wad.secrets import Vault
    from wad.store.base import Query, StoreUnusable
    from wad.store.open import FILE
    from wad.store.tables import META, SCHEMA, SESSIONS

    if config.store.kind == "embedded":
        from wad.store.sqlite import open_sqlite

        engine: Any = await open_sqlite(config.store.data_dir / FILE)
    else:
        from wad.store.mongo import open_mongo

        engine = await open_mongo(config.store.url.get_secret_value(), config.store.database)
    try:
        await engine.ping()
        await engine.prepare([META, SESSIONS])
        meta = {row["name"]: row["value"] for row in await engine.find(Query(table="meta"))}
        if int(meta.get("schema", SCHEMA)) > SCHEMA:
            raise StoreUnusable(f"it has schema {int(meta['schema'])}, and this wad knows {SCHEMA}")
        if "canary" in meta:
            key = with_secrets(config, None)[0].secrets.master_key
            assert key is not None
            olds = [old.get_secret_value() for old in config.secrets.old_master_keys]
            Vault(key.get_secret_value(), olds).check_canary(meta["canary"])
        sessions = sum((await engine.count("sessions", {}, "provider")).values())
    finally:
        await engine.close()
    return f"schema {SCHEMA}, {sessions} sessions, sealed with this master key"


# --- the network ------------------------------------------------------------------------------------


def _ports(config: Config, *, is_running: bool) -> Iterator[Finding]:
    for bind in config.http.bind:
        if bind.startswith("unix:"):
            continue
        if is_running and bind == config.http.bind[0]:
            yield Finding("port", "ok", f"{bind}, in use by the daemon that answers")
            continue
        host, _, port = bind.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), int(port)))
            except OSError as error:
                yield Finding("port", "fail", f"{bind}: {error.strerror}", _port_step(error, port))
            else:
                yield Finding("port", "ok", f"{bind} is free")


def _port_step(error: OSError, port: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"`ss -ltnp 'sport = :{port}'` shows by whom; or set http.bind (WAD_HTTP__BIND)"
    return "set http.bind (WAD_HTTP__BIND) to an address of this machine, and a port above 1023"


def local_url(config: Config) -> str | None:
    """Where this machine reaches the daemon."""
    for bind in config.http.bind:
        if not bind.startswith("unix:"):
            host, _, port = bind.rpartition(":")
            host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  compared, not bound
            return f"http://{host}:{port}"
    return None


def _daemon(config: Config) -> Finding:
    url = local_url(config)
    if url is None:
        return Finding("daemon", "warn", "it listens on a Unix socket, which is not looked at")
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_PATIENCE, trust_env=False)
        body = answer.json()
        status, restored, of = body["status"], body["restored"], body["of"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return Finding("daemon", "warn", f"none answers at {url}", "wad serve")
    if answer.is_success:
        return Finding("daemon", "ok", f"{status} at {url}: {restored} of {of} sessions")
    return Finding(
        "daemon", "fail", f"{status} at {url}: {restored} of {of} sessions", "its log says what it waits for"
    )


def _public_url(config: Config, *, online: bool) -> Iterator[Finding]:
    url = config.http.public_url
    if url is None:
        yield Finding(
            "public URL",
            "warn",
            "not set: providers cannot send webhooks here",
            "set http.public_url to the https URL that leads here from the internet",
        )
        return
    if not url.startswith("https://"):
        yield Finding(
            "public URL", "warn", f"{url}: Meta calls https alone", "put a proxy with TLS before wad"
        )
        return
    if not online:
        yield Finding("public URL", "ok", f"{url}, not tried (--online does)")
        return
    try:
        answer = httpx.get(f"{url}/healthz", timeout=_PATIENCE)
    except httpx.HTTPError as error:
        yield Finding("public URL", "fail", f"{url}: {error}", "look at DNS, the proxy and its certificate")
        return
    good = answer.is_success and b'"ok"' in answer.content
    yield Finding(
        "public URL",
        "ok" if good else "fail",
        f"{url}/healthz answered {answer.status_code}",
        None if good else "the proxy has to pass everything on to wad",
    )


def _providers(config: Config) -> Iterator[Finding]:
    for name, settings in config.providers:
        url = getattr(settings, "base_url", None) or getattr(settings, "web_socket_url", None)
        parts = urlsplit(str(url))
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        try:
            socket.create_connection((parts.hostname, port), timeout=_PATIENCE).close()
        except OSError as error:
            step = "DNS, firewall or proxy; only sessions of this provider need it"
            yield Finding("provider", "warn", f"{name}: {parts.hostname}:{port}: {error}", step)
        else:
            yield Finding("provider", "ok", f"{name}: {parts.hostname}:{port} can be reached")


# --- the machine ------------------------------------------------------------------------------------


def _machine(config: Config | None) -> Iterator[Finding]:
    yield _clock()
    yield _open_files(config)
    yield _node(config)


def _clock() -> Finding:
    """Signatures, tokens and TLS rest on it, and a customer's 24 hours are counted by it."""
    now = time.time()
    if now < _BUILT:
        shown = time.strftime("%Y-%m-%d", time.gmtime(now))
        return Finding("clock", "fail", f"it says {shown}", "set it, and run an NTP service")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "adjtimex") and libc.adjtimex(ctypes.create_string_buffer(512)) == _TIME_ERROR:
        return Finding(
            "clock", "warn", "the kernel knows of no NTP service that keeps it", "timedatectl set-ntp true"
        )
    return Finding("clock", "ok", "kept by NTP" if hasattr(libc, "adjtimex") else "plausible")


def _open_files(config: Config | None) -> Finding:
    most = (config or Config()).http.max_connections
    needed = most + 256  # the pools, the store and the logs
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < needed:
        step = "ulimit -n 65536, or LimitNOFILE= in the unit"
        return Finding("open files", "warn", f"{limit}, and {most} connections need {needed}", step)
    return Finding("open files", "ok", f"{limit}")


def _node(config: Config | None) -> Finding:
    """Only for sessions of the provider `baileys`."""
    named = config.providers.baileys.node if config is not None else None
    node = str(named) if named else shutil.which("node")
    step = f"only baileys sessions need it: install Node {_NODE} or newer, or set providers.baileys.node"
    if node is None:
        return Finding("node", "warn", "not found", step)
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
        major = int(said.stdout.strip().lstrip("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Finding("node", "warn", f"{node} does not run: {error}", step)
    if major < _NODE:
        return Finding("node", "warn", f"{node} is {said.stdout.strip()}", step)
    return Finding("node", "ok", f"{node}, {said.stdout.strip()}")
