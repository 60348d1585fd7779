"""Checks of what lies on disk: the data directory, the keys, the store."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from wad.cli.configuration import check_rules, with_secrets
from wad.cli.doctor.finding import Finding
from wad.cli.running import run
from wad.cli.stop import Stop
from wad.config import Config
from wad.config.first_start import ADMIN_TOKEN_FILE, MASTER_KEY_FILE
from wad.config.values import decoded_key

_LEAST_FREE: Final = 1 << 30  # bytes: some days of messages, and room for SQLite's log


def data_dir(config: Config) -> Iterator[Finding]:
    if config.store.kind == "memory":
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


def files(config: Config) -> Iterator[Finding]:
    """Where customers' files are kept; the first start makes it."""
    from wad.store.files import DIRECTORY

    directory = config.store.data_dir / DIRECTORY
    if config.store.kind == "memory" or not config.media.fetch or not directory.exists():
        return
    if not directory.is_dir() or not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        step = f"own it, or move it away: mkdir -m 700 {directory}"
        yield Finding("files", "fail", f"{directory} is no directory that this user may write", step)
    elif _others_may(directory):
        yield Finding("files", "warn", f"{directory} is open to others", f"chmod go= {directory}")
    else:
        yield Finding("files", "ok", str(directory.absolute()))


def _move(config: Config) -> str:
    return f"mkdir -m 700 {config.store.data_dir}, own it, or set store.data_dir (WAD_STORE__DATA_DIR)"


def _others_may(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def keys(config: Config) -> Iterator[Finding]:
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


def rules(config: Config) -> Iterator[Finding]:
    if config.flow.rules is None:
        return
    try:
        check_rules(config)
    except Stop as stop:
        said = [stop.message, *stop.details[:1]]
        yield Finding("rules", "fail", "; ".join(said), "`wad check` tells all of it")
    else:
        yield Finding("rules", "ok", str(config.flow.rules))


def store(config: Config) -> Iterator[Finding]:
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
