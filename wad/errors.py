"""Every error that wad raises on purpose, and what each one answers.

    WadError                      code, detail, retryable, needs_person
    ├── InvalidRequest            the caller's input is wrong; `errors` names every bad field
    ├── NotSupported              the provider of this session cannot do that; names the capability
    ├── NotFound                  no such session, message, media or dead letter (or not yours)
    ├── Conflict                  the id is taken, or the state does not allow it
    ├── IdempotencyKeyReused      the same key came with another body
    ├── Unauthorized              no token, or one that is not known
    ├── Forbidden                 a known token without the scope
    ├── SessionUnavailable        the session waits for a person, or is meant to be disconnected, or is drained
    ├── NoAbleSession             none of the shop's sessions can send the message; names each, with why
    ├── QueueFull                 the session has as many waiting messages as it may have
    ├── StoreUnavailable          the store did not answer in time: nothing is promised
    ├── ActorDown                 the actor crashed or was stopped before it could answer
    ├── TooManyRequests           the caller's token is over its request rate
    └── ProviderError             what a provider's answer means, decided once, by the provider

Nobody matches on texts. Whoever catches one asks its class, `code`, `retryable` or `needs_person`.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One bad field: `pointer` is a JSON pointer into the body (`/text/body`), `detail` says what is allowed."""

    pointer: str
    detail: str


class WadError(Exception):
    """The root. `code` is public: it ends the problem's `type` and is a key of the docs."""

    code: str = "internal"
    retryable: bool = False
    needs_person: bool = False

    def __init__(self, detail: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        if code is not None:
            self.code = code


class InvalidRequest(WadError):
    """The input is wrong. `errors` carries every bad field, not only the first."""

    code = "invalid_request"

    def __init__(
        self, detail: str, errors: list[FieldError] | None = None, *, code: str | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self.errors = errors or []


class NotSupported(WadError):
    """The session's provider cannot do this, whatever the input. `capability` names what is missing."""

    code = "not_supported"

    def __init__(self, provider: str, capability: str) -> None:
        super().__init__(f"{provider} has no capability {capability!r}")
        self.provider = provider
        self.capability = capability


class NotFound(WadError):
    code = "not_found"


class Conflict(WadError):
    code = "conflict"


class IdempotencyKeyReused(WadError):
    code = "idempotency_key_reused"


class Unauthorized(WadError):
    code = "unauthorized"


class Forbidden(WadError):
    code = "forbidden"


class SessionUnavailable(WadError):
    """The session will not send until a person, or an operator's `connect`, does something."""

    code = "session_unavailable"

    def __init__(self, detail: str, *, reason: str, needs_person: bool) -> None:
        super().__init__(detail)
        self.reason = reason
        self.needs_person = needs_person


class PassedOver(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A session that was not chosen for a message, and why: a word of `wad.supervisor.balancer`, and one for people."""

    session_id: str
    why: str
    detail: str = ""


class NoAbleSession(WadError):
    """None of the shop's sessions can send the message: *hopeless* where none ever will, as it stands."""

    code = "no_able_session"

    def __init__(self, detail: str, *, sessions: list[PassedOver], hopeless: bool) -> None:
        super().__init__(detail)
        self.sessions = sessions
        self.hopeless = hopeless


class QueueFull(WadError):
    code = "queue_full"
    retryable = True


class TooManyRequests(WadError):
    code = "too_many_requests"
    retryable = True


class StoreUnavailable(WadError):
    """The store did not answer in time. What was being written may or may not be there."""

    code = "store_unavailable"
    retryable = True


class ActorDown(WadError):
    """The actor crashed, or was stopped, before it could answer. The request may be made again."""

    code = "actor_down"
    retryable = True


class Verdict(Enum):
    """What a provider's answer, or its silence, means for one send."""

    NOT_SENT = "it surely did not go out, and trying again later may work"
    THROTTLED = "it surely did not go out: a rate limit of `scope` said so"
    REJECTED = "it surely did not go out, and never will as it stands"
    UNKNOWN = "it may or may not have gone out"
    NEEDS_PERSON = "it did not go out, and nothing will until a person mends the account"


class Scope(Enum):
    """How far a rate limit reaches."""

    NUMBER = "everything this number sends"
    PAIR = "what this number sends to one recipient"
    ACCOUNT = "every number of the business account"
    APP = "every account that the app sends for"
    MARKETING = "marketing messages of this number"
    GROUP = "what this number sends to one group"


class ProviderError(WadError):
    """What a provider's answer means. `code` is wad's word, `provider_code` the provider's own, verbatim."""

    code = "provider_error"
    _RETRYABLE: ClassVar[frozenset[Verdict]] = frozenset({Verdict.NOT_SENT, Verdict.THROTTLED})

    def __init__(
        self,
        verdict: Verdict,
        detail: str,
        *,
        code: str,
        provider_code: str | None = None,
        scope: Scope = Scope.NUMBER,
        retry_after: float | None = None,
        health: bool = False,
    ) -> None:
        super().__init__(detail, code=code, retry_after=retry_after)
        self.verdict = verdict
        self.provider_code = provider_code
        self.scope = scope
        self.retryable = verdict in self._RETRYABLE
        self.needs_person = verdict is Verdict.NEEDS_PERSON
        #: True where the failure tells of the provider's own health (connect, TLS, timeout, 5xx):
        #: only these count in the circuit breaker.
        self.health = health
