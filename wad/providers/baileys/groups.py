"""Baileys' metadata of a group in wad's words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from wad.providers.baileys.files import whole
from wad.providers.baileys.jids import bare, phone_of
from wad.providers.base import Group, GroupMember


def group_of(metadata: Mapping[str, Any]) -> Group:
    listed = metadata.get("participants")
    people = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    members = tuple(_member(each) for each in people if isinstance(each.get("id"), str))
    subject, description = metadata.get("subject"), metadata.get("desc")
    size = whole(metadata.get("size"))
    return Group(
        group_id=str(metadata["id"]),
        subject=subject if isinstance(subject, str) else None,
        description=description if isinstance(description, str) else None,
        created_at=_time(whole(metadata.get("creation"))),
        participants=len(members) if size is None else size,
        members=members,
    )


def _member(participant: Mapping[str, Any]) -> GroupMember:
    """By LID or by number, whichever the group goes by; the other one stands beside it where it is known."""
    numbers = (participant.get(name) for name in ("id", "phoneNumber", "jid"))
    phones = (phone_of(jid) for jid in numbers if isinstance(jid, str))
    return GroupMember(
        id=bare(participant["id"]),
        phone=next((phone for phone in phones if phone is not None), None),
        admin=participant.get("admin") in ("admin", "superadmin"),
    )


def _time(seconds: int | None) -> str | None:
    try:
        return (
            None if not seconds else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
        )
    except (ValueError, OverflowError, OSError):
        return None
