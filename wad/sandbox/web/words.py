"""What one asks of WhatsApp Web's people: the bodies of the control API, and the emulator's words for them.

Phones are written with or without their +. A field that is left out is the emulator's to choose.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from wad.sandbox.bodies import Body
from wad.sandbox.ids import digits_of
from wad.sandbox.samples import sample
from wad.sandbox.web.web import Web

Phone = Annotated[
    str, msgspec.Meta(pattern=r"^\+?[0-9]{5,15}$", description="a phone number, with country code")
]
Some = Annotated[list[Phone], msgspec.Meta(min_length=1)]


class PhoneSpec(Body, frozen=True):
    phone: Phone
    name: str | None = None


class ContactSpec(Body, frozen=True):
    """Somebody, and how they behave."""

    phone: Phone
    name: str | None = None
    on_whatsapp: bool | None = None
    auto_read: bool | None = None  # reads what is shown to them
    receipts: bool | None = None  # their phone says that a message arrived
    addressing: Literal["pn", "lid"] | None = None  # how their messages name them


class ScanSpec(Body, frozen=True):
    phone: Phone
    qr: str  # the text inside


class CodeSpec(Body, frozen=True):
    phone: Phone
    code: str


class UnlinkSpec(Body, frozen=True):
    phone: Phone
    device: int | None = None  # none: all


class BanSpec(Body, frozen=True):
    phone: Phone
    kind: Literal["blocked", "banned", "temporary", "outdated", "none"]
    code: int | None = None
    expire: int | None = None


class AboutPhone(Body, frozen=True):
    phone: Phone


class DropSpec(Body, frozen=True):
    phone: Phone
    code: int | None = None  # of a stream error; none: the connection breaks


class MuteSpec(Body, frozen=True):
    phone: Phone
    on: bool = True


class WebFaultSpec(Body, frozen=True):
    """The emulator knows the kinds, and names them where one is wrong. `none` clears all of the phone."""

    phone: Phone
    kind: str
    times: Annotated[int, msgspec.Meta(ge=1)] | Literal["always"] | None = None
    code: int | None = None
    ms: int | None = None


class LoseSessionSpec(Body, frozen=True):
    phone: Phone  # the contact's
    account: Phone


class SettingsSpec(Body, frozen=True):
    """How everybody behaves; here a null is a value."""

    auto_read: bool | msgspec.UnsetType = msgspec.UNSET
    receipts: bool | msgspec.UnsetType = msgspec.UNSET
    history: bool | msgspec.UnsetType = msgspec.UNSET  # a phone shares its (empty) history with a new client
    addressing: Literal["pn", "lid"] | msgspec.UnsetType = msgspec.UNSET
    min_version: Annotated[list[int], msgspec.Meta(min_length=3, max_length=3)] | msgspec.UnsetType | None = (
        msgspec.UNSET  # older clients are refused with 405
    )
    offline_preview: bool | msgspec.UnsetType = msgspec.UNSET  # a client's queue is announced to it


# --- what people say ------------------------------------------------------------------------------


class FileSpec(Body, frozen=True):
    """Media: the bytes, or a file of `POST /web/files`, or none of them, which takes a small sample."""

    data: str | None = None  # base64
    file: str | None = None
    mimetype: str | None = None
    caption: str | None = None
    file_name: str | None = None
    ptt: bool | None = None
    seconds: int | None = None


class PlaceSpec(Body, frozen=True):
    latitude: float = 19.4326
    longitude: float = -99.1332
    name: str | None = "Zócalo"
    address: str | None = "Plaza de la Constitución, Ciudad de México"


class CardSpec(Body, frozen=True):
    name: str = "Marta Ruiz"
    phone: Phone = "5215511112222"


class PollSpec(Body, frozen=True):
    name: str
    options: list[str]
    selectable: int | None = None


class VoteSpec(Body, frozen=True):
    id: str
    options: list[str]


class ReactionSpec(Body, frozen=True):
    id: str
    emoji: str  # empty: take it back


class EditSpec(Body, frozen=True):
    id: str
    text: str


class DeleteSpec(Body, frozen=True):
    id: str


class SaySpec(Body, frozen=True):
    """One message, to a phone or in a group, with exactly one content."""

    sender: Phone = msgspec.field(name="from")
    to: Phone | None = None
    group_id: str | None = None
    text: str | None = None
    image: FileSpec | None = None
    video: FileSpec | None = None
    audio: FileSpec | None = None
    document: FileSpec | None = None
    sticker: FileSpec | None = None
    location: PlaceSpec | None = None
    contact: CardSpec | None = None
    poll: PollSpec | None = None
    vote: VoteSpec | None = None
    reaction: ReactionSpec | None = None
    edit: EditSpec | None = None
    delete: DeleteSpec | None = None
    reply_to: str | None = None
    mentions: list[Phone] | None = None
    id: str | None = None  # the same one again: delivered twice
    addressing: Literal["pn", "lid"] | None = None


class ReadSpec(Body, frozen=True):
    """*by* has read (or played) what a phone's client sent."""

    by: Phone
    to: Phone
    ids: Annotated[list[str], msgspec.Meta(min_length=1)]
    group_id: str | None = None
    type: Literal["read", "played"] = "read"


class TypingSpec(Body, frozen=True):
    sender: Phone = msgspec.field(name="from")
    to: Phone | None = None
    group_id: str | None = None
    state: Literal["composing", "recording", "paused"] = "composing"


class OnlineSpec(Body, frozen=True):
    phone: Phone
    on: bool = True


class WebGroupSpec(Body, frozen=True):
    subject: str
    participants: Some
    by: Phone | None = None  # none: the first of them
    addressing: Literal["pn", "lid"] | None = None


class MembersSpec(Body, frozen=True):
    participants: Some
    by: Phone | None = None  # none: who made the group


class RankSpec(Body, frozen=True):
    participants: Some
    change: Literal["promote", "demote"]
    by: Phone | None = None


class SubjectSpec(Body, frozen=True):
    subject: str
    by: Phone | None = None


def words(spec: Body, **more: Any) -> dict[str, Any]:
    """The emulator's arguments: what is said, and nothing of what is not."""
    said = {name: value for name, value in msgspec.to_builtins(spec).items() if value is not None}
    if "groupId" in said:
        said["group"] = said.pop("groupId")
    return said | more


_CONTENTS = (
    *("text", "image", "video", "audio", "document", "sticker", "location", "contact", "poll"),
    *("vote", "reaction", "edit", "delete"),
)
_MEDIA = ("image", "video", "audio", "document", "sticker")


def sentence(web: Web, spec: SaySpec) -> dict[str, Any]:
    """The arguments of `say`."""
    given = words(spec)
    kinds = [kind for kind in _CONTENTS if kind in given]
    if len(kinds) != 1:
        raise ValueError(f"say exactly one of {', '.join(_CONTENTS)}, not {', '.join(kinds) or 'nothing'}")
    [kind] = kinds
    content = {kind: given.pop(kind)}
    if kind in _MEDIA:
        content[kind] = _file(web, kind, getattr(spec, kind))
    elif isinstance(content[kind], dict):
        content[kind] = {name: value for name, value in content[kind].items() if value is not None}
    if kind == "contact":
        content[kind]["phone"] = digits_of(content[kind]["phone"])
    if "replyTo" in given:
        content["reply"] = given.pop("replyTo")
    if "mentions" in given:
        content["mentions"] = given.pop("mentions")
    return given | {"content": content}


def _file(web: Web, kind: str, spec: FileSpec) -> dict[str, Any]:
    said = {name: value for name, value in msgspec.to_builtins(spec).items() if value is not None}
    mime, made_up = sample(kind)
    match said.pop("data", None), said.pop("file", None):
        case None, None:
            path = web.keep_file(made_up)
            said.setdefault("mimetype", mime)
            if kind == "document":
                said.setdefault("fileName", "sample.pdf")
            if kind == "audio":
                said.setdefault("ptt", True)
        case str(data), None:
            try:
                path = web.keep_file(base64.b64decode(data, validate=True))
            except binascii.Error as error:
                raise ValueError(f"{kind}.data is not base64: {error}") from error
        case None, str(name):
            path = web.emulator.files / Path(name).name
            if not path.is_file():
                raise ValueError(f"no such file: {name}")
        case _:
            raise ValueError(f"{kind} needs `data` or `file`, not both")
    return {"file": str(path), **said}
