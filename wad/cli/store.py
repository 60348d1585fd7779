"""`wad store export|import`: everything stored, as JSON lines, between stores and as a backup.

What is sealed stays sealed: an export is worth nothing without the master key, and needs it to be imported.
The first line says what the file is, the last how many rows it holds, so that a file cut short is noticed.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import click

from wad import __version__
from wad.cli.command import Group, config_option, json_option
from wad.cli.running import run
from wad.cli.show import progress, show_json
from wad.cli.stop import Stop

if TYPE_CHECKING:
    from wad.config import Config
    from wad.store.base import Row
    from wad.store.store import Store

FORMAT: Final = 1
_BATCH: Final = 200  # rows of one write
_TELL_EVERY: Final = 1.0  # seconds between two lines of progress


@click.group(cls=Group)
def store() -> None:
    """Move everything stored into a file, or out of one.

    Stop the daemon first: while it runs, the embedded store is its alone, and of a MongoDB you would get
    rows of different moments.
    """


@store.command(
    examples="""
    wad store export backup.jsonl
    wad store export --config /etc/wad/wad.yaml - | gzip > backup.jsonl.gz
    """
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@config_option
@json_option
def export(config: Config, config_file: Path | None, file: Path, as_json: bool) -> None:
    """Write every row to FILE, - for stdout. Keep the master key with it, but not beside it.

    FILE appears whole or not at all, readable by its owner alone.
    """
    _keeps(config)
    if as_json and str(file) == "-":
        raise click.UsageError("--json and FILE - both want stdout")
    counts = run(partial(_export, config, config_file, file))
    _report("exported", counts, file, as_json=as_json)


@store.command(
    "import",
    examples="""
    wad store import backup.jsonl
    gunzip < backup.jsonl.gz | wad store import - --config /etc/wad/wad.yaml
    """,
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--merge", is_flag=True, help="Into a store that is not empty: rows it has already stay.")
@config_option
@json_option
def import_(config: Config, config_file: Path | None, file: Path, merge: bool, as_json: bool) -> None:
    """Read every row of FILE, - for stdin.

    The configured store has to be empty. The master key has to be the one that the rows were sealed with.
    """
    _keeps(config)
    _needs_the_key(config)
    counts = run(partial(_import, config, config_file, file, merge=merge))
    _report("imported", counts, file, as_json=as_json)


def _keeps(config: Config) -> None:
    if config.store.kind == "memory":
        raise Stop(os.EX_USAGE, "store.url is memory: there is nothing to export, and nowhere to import to")


def _needs_the_key(config: Config) -> None:
    """A fresh key would open nothing of the file, and be in the way of the right one."""
    from wad.config.first_start import MASTER_KEY_FILE

    place = config.store.data_dir / MASTER_KEY_FILE
    if config.store.kind == "embedded" and config.secrets.master_key is None and not place.exists():
        raise Stop(
            os.EX_CONFIG,
            "there is no master key here, and an import needs the one of the store it came from",
            next_step=f"copy that store's {MASTER_KEY_FILE} to {place}, or set secrets.master_key",
        )


def _report(verb: str, counts: dict[str, int], file: Path, *, as_json: bool) -> None:
    if as_json:
        show_json({"file": str(file), "rows": counts})
        return
    rows = ", ".join(f"{name} {count}" for name, count in counts.items()) or "nothing"
    progress(f"{verb} {sum(counts.values())} rows: {rows}")


@asynccontextmanager
async def _opened(config: Config, config_file: Path | None) -> AsyncIterator[Store]:
    from wad.cli.configuration import with_secrets
    from wad.secrets import Vault
    from wad.store.open import open_store

    config, _ = with_secrets(config, config_file)
    key = config.secrets.master_key
    assert key is not None
    vault = Vault(key.get_secret_value(), [old.get_secret_value() for old in config.secrets.old_master_keys])
    async with open_store(
        config.store.url.get_secret_value(),
        database=config.store.database,
        data_dir=config.store.data_dir,
        vault=vault,
    ) as opened:
        yield opened


# --- out ---------------------------------------------------------------------------------------------


async def _export(config: Config, config_file: Path | None, file: Path) -> dict[str, int]:
    from wad.store.open import FILE as DATABASE
    from wad.store.tables import SCHEMA

    place = config.store.data_dir / DATABASE
    if config.store.kind == "embedded" and not place.exists():
        raise Stop(
            os.EX_DATAERR, f"there is no store at {place}", next_step="name its configuration: --config"
        )
    head = {"wad": "export", "format": FORMAT, "schema": SCHEMA, "version": __version__}
    counts: dict[str, int] = {}
    told = _Progress("exported")
    with _written(file) as out:
        async with _opened(config, config_file) as opened:
            _put(out, {**head, "store": opened.engine_name, "at": datetime.now(UTC).isoformat()})
            async for table, row in opened.dump():
                _put(out, {"table": table, "row": {column: _shown(value) for column, value in row.items()}})
                counts[table] = counts.get(table, 0) + 1
                told.more(1)
        _put(out, {"end": True, "rows": sum(counts.values())})
    return counts


def _put(out: IO[str], line: dict[str, Any]) -> None:
    out.write(json.dumps(line, separators=(",", ":")) + "\n")


def _shown(value: Any) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


@contextmanager
def _written(file: Path) -> Iterator[IO[str]]:
    if str(file) == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:  # noqa: PTH123
            yield out
            out.flush()
            os.fsync(out.fileno())
        fresh.rename(file)
    except OSError as error:
        raise Stop(os.EX_IOERR, f"{file} cannot be written: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)


# --- in ----------------------------------------------------------------------------------------------


async def _import(config: Config, config_file: Path | None, file: Path, *, merge: bool) -> dict[str, int]:
    counts: dict[str, int] = {}
    told = _Progress("imported")
    batch: list[dict[str, Any]] = []
    with _read(file) as lines:
        rows = _rows(lines, file)
        first = list(itertools.islice(rows, 1))  # a file that is none of ours touches no store
        async with _opened(config, config_file) as opened:
            if not merge and await _holds_something(opened):
                raise Stop(
                    os.EX_CANTCREAT,
                    f"the store ({config.store.shown_url}) is not empty",
                    next_step="name an empty one; or --merge, which keeps every row that is there",
                )
            table = ""
            for name, row in itertools.chain(first, rows):
                if batch and (name != table or len(batch) >= _BATCH):
                    await _load(opened, table, batch, counts)
                    told.more(len(batch))
                    batch = []
                table = name
                batch.append(row)
            if batch:
                await _load(opened, table, batch, counts)
    return counts


async def _holds_something(opened: Store) -> bool:
    """Whether there is more than a store's own notes about itself."""
    async with aclosing(cast("AsyncGenerator[tuple[str, Row]]", opened.dump())) as rows:
        async for table, _ in rows:
            if table != "meta":
                return True
    return False


async def _load(opened: Store, table: str, rows: list[dict[str, Any]], counts: dict[str, int]) -> None:
    from wad.errors import Conflict

    try:
        stored = await opened.load(table, rows)
    except (KeyError, ValueError, Conflict) as error:  # a table, a column or a key that does not fit
        raise Stop(os.EX_DATAERR, f"rows of {table} cannot be stored: {error}") from error
    counts[table] = counts.get(table, 0) + stored
    if kept := len(rows) - stored:
        progress(f"{table}: {kept} rows were there already, and stay as they are")


@contextmanager
def _read(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise Stop(os.EX_DATAERR, f"{file} cannot be read: {error.strerror}") from error
    with opened:
        yield opened


def _rows(lines: Iterable[bytes], file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows between the first and the last line, both of which are checked."""
    from wad.store.tables import SCHEMA

    rows, ended = 0, False
    for number, text in enumerate(lines, 1):
        match _parsed(text):
            case {"wad": "export", "format": int(written), "schema": int(schema)} if number == 1:
                if written > FORMAT or schema > SCHEMA:
                    raise Stop(os.EX_DATAERR, f"{file} was written by a newer wad than this one")
            case {"table": str(table), "row": dict(row)} if number > 1 and not ended:
                rows += 1
                yield table, row
            case {"end": True, "rows": int(count)} if number > 1 and count == rows:
                ended = True
            case _:
                raise Stop(os.EX_DATAERR, f"{file}, line {number}: this is no export of wad")
    if not ended:
        raise Stop(
            os.EX_DATAERR,
            f"{file} is cut short after {rows} rows",
            next_step="what it holds was imported; with the whole file, import again with --merge",
        )


def _parsed(text: bytes) -> Any:
    """A line, with its bytes as bytes; None where it is none of ours."""
    try:
        return json.loads(text, object_hook=_value)
    except ValueError:  # not JSON, not UTF-8, not base64
        return None


def _value(shown: dict[str, Any]) -> Any:
    return base64.b64decode(shown["b64"], validate=True) if shown.keys() == {"b64"} else shown


class _Progress:
    """A line now and then on what takes long."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._count = 0
        self._due = time.monotonic() + _TELL_EVERY

    def more(self, count: int) -> None:
        self._count += count
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _TELL_EVERY
            progress(f"{self._verb} {self._count} rows so far")
