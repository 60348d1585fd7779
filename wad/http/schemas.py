"""What requests may hold besides messages: sessions, patches, queries. Checked whole, like everything people write."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field

from wad.content import Id, Instant, Phone, Sender
from wad.validation import WHOLE, Model, shaped

SessionName: TypeAlias = Annotated[
    str,
    *shaped(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "must be up to 64 letters, digits, dots, dashes and underscores",
        examples=["tienda-1"],
    ),
]
ShopName: TypeAlias = SessionName
BulkName: TypeAlias = SessionName
Url: TypeAlias = Annotated[str, *shaped(r"https?://[!-.0-?A-~]+(/[!-~]*)?", "must be an http or https URL")]
SecretText: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096)]
Provider: TypeAlias = Annotated[
    str, *shaped(r"[a-z][a-z0-9_]{0,31}", "must be the name of a provider, such as cloud_api")
]


class RetrySettings(Model):
    """When sending gives up: tries, and seconds."""

    max_attempts: Annotated[int, Field(ge=1, le=1000), WHOLE] | None = None
    max_age: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None


class SettingsBody(Model):
    """A session's own word over the configuration's. `rate`: sends a second."""

    rate: Annotated[float, Field(gt=0, le=10_000)] | None = None
    burst: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None
    flow_url: Url | None = None
    flow_secret: SecretText | None = None
    base_url: Url | None = None
    retry: RetrySettings | None = None
    duplicates: Literal["at_most_once", "at_least_once"] | None = None
    flow_disabled: Literal[False] | None = None  # ends what a flow's 410 began
    dedicated: bool | None = None  # baileys: a bridge of its own
    callback_override: bool | None = None  # meta_business: its events come to the session's own address
    drained: bool | None = None  # takes no new message; sends what it has, and answers


CredentialName: TypeAlias = Annotated[
    str, *shaped(r"[A-Za-z][A-Za-z0-9]{0,63}", "must be a credential's name")
]


class NewSessionBody(Model):
    """`credentials` by provider; for `cloud_api`: accessToken, phoneNumberId, appSecret, verifyToken."""

    session_id: SessionName | None = None
    shop_id: ShopName | None = None
    provider: Provider
    phone_number: Phone | None = None
    credentials: dict[CredentialName, SecretText]
    settings: SettingsBody | None = None
    connect: bool | None = None


class SessionPatch(Model):
    """RFC 7396: what is given changes, null removes, what is left out stays. `sessionId` never changes."""

    provider: Provider = Field(default_factory=str)
    shop_id: ShopName | None = None
    phone_number: Phone | None = None
    credentials: dict[CredentialName, SecretText | None] = Field(default_factory=dict)
    settings: SettingsBody | None = None


class PairingBody(Model):
    phone_number: Phone


class BreakerBody(Model):
    """`isolate` holds every send until somebody says `close`; that also ends what failing calls began."""

    action: Literal["isolate", "close"]


class ReadBody(Model):
    """`typing`: show that an answer is being written, too."""

    message_id: Id
    typing: bool | None = None


class BulkBody(Model):
    """Each message is taken, or refused, by itself. `bulkId` is the caller's name for what they are a part of."""

    bulk_id: BulkName | None = None
    messages: Annotated[list[Any], Field(min_length=1, max_length=1000)]


# --- queries --------------------------------------------------------------------------------------

SessionState: TypeAlias = Literal[
    "created",
    "connecting",
    "pairing",
    "connected",
    "degraded",
    "disconnected",
    "logged_out",
    "bad_credentials",
    "failed",
]
MessageStatus: TypeAlias = Literal[
    "scheduled",
    "queued",
    "sending",
    "accepted",
    "sent",
    "delivered",
    "read",
    "played",
    "failed",
    "cancelled",
    "expired",
    "unknown",
    "received",
    "answered",
    "done",
    "dead",
]
Direction: TypeAlias = Literal["inbound", "outbound"]


class Query(Model):
    """A query string: texts, which stand for numbers where those are wanted."""

    model_config = ConfigDict(strict=False)


_CURSOR: Final = "must be the next of an earlier answer"
Limit: TypeAlias = Annotated[int, Field(ge=1, le=500), WHOLE]
SeqCursor: TypeAlias = Annotated[str, *shaped(r"[0-9a-f]{1,15}|[0-7][0-9a-f]{15}", _CURSOR)]
NameCursor: TypeAlias = Annotated[str, *shaped(r"([0-9a-f]{2}){1,64}", _CURSOR)]


class SessionQuery(Query):
    limit: Limit = 50
    cursor: NameCursor | None = None
    shop_id: Id | None = None
    provider: Provider | None = None
    state: SessionState | None = None


class MessageQuery(Query):
    limit: Limit = 50
    cursor: SeqCursor | None = None
    session_id: Id | None = None
    direction: Direction | None = None
    status: MessageStatus | None = None
    to: Id | None = None
    sender: Id | None = Field(default=None, alias="from")
    since: Instant | None = None
    bulk_id: Id | None = None


class BulkQuery(Query):
    shop_id: Id | None = None


class BulkListQuery(BulkQuery):
    limit: Limit = 50
    cursor: SeqCursor | None = None


class DeadLetterQuery(Query):
    limit: Limit = 50
    cursor: SeqCursor | None = None
    direction: Direction | None = None


class QrQuery(Query):
    format: Literal["json", "png", "svg", "text"] | None = None


class UploadForm(Query):
    """The fields beside `file`."""

    session_id: Id
    sender: Sender | None = Field(default=None, alias="from")


class HandshakeQuery(Query):
    """Meta's names. Whatever else it may add one day is none of our business."""

    model_config = ConfigDict(extra="ignore")

    mode: str = Field(default="", alias="hub.mode")
    verify_token: str = Field(default="", alias="hub.verify_token")
    challenge: str = Field(default="", alias="hub.challenge")


# --- cursors --------------------------------------------------------------------------------------
# A place in a list, in a form that nobody is tempted to take apart. Every text of the form is a place.


def after_name(name: str) -> str:
    return name.encode("latin-1").hex()


def name_after(cursor: str) -> str:
    return bytes.fromhex(cursor).decode("latin-1")


def after_seq(seq: int) -> str:
    return f"{seq:x}"


def seq_after(cursor: str) -> int:
    return int(cursor, 16)
