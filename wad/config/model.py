"""Every key of the configuration, with its type and its default: what `config/wad.yaml` explains at length.

Sections are frozen. A section left empty in the file has its defaults. Durations are seconds, sizes bytes.
"""

from __future__ import annotations

import base64
import math
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretBytes,
    SecretStr,
    ValidationInfo,
    create_model,
    field_validator,
)

from wad.config.balancing import Balancing
from wad.config.section import HttpProvider, ProviderSection, Section
from wad.config.values import (
    AllowedNetwork,
    BaseUrl,
    Bind,
    Count,
    Duration,
    ExistingFile,
    HttpUrl,
    MasterKey,
    Rate,
    Secret,
    Size,
    Token,
    WebSocketUrl,
    at_least,
)
from wad.models import ShopId

Scope: TypeAlias = Literal["admin", "shop"]
FlowEventType: TypeAlias = Literal[
    "message.status",
    "session.state",
    "session.qr",
    "session.reconnect_loop",
    "session.marketing_paused",
    "message.dead_letter",
    "message.edited",
    "message.deleted",
    "template.status",
    "account.update",
]


def _host_name(value: Any) -> Any:
    return socket.gethostname() if value is None else value


class Node(Section):
    """`id` names this process in leases and in status; unset, it is the host's name."""

    id: Annotated[str, BeforeValidator(_host_name), Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        default_factory=socket.gethostname
    )


def _somewhere(value: tuple[str, ...]) -> tuple[str, ...]:
    # Not min_length: pydantic would count bad items as missing ones.
    if not value:
        raise ValueError("should not be empty")
    return value


class Http(Section):
    bind: Annotated[tuple[Bind, ...], AfterValidator(_somewhere)] = ("127.0.0.1:8080",)
    public_url: BaseUrl | None = None  # where providers reach the webhooks
    max_body: Size = 4 * 2**20  # any request but an upload; Meta's webhooks are up to 3 MB
    max_upload: Size = 100 * 2**20  # POST /media; the largest that WhatsApp takes is a document of 100 MB
    max_header: Size = 16 * 2**10
    max_connections: Annotated[Count, Field(ge=1)] = 1000
    backlog: Annotated[Count, Field(ge=1)] = 512
    body_timeout: Duration = 10  # to receive a request's body
    response_timeout: Duration = 30  # to answer; streams are exempt
    max_wait: Annotated[Duration, Field(validate_default=True)] = 25  # the longest `Prefer: wait`
    keep_alive_timeout: Duration = 5
    grace: Duration = 20  # requests in hand at shutdown

    @field_validator("max_wait")
    @classmethod
    def _a_wait_ends_in_an_answer(cls, value: float, info: ValidationInfo) -> float:
        if value >= info.data.get("response_timeout", math.inf):
            raise ValueError("should be shorter than response_timeout, or a wait would never be answered")
        return value


def _store_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if url not in ("embedded", "memory") and not url.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("should be embedded, memory or a URL that starts with mongodb://")
    return value


class Store(Section):
    """`url` may hold a password, so it is a secret; `shown_url` is for people."""

    url: Annotated[Secret, AfterValidator(_store_url)] = SecretStr("embedded")
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,63}$")] = "wad"
    data_dir: Path = Path("var")
    spool_max_size: Annotated[Size, Field(ge=1)] = 1 << 30  # bytes
    wait: Duration = 90  # for a MongoDB that is away at the start; then wad ends, with 75

    @property
    def kind(self) -> Literal["embedded", "memory", "mongodb"]:
        match self.url.get_secret_value():
            case "embedded":
                return "embedded"
            case "memory":
                return "memory"
            case _:
                return "mongodb"

    @property
    def shown_url(self) -> str:
        """The URL without its user, password and options."""
        if self.kind != "mongodb":
            return self.kind
        parts = urlsplit(self.url.get_secret_value())
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class ApiToken(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    token: Token
    scope: Scope
    shops: Annotated[frozenset[ShopId], Field(validate_default=True)] = frozenset()

    @field_validator("shops")
    @classmethod
    def _shops_go_with_the_scope(cls, value: frozenset[ShopId], info: ValidationInfo) -> frozenset[ShopId]:
        match info.data.get("scope"):
            case "shop" if not value:
                raise ValueError("is required with scope: shop, and names the shops that it may see")
            case "admin" if value:
                raise ValueError("does not go with scope: admin, which sees every shop")
        return value


class Auth(Section):
    tokens: tuple[ApiToken, ...] = ()


class Secrets(Section):
    master_key: MasterKey | None = None
    old_master_keys: tuple[MasterKey, ...] = ()  # still read, never written with


class Flow(Section):
    """Where customers' messages go by default; a session's `flowUrl` and `flowSecret` come first."""

    url: HttpUrl | None = None
    secret: Secret | None = None
    timeout: Duration = 10
    max_response: Size = 256 * 2**10
    max_age: Duration = 86400  # then a dead letter: WhatsApp's service window is 24 h
    rules: ExistingFile | None = None
    events: tuple[FlowEventType, ...] = ()


class MetaProvider(HttpProvider):
    base_url: BaseUrl = "https://graph.facebook.com"
    version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v26.0"
    app_secret: Secret | None = None  # signs webhooks; a session's own comes first
    verify_token: Secret | None = None  # the GET handshake; a session's own comes first


class CloudApi(MetaProvider):
    pass


class MetaBusiness(MetaProvider):
    pass


TwilioPlace: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9-]{2,40}$")]
_TWILIO: Final = "https://api.twilio.com"


class Twilio(HttpProvider):
    """`region` and `edge` choose the host where `base_url` is Twilio's own: api.dublin.ie1.twilio.com."""

    base_url: BaseUrl = _TWILIO
    region: TwilioPlace | None = None
    edge: TwilioPlace | None = None

    @field_validator("region", "edge")
    @classmethod
    def _of_twilio(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("base_url", _TWILIO) != _TWILIO:
            raise ValueError(f"does not go with a base_url other than {_TWILIO}: name the host there")
        return value


class Dialog360(HttpProvider):
    base_url: BaseUrl = "https://waba-v2.360dialog.io"


class Baileys(ProviderSection):
    """WhatsApp Web. Its sessions have no credentials here: a phone pairs each."""

    web_socket_url: WebSocketUrl = "wss://web.whatsapp.com/ws/chat"
    sessions_per_bridge: Annotated[Count, Field(ge=1)] = 20
    node: Path | None = None  # unset: the one of `wad[node]`, else `node` on the PATH
    client_version: Annotated[str, Field(pattern=r"^\d{1,9}\.\d{1,9}\.\d{1,15}$")] | None = None
    noise_root_key: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None  # a simulated network's
    extra_ca: ExistingFile | None = None  # trusted besides the usual ones; a simulated network's media host
    rate: Rate = 1  # sends a second of one number; WhatsApp tells no limit, and bans machines
    burst: Annotated[Count, Field(ge=1)] = 3


class Providers(Section):
    cloud_api: CloudApi = CloudApi()
    meta_business: MetaBusiness = MetaBusiness()
    twilio: Twilio = Twilio()
    dialog360: Dialog360 = Dialog360()
    baileys: Baileys = Baileys()

    def of(self, name: str, section: type[ProviderSection]) -> ProviderSection:
        """What is configured of the provider *name*; else, the defaults of its *section*."""
        found = getattr(self, name, None)
        return found if isinstance(found, section) else section()


def with_providers(sections: Mapping[str, type[ProviderSection] | None]) -> type[Config]:
    """`Config`, with sections for these providers besides wad's own. None: whatever stands there is not looked at."""
    fields: dict[str, Any] = {
        name: (Unread, None) if section is None else (section, section())
        for name, section in sections.items()
        if name not in Providers.model_fields
    }
    providers = create_model("Providers", __base__=Providers, **fields)
    return create_model("Config", __base__=Config, providers=(providers, providers()))


#: What only a package that cannot be loaded could read. It may hold secrets, so it is not kept.
Unread: TypeAlias = Annotated[None, BeforeValidator(lambda _: None)]


class Guard(Section):
    allow: tuple[AllowedNetwork, ...] = ()


class Media(Section):
    """What customers send besides text. Without `fetch` it is with their provider alone, and asked for there."""

    fetch: bool = True
    max_size: Size = 100 * 2**20  # of one file: WhatsApp's own bound
    retention: Duration = 30 * 86400
    max_disk: Size = 10 * 2**30  # of all files together
    concurrency: Annotated[Count, Field(ge=1)] = 8  # files of all sessions that are fetched at once


class Retry(Section):
    """When sending gives up. The waits between are fixed: 1 s doubling to 10 min, with jitter."""

    max_attempts: Annotated[Count, Field(ge=1)] = 50
    max_age: Duration = 86400


class Limits(Section):
    queue_per_session: Annotated[Count, Field(ge=1)] = 10_000  # waiting messages of one session, but for bulk
    bulk_per_session: Annotated[Count, Field(ge=1)] = 100_000
    send_concurrency: Annotated[Count, Field(ge=1)] = 32  # chats of one session sent to at once
    inbox_concurrency: Annotated[Count, Field(ge=1)] = 16  # chats of one session answered at once
    requests_per_second: Rate = 50  # of one shop's token
    request_burst: Annotated[Count, Field(ge=1)] = 100
    retry: Retry = Retry()
    settle_window: Duration = 600  # how long an `unknown` send waits for proof, before it is a dead letter
    proof_ttl: Duration = 1800  # without a sign of life for so long, `connected` turns `degraded`


class Backoff(Section):
    initial: Duration = 1
    max: Annotated[Duration, Field(validate_default=True)] = 300

    @field_validator("max")
    @classmethod
    def _grows(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("initial", 0):
            raise ValueError("should not be shorter than initial")
        return value


class Cooldown(Backoff):
    """How long a session stays `failed` before it is tried again: growing, as it fails again."""

    initial: Duration = 300
    max: Annotated[Duration, Field(validate_default=True)] = 3600


class Supervisor(Section):
    """More than `intensity` restarts of one session within `period` make it `failed`, until its cooldown is over."""

    intensity: Annotated[Count, Field(ge=1)] = 5
    period: Duration = 60
    backoff: Backoff = Backoff()
    cooldown: Cooldown = Cooldown()
    restore_concurrency: Annotated[Count, Field(ge=1)] = 50
    grace: Duration = 35  # sends in hand at shutdown: as long as one attempt may take


class Retention(Section):
    """How long what is finished stays. What still has work to do is never removed."""

    # Idempotency keys live in the messages and stand at least 7 days; Meta redelivers webhooks for 7 days,
    # so what recognises a duplicate stays a day longer.
    messages: Annotated[Duration, at_least("7d")] = 30 * 86400
    inbox: Annotated[Duration, at_least("8d")] = 30 * 86400
    dead_letters: Annotated[Duration, at_least("8d")] = 90 * 86400
    events: Duration = 7 * 86400  # how far back a listener may resume


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal, JSON elsewhere


class Config(Section):
    node: Node = Field(default_factory=Node)
    http: Http = Http()
    store: Store = Store()
    auth: Auth = Auth()
    secrets: Secrets = Secrets()
    flow: Flow = Flow()
    providers: Providers = Providers()
    guard: Guard = Guard()
    media: Media = Media()
    limits: Limits = Limits()
    balancing: Balancing = Balancing()
    supervisor: Supervisor = Supervisor()
    retention: Retention = Retention()
    log: Log = Log()

    def secret_values(self) -> list[str]:
        """Every secret in here, for the log to know: none of them may appear in it."""
        values = list(_secrets_in(self))
        if self.store.kind == "mongodb":
            values.append(urlsplit(self.store.url.get_secret_value()).password or "")
        else:
            values.remove(self.store.url.get_secret_value())  # `embedded` is a word, not a secret
        return [value for value in values if value]


def _secrets_in(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case SecretBytes():
            yield base64.b64encode(value.get_secret_value()).decode()
        case BaseModel():
            for _, inner in value:
                yield from _secrets_in(inner)
        case tuple():
            for inner in value:
                yield from _secrets_in(inner)
