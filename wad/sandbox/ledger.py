"""What really happened on the wire, in order: the oracle that tests count against.

Four kinds of entries, each with `n` (1, 2, 3, ...), `at` (seconds since 1970) and `kind`:

    send      a message the network accepted; written before the answer leaves, so an answer that is lost
              on the way does not lose the entry
    call      every other request to the Graph API, and every refused send, with its status and error code
    event     a webhook event that came to be, whether or not anybody listens
    delivery  one attempt to deliver events, with the answer or the error

With a file, each entry is appended to it as one JSON line in one `write` before anything else happens: it
is there whatever becomes of this process or of its peer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Ledger:
    """Entries are kept encoded: a load test makes hundreds of thousands."""

    def __init__(self, path: Path | None = None, *, watch: Callable[[bytes], None] | None = None) -> None:
        self._watch = watch
        self._entries: list[tuple[str, bytes]] = []
        self._counts: Counter[str] = Counter()
        self._file = (
            None
            if path is None
            else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        )

    def __repr__(self) -> str:
        return f"<Ledger {dict(self._counts)}>"

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def write(self, kind: str, at: float, entry: dict[str, Any]) -> None:
        line = _encode({"n": len(self._entries) + 1, "at": at, "kind": kind, **entry})
        self._entries.append((kind, line))
        self._counts[kind] += 1
        if self._file is not None:
            written = os.write(self._file, line + b"\n")
            if written != len(line) + 1:
                raise OSError(f"the ledger took {written} of {len(line) + 1} bytes")
        if self._watch is not None:
            self._watch(line)

    @property
    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self, kind: str | None = None, *, after: int = 0, **fields: Any) -> list[dict[str, Any]]:
        """The entries after number *after*, of one kind, whose top-level *fields* have these values."""
        found = []
        for its_kind, line in self._entries[after:]:
            if kind is not None and its_kind != kind:
                continue
            entry = _decode(line)
            if all(entry.get(name) == value for name, value in fields.items()):
                found.append(entry)
        return found


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """The entries of a ledger file; a last line that its writer did not live to finish is left out."""
    *lines, _unfinished = path.read_bytes().split(b"\n")
    return [_decode(line) for line in lines]
