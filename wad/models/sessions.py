"""A session: what is stored of it, and what its actor says of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

from wad.models.ids import SessionId, ShopId


class SessionState(StrEnum):
    CREATED = "created"  # stored, never wanted connected yet
    CONNECTING = "connecting"  # wanted connected, no proof yet
    PAIRING = "pairing"  # waits for its QR or code to be scanned
    CONNECTED = "connected"  # proven, and the proof is fresh
    DEGRADED = "degraded"  # was proven, but the proof is stale or the provider is failing
    DISCONNECTED = "disconnected"  # wanted so
    LOGGED_OUT = "logged_out"  # the other side unpaired it: needs a person
    BAD_CREDENTIALS = "bad_credentials"  # the provider refuses who we say we are: needs a person
    FAILED = (
        "failed"  # crashed too often, and tried again after a cooldown; or needs a person: the reason says
    )


#: States that waiting alone does not leave: sends are refused unless they ask to queue.
WAITING_FOR_PERSON: Final = frozenset(
    {SessionState.LOGGED_OUT, SessionState.BAD_CREDENTIALS, SessionState.FAILED}
)


#: What a session is in when its provider says that a person is needed: by the error's code. Others are
#: `bad_credentials`.
NEEDING_PERSON: Final[dict[str, SessionState]] = {
    "logged_out": SessionState.LOGGED_OUT,
    "pairing_expired": SessionState.LOGGED_OUT,
    "replaced": SessionState.FAILED,  # somebody else holds the connection: who takes it back starts a fight
    "banned": SessionState.FAILED,
    "temporarily_banned": SessionState.FAILED,
    "blocked": SessionState.FAILED,
    "client_outdated": SessionState.FAILED,
    "untrusted_server": SessionState.FAILED,
    "node_missing": SessionState.FAILED,
    "misconfigured": SessionState.FAILED,
    "no_public_url": SessionState.FAILED,
}
#: Those of them that a restart of wad does not mend: such a session connects when it is told to, and not before.
STAYS: Final = frozenset(
    {"logged_out", "pairing_expired", "replaced", "banned", "temporarily_banned", "blocked"}
)


class DesiredState(StrEnum):
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class Reason(msgspec.Struct, frozen=True, rename="camel"):
    """Why a session is in its state."""

    code: str
    detail: str
    needs_person: bool = False

    @property
    def stays(self) -> bool:
        """Whether only being told to connect ends it."""
        return self.needs_person and self.code in STAYS


class Credentials(dict[str, str]):
    """What a session proves itself with. Its repr tells which values are set, never what they are."""

    def __repr__(self) -> str:
        return f"Credentials({', '.join(f'{key}=***' for key in sorted(self))})"

    __str__ = __repr__


class Settings(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A session's own word over the configuration's defaults. `None` means: as configured."""

    rate: float | None = None  # sends a second
    burst: int | None = None
    flow_url: str | None = None
    flow_secret: str | None = None
    base_url: str | None = None
    retry: dict[str, float] | None = None  # {"maxAttempts", "maxAge"}
    duplicates: Literal["at_most_once", "at_least_once"] = "at_most_once"
    flow_disabled: bool = False  # the flow answered 410 Gone
    dedicated: bool = False  # WhatsApp Web: a process of its own
    callback_override: bool = False  # a business account: its events come to the session's own address
    drained: bool = (
        False  # it takes no new message: for maintenance. What it has still goes out, and it still answers
    )
    isolated: bool = (
        False  # it sends nothing until somebody closes its breaker again. Not set as the others are
    )

    def __repr__(self) -> str:
        return f"Settings(rate={self.rate}, burst={self.burst}, duplicates={self.duplicates!r})"


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that a session had before this one: late statuses still come by it."""

    provider: str
    credentials: dict[str, str]  # what its webhooks are verified with
    since: datetime  # of the change
    settled: bool = False  # whether its keys and files are gone, and what waited goes by the new one

    def __repr__(self) -> str:
        return f"Former({self.provider!r}, settled={self.settled})"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The stored session: what it is, what is wanted of it, what was last known of it."""

    session_id: SessionId
    provider: str
    credentials: Credentials
    shop_id: ShopId | None = None
    phone_number: str | None = None
    settings: Settings = Settings()
    desired_state: DesiredState = DesiredState.CONNECTED
    state: SessionState = SessionState.CREATED
    reason: Reason | None = None
    is_connected: bool = False
    last_seen: datetime | None = None
    qr_code: str | None = None
    connection_data: dict[str, Any] = {}  # what the provider told of the account; nothing secret
    created_at: datetime
    updated_at: datetime
    owner: str | None = None  # the node and boot whose actor may write, and the fence's number
    epoch: int = 0
    data_key: bytes = b""  # wrapped by the master key; see `wad.secrets`
    rev: int = 0
    formers: tuple[Former, ...] = ()  # oldest first; of each provider the last time that it was left

    def __repr__(self) -> str:  # whoever reads a QR code can pair a phone with it
        hidden = {"qr_code": self.qr_code and "***", "data_key": b""}
        return super(Session, msgspec.structs.replace(self, **hidden)).__repr__()

    def as_of(self, provider: str) -> Session | None:
        """The session as *provider* knows it, or knew it before a change; None where it never did."""
        if provider == self.provider:
            return self
        for former in self.formers:
            if provider == former.provider:
                known = Credentials(former.credentials)
                return msgspec.structs.replace(self, provider=provider, credentials=known)
        return None


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The snapshot: what an actor publishes and `GET .../status` answers."""

    session_id: SessionId
    shop_id: ShopId | None
    provider: str
    phone_number: str | None
    desired_state: DesiredState
    state: SessionState
    is_connected: bool
    reason: Reason | None
    last_seen: datetime | None
    qr_code: str | None
    qr_expires_at: datetime | None = None
    since: datetime
    link: str | None
    last_inbound_at: datetime | None
    last_outbound_at: datetime | None
    last_ack_at: datetime | None
    restarts: int
    next_retry_at: datetime | None
    breaker: str
    queue: QueueStatus
    node: str
    drained: bool = False
    rate: float | None = None  # messages a second that may go out now, by all its numbers together
    rates: dict[str, float] = {}  # ...by each of them, where it has several: by its id

    def __repr__(self) -> str:
        return super(Status, msgspec.structs.replace(self, qr_code=self.qr_code and "***")).__repr__()


class QueueStatus(msgspec.Struct, frozen=True, rename="camel"):
    depth: int
    oldest_seconds: float
