"""A session's own keys and their rows: each sealed as the session's, the kind's and the name's, and nothing else."""

from __future__ import annotations

from wad.models import SessionId
from wad.secrets import Unreadable, Vault
from wad.store.base import Row
from wad.store.records.values import unreadable


def key_id(session_id: str, kind: str, name: str) -> str:
    """No two keys have one id, for neither session ids nor kinds hold a slash. Raises ValueError."""
    if "/" in kind:
        raise ValueError(f"a kind of key has no slash: {kind!r}")
    return f"{session_id}/{kind}/{name}"


def key_row(session_id: SessionId, kind: str, name: str, value: str, *, seq: int, vault: Vault) -> Row:
    return {
        "id": key_id(session_id, kind, name),
        "sessionId": session_id,
        "kind": kind,
        "seq": seq,
        "value": vault.seal(session_id, _field(kind, name), value.encode()),
    }


def key_of(row: Row, session_id: SessionId, kind: str, name: str, vault: Vault) -> str | None:
    """The value, or None where it does not open: its owner is told that there is none, and makes do."""
    try:
        return vault.open(session_id, _field(kind, name), row["value"]).decode()
    except Unreadable as error:
        unreadable("key", f"{session_id}/{kind}", session_id, error)  # a name may be somebody's number
        return None


def _field(kind: str, name: str) -> str:
    return f"baileys_keys.value/{kind}/{name}"
