"""Who is behind a JID: our own, and the numbers behind LIDs, as far as Baileys has learnt them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from wad.providers.baileys.jids import LID, bare, phone_of, server_of, spelled, user_of
from wad.providers.base import Link

#: LIDs whose numbers are kept in memory; all are in the store.
_KEPT: Final = 2000


class Known(msgspec.Struct, frozen=True):
    """What is known beside the events: our own JIDs, the numbers behind LIDs, and what our polls offered."""

    me: frozenset[str] = frozenset()
    phones: Mapping[str, str] = {}
    options: Mapping[str, str] = {}  # of polls of ours, by their SHA-256

    def phone(self, *jids: Any) -> str | None:
        """The number of whoever goes by *jids*."""
        named = [bare(jid) for jid in jids if isinstance(jid, str) and "@" in jid]
        return next((phone for jid in named if (phone := phone_of(jid))), None) or next(
            (self.phones[jid] for jid in named if jid in self.phones), None
        )


def lids_of(messages: Iterable[Mapping[str, Any]]) -> set[str]:
    """The LIDs that *messages* name without their numbers."""
    found = set()
    for message in messages:
        wire = message.get("key") or {}
        for jid, other in (("remoteJid", "remoteJidAlt"), ("participant", "participantAlt")):
            named = wire.get(jid)
            if isinstance(named, str) and server_of(named) == LID and phone_of(wire.get(other)) is None:
                found.add(bare(named))
    return found


class People:
    """The people of one session."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._me: frozenset[str] = frozenset()
        self._phones: dict[str, str] = {}  # of LIDs

    def know_me(self, me: Mapping[str, Any]) -> None:
        """*me* is Baileys' word for the account: `{id, lid}`."""
        jids = frozenset(bare(jid) for jid in (me.get("id"), me.get("lid")) if isinstance(jid, str) and jid)
        self._me = jids or self._me

    async def known(self, lids: set[str]) -> Known:
        """The numbers behind *lids*, among others. Baileys keeps the pairs with its keys: the user of each, as JSON."""
        missing = {f"{user_of(lid)}_reverse": lid for lid in lids if lid not in self._phones}
        if missing:
            stored = await self._link.keys.get("lid-mapping", list(missing))
            for name, value in stored.items():
                user = json.loads(value)
                if isinstance(user, str) and user.isdigit():
                    self._keep(missing[name], f"+{user}")
        return Known(self._me, self._phones)

    async def are_one(self, jid: str, other: str) -> bool:
        """Whether both are the same person, by number or by LID, or the same group."""
        named = bare(jid), bare(other)
        if named[0] == named[1]:
            return True
        known = await self.known({each for each in named if server_of(each) == LID})
        phones = [known.phone(each) for each in named]
        return None not in phones and len({spelled(phone) for phone in phones if phone is not None}) == 1

    def learn(self, pairs: Sequence[Mapping[str, Any]]) -> None:
        for pair in pairs:
            if (phone := phone_of(pair.get("pn"))) is not None and isinstance(pair.get("lid"), str):
                self._keep(bare(pair["lid"]), phone)

    def _keep(self, lid: str, phone: str) -> None:
        if len(self._phones) >= _KEPT:
            del self._phones[next(iter(self._phones))]
        self._phones[lid] = phone
