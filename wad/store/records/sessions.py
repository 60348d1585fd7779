"""Sessions and their rows. Credentials, the former ones too, and settings are sealed: all hold secrets."""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from wad.models import Credentials, DesiredState, Former, Reason, Session, SessionId, SessionState, Settings
from wad.secrets import Unreadable, Vault
from wad.store.base import Row
from wad.store.records.values import at, json_object, maybe_at, maybe_ms, ms, to_json, unreadable

_credentials: Final = msgspec.json.Decoder(dict[str, str])
_settings: Final = msgspec.json.Decoder(Settings)
_formers: Final = msgspec.json.Decoder(tuple[Former, ...])
_reason: Final = msgspec.json.Decoder(Reason)

_DEFAULT_SETTINGS: Final = Settings()


def session_row(session: Session, vault: Vault) -> Row:
    return {
        "sessionId": session.session_id,
        "provider": session.provider,
        "shopId": session.shop_id,
        "phoneNumber": session.phone_number,
        "desiredState": session.desired_state.value,
        "state": session.state.value,
        "reason": None if session.reason is None else to_json(session.reason).decode(),
        "isConnected": session.is_connected,
        "lastSeen": maybe_ms(session.last_seen),
        "qrCode": session.qr_code,
        "connectionData": to_json(session.connection_data).decode(),
        "credentials": vault.seal(session.session_id, "sessions.credentials", to_json(session.credentials)),
        "settings": None
        if session.settings == _DEFAULT_SETTINGS
        else vault.seal(session.session_id, "sessions.settings", to_json(session.settings)),
        "formers": vault.seal(session.session_id, "sessions.formers", to_json(session.formers))
        if session.formers
        else None,
        "createdAt": ms(session.created_at),
        "updatedAt": ms(session.updated_at),
        "owner": session.owner,
        "epoch": session.epoch,
        "dataKey": session.data_key,
        "rev": session.rev,
    }


_SESSION_COLUMNS: Final = {
    "provider": "provider",
    "shop_id": "shopId",
    "phone_number": "phoneNumber",
    "desired_state": "desiredState",
    "state": "state",
    "reason": "reason",
    "is_connected": "isConnected",
    "last_seen": "lastSeen",
    "qr_code": "qrCode",
    "connection_data": "connectionData",
    "credentials": "credentials",
    "settings": "settings",
    "formers": "formers",
    "updated_at": "updatedAt",
    "owner": "owner",
    "epoch": "epoch",
    "data_key": "dataKey",
}


def session_changes(old: Session, new: Session, vault: Vault) -> Row:
    """The columns in which *new* differs. Its id and its birth do not change."""
    row = session_row(new, vault)
    changes = {
        column: row[column]
        for field, column in _SESSION_COLUMNS.items()
        if getattr(old, field) != getattr(new, field)
    }
    changes["rev"] = new.rev
    return changes


def session_of(row: Row, vault: Vault) -> Session:
    session_id = SessionId(row["sessionId"])
    if not vault.knows(session_id):
        vault.learn(session_id, row["dataKey"])
    credentials, settings = Credentials(), _DEFAULT_SETTINGS
    formers: tuple[Former, ...] = ()
    try:
        credentials = Credentials(
            _credentials.decode(vault.open(session_id, "sessions.credentials", row["credentials"]))
        )
        if row["settings"] is not None:
            settings = _settings.decode(vault.open(session_id, "sessions.settings", row["settings"]))
        if row.get("formers") is not None:
            formers = _formers.decode(vault.open(session_id, "sessions.formers", row["formers"]))
    except Unreadable as error:  # without credentials, its provider will ask for a person
        unreadable("session", session_id, session_id, error)
    return Session(
        session_id=session_id,
        provider=sys.intern(row["provider"]),  # of ten thousand, one
        credentials=credentials,
        shop_id=row["shopId"],
        phone_number=row["phoneNumber"],
        settings=settings,
        formers=formers,
        desired_state=DesiredState(row["desiredState"]),
        state=SessionState(row["state"]),
        reason=None if row["reason"] is None else _reason.decode(row["reason"]),
        is_connected=bool(row["isConnected"]),
        last_seen=maybe_at(row["lastSeen"]),
        qr_code=row["qrCode"],
        connection_data=json_object.decode(row["connectionData"]),
        created_at=at(row["createdAt"]),
        updated_at=at(row["updatedAt"]),
        owner=None if row["owner"] is None else sys.intern(row["owner"]),
        epoch=row["epoch"],
        data_key=row["dataKey"],
        rev=row["rev"],
    )
