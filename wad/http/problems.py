"""Every refusal as RFC 9457 `application/problem+json`: which status, which title, what it means."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final

import msgspec

from wad.errors import (
    ActorDown,
    Conflict,
    FieldError,
    Forbidden,
    IdempotencyKeyReused,
    InvalidRequest,
    NoAbleSession,
    NotFound,
    NotSupported,
    PassedOver,
    ProviderError,
    QueueFull,
    SessionUnavailable,
    StoreUnavailable,
    TooManyRequests,
    Unauthorized,
    Verdict,
    WadError,
)

MEDIA_TYPE: Final = "application/problem+json"


class Refused(WadError):
    """What only HTTP knows: a body it cannot read, a path it does not have."""

    def __init__(self, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail, code=code)
        self.headers = headers or {}


class Kind(msgspec.Struct, frozen=True):
    """A kind of problem: `/problems/<code>` shows `meaning`."""

    status: int
    title: str
    meaning: str


KINDS: Final[dict[str, Kind]] = {
    # --- the request
    "invalid_json": Kind(
        400,
        "Not JSON",
        "The body is empty, is not JSON in UTF-8, is nested too deep, or has too many or too long names.",
    ),
    "bad_request": Kind(400, "Bad request", "The request is not one that HTTP allows."),
    "unauthorized": Kind(
        401,
        "Unauthorized",
        "No token came with the request, or one that is not known: Authorization: Bearer <token>.",
    ),
    "bad_signature": Kind(
        401,
        "Bad signature",
        "The webhook's signature is missing, or does not fit its body and the secret agreed.",
    ),
    "forbidden": Kind(403, "Forbidden", "The token is known, and may not do this: it takes an admin's."),
    "not_found": Kind(
        404, "Not found", "There is no such thing, or the token may not see it: wad does not tell which."
    ),
    "provider_changed": Kind(
        404,
        "Provider changed",
        "The file is kept by a provider that the session has left, which alone can give it.",
    ),
    "method_not_allowed": Kind(
        405,
        "Method not allowed",
        "The path exists, and does not know this method; Allow names those it does.",
    ),
    "not_acceptable": Kind(406, "Not acceptable", "None of the media types in Accept can be served here."),
    "body_timeout": Kind(408, "Body timeout", "The body did not arrive in time (http.body_timeout)."),
    "body_too_large": Kind(
        413, "Body too large", "The body is larger than http.max_body, or an upload than http.max_upload."
    ),
    "unsupported_media_type": Kind(415, "Unsupported media type", "Content-Type is not one this path takes."),
    "invalid_request": Kind(
        422,
        "Invalid request",
        "The request can be read, but not done as it stands; errors names every bad field.",
    ),
    "unknown_provider": Kind(422, "Unknown provider", "This wad has no provider of that name."),
    "url_not_allowed": Kind(
        422,
        "URL not allowed",
        "wad does not ask that address for anybody; guard.allow opens networks of your own.",
    ),
    "invalid_flow_secret": Kind(
        422,
        "Invalid flow secret",
        "A flow's secret is whsec_ and 24 to 64 bytes in base64, as Standard Webhooks has it.",
    ),
    "not_supported": Kind(
        422,
        "Not supported",
        "The provider of this session cannot do this. GET .../capabilities says what it can.",
    ),
    "idempotency_key_reused": Kind(
        422, "Idempotency key reused", "The same Idempotency-Key came before, with another body."
    ),
    # --- the state of things
    "conflict": Kind(409, "Conflict", "The state of things does not allow it."),
    "session_exists": Kind(409, "Session exists", "There is a session with that sessionId already."),
    "session_unavailable": Kind(
        409,
        "Session unavailable",
        "The session will not send until a person does something; reason says what. "
        'A body with "queue": true is taken all the same.',
    ),
    "no_able_session": Kind(
        409,
        "No able session",
        "None of the shop's sessions can send this message: sessions names each, and why. The status is 422 where "
        "none ever will, as the message stands.",
    ),
    "not_pairing": Kind(409, "Not pairing", "The session is not waiting for a QR code to be scanned."),
    "not_cancellable": Kind(409, "Not cancellable", "The message is on its way, or has ended."),
    "moved_meanwhile": Kind(
        409, "Moved meanwhile", "Something else changed it at the same time: look again."
    ),
    "message_failed": Kind(
        422, "Message failed", "The message was tried within the time asked for, and will not be tried again."
    ),
    # --- too much, or not now
    "too_many_requests": Kind(
        429, "Too many requests", "More requests than the token, or the address, may make."
    ),
    "queue_full": Kind(429, "Queue full", "The session has as many waiting messages as it may have."),
    "store_unavailable": Kind(
        503,
        "Store unavailable",
        "The store did not answer in time. Repeat the request, with its Idempotency-Key.",
    ),
    "starting": Kind(503, "Starting", "wad is bringing its sessions back; /readyz shows how far it is."),
    "actor_down": Kind(503, "Session restarting", "The session was restarting. Repeat the request."),
    # --- the provider's answer
    "provider_error": Kind(
        502,
        "Provider error",
        "WhatsApp, or who stands between, refused or did not answer. providerCode is its own code, if it gave one.",
    ),
    "internal": Kind(500, "Internal error", "A bug in wad. The log has it under the answer's X-Request-Id."),
}

_STATUS: Final[dict[type[WadError], int]] = {
    InvalidRequest: 422,
    NotSupported: 422,
    NotFound: 404,
    Conflict: 409,
    IdempotencyKeyReused: 422,
    Unauthorized: 401,
    Forbidden: 403,
    SessionUnavailable: 409,
    QueueFull: 429,
    StoreUnavailable: 503,
    ActorDown: 503,
    TooManyRequests: 429,
}
#: Where the provider is at fault it is a bad gateway; where what was asked cannot be done it is the request.
_VERDICTS: Final = {
    Verdict.NOT_SENT: 502,
    Verdict.THROTTLED: 429,
    Verdict.REJECTED: 422,
    Verdict.UNKNOWN: 502,
    Verdict.NEEDS_PERSON: 409,
}
#: Seconds to wait where whoever raised the error does not know better.
_RETRY_AFTER: Final = 1.0


class ReasonView(msgspec.Struct, frozen=True, rename="camel"):
    code: str
    detail: str
    needs_person: bool


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """RFC 9457, with wad's members beside it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    provider: str | None = None
    provider_code: str | None = None
    capability: str | None = None
    retry_after: int | None = None
    reason: ReasonView | None = None
    message_id: str | None = None
    sessions: list[PassedOver] = []
    errors: list[FieldError] = []


def kind_of(code: str) -> Kind:
    """Codes that a provider's table brings in stand under the provider's kind."""
    return KINDS.get(code, KINDS["provider_error"])


def status_of(error: WadError) -> int:
    match error:
        case ProviderError(verdict=verdict):
            return _VERDICTS[verdict]
        case NoAbleSession(hopeless=hopeless):
            return 422 if hopeless else 409
        case Refused():
            return KINDS[error.code].status
        case _:
            return _STATUS.get(type(error), 500)


def problem_of(error: WadError, *, message_id: str | None = None) -> Problem:
    status = status_of(error)
    known: dict[str, Any] = {}
    match error:
        case InvalidRequest(errors=errors):
            known["errors"] = errors
        case NotSupported(provider=provider, capability=capability):
            known |= {"provider": provider, "capability": capability}
        case NoAbleSession(sessions=sessions):
            known["sessions"] = sessions
        case SessionUnavailable(reason=reason, needs_person=needs_person):
            known["reason"] = ReasonView(reason, error.detail, needs_person)
        case ProviderError(provider_code=provider_code):
            known["provider_code"] = provider_code
    if error.retry_after is not None or status in (429, 503):
        known["retry_after"] = max(1, ceil(error.retry_after or _RETRY_AFTER))
    return Problem(
        type=f"/problems/{error.code}",
        title=kind_of(error.code).title,
        status=status,
        detail=error.detail,
        code=error.code,
        retryable=error.retryable,
        message_id=message_id,
        **known,
    )


def headers_of(error: WadError, problem: Problem) -> dict[str, str]:
    headers = dict(error.headers) if isinstance(error, Refused) else {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="wad"'
    return headers
