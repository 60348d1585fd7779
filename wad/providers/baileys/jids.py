"""WhatsApp's addresses (JIDs), and how one message is told from every other.

A person has two: by number (`5215512345678@s.whatsapp.net`) and by LID (`81234@lid`), an id that hides the number. Which of
them a message carries is WhatsApp's choice. Numbers come first here, because that is how callers know people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from wad.models import Address, ChatId

NUMBER: Final = "s.whatsapp.net"
LID: Final = "lid"
GROUP: Final = "g.us"
#: Other servers whose users are people: the old name of NUMBER, and Meta's hosted business accounts.
_SAME_AS: Final = {"c.us": NUMBER, "hosted": NUMBER, "hosted.lid": LID}

#: Brazil's 9, Argentina's and Mexico's 9 and 1 before a mobile number: some have it on WhatsApp, and some have not.
_EXTRA: Final = re.compile(r"^(\+55\d\d(?=9\d{8}$)|\+54(?=9\d{10}$)|\+52(?=1\d{10}$))\d")


def bare(jid: str) -> str:
    """*jid* without device and agent: whom it is about, and not which of their phones."""
    user, _, server = jid.partition("@")
    return f"{user.partition(':')[0].partition('_')[0]}@{_SAME_AS.get(server, server)}"


def user_of(jid: str) -> str:
    return bare(jid).partition("@")[0]


def server_of(jid: str) -> str:
    return bare(jid).partition("@")[2]


def is_person(jid: str) -> bool:
    return server_of(jid) in (NUMBER, LID)


def is_group(jid: str) -> bool:
    return server_of(jid) == GROUP


def phone_of(jid: str | None) -> str | None:
    """The number in E.164; None for a LID, a group, or nothing."""
    if not jid or server_of(jid) != NUMBER or not user_of(jid).isdigit():
        return None
    return f"+{user_of(jid)}"


def spelled(phone: str) -> str:
    """*phone* in one spelling, where WhatsApp may know it by another than the one that callers use."""
    return _EXTRA.sub(r"\1", phone)


def jid_of_phone(phone: str) -> str:
    return f"{phone.removeprefix('+')}@{NUMBER}"


def jid_of(to: Address) -> str:
    """Where a message to *to* goes. The number first: Baileys finds the LID that belongs to it, not the reverse."""
    if to.group_id is not None:
        return to.group_id
    if to.phone is not None:
        return jid_of_phone(to.phone)
    return bare(to.jid or "")


def chat_of(jid: str, phone: str | None) -> ChatId:
    """The conversation, as `Address.chat` has it: an answer to a person lands in the lane of what is sent to them."""
    return ChatId(jid) if is_group(jid) else Address(phone=phone, jid=jid).chat


class Key(msgspec.Struct, frozen=True):
    """Which message: the chat as WhatsApp addresses it, the id, and in groups who wrote it.

    Ids are made by whoever writes, so that two people can use the same one. Hence a message of somebody else's is
    *named* by all three, and one of ours by its id, which we made ourselves.
    """

    chat: str
    id: str
    from_me: bool = False
    participant: str | None = None

    @property
    def name(self) -> str:
        """What wad stores as the provider's id of the message."""
        if self.from_me:
            return self.id
        return "/".join(part for part in (self.chat, self.participant, self.id) if part)

    @classmethod
    def named(cls, name: str, chat: str) -> Self:
        """The key behind *name*. One of ours does not say its *chat*: that of the message that speaks of it."""
        match name.split("/"):
            case [their_chat, participant, message_id]:
                return cls(their_chat, message_id, False, participant)
            case [their_chat, message_id]:
                return cls(their_chat, message_id)
            case _:
                return cls(chat, name, True)

    @classmethod
    def of(cls, wire: Mapping[str, Any]) -> Self | None:
        """Baileys' WAMessageKey. `participant` is an empty string where there is none."""
        chat, message_id, participant = wire.get("remoteJid"), wire.get("id"), wire.get("participant")
        if not isinstance(chat, str) or not chat or not isinstance(message_id, str) or not message_id:
            return None
        author = bare(participant) if isinstance(participant, str) and participant else None
        return cls(bare(chat), message_id, bool(wire.get("fromMe")), author)

    @property
    def wire(self) -> dict[str, Any]:
        key = {"remoteJid": self.chat, "id": self.id, "fromMe": self.from_me}
        return key if self.participant is None else {**key, "participant": self.participant}
