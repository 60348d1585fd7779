"""Meta's errors as data: code → HTTP status and title, and the two shapes they travel in.

The statuses are those of Meta's table of 12 December 2025, where throttling is a 400. Whoever talks to
the Graph API branches on `code`; the sandbox can be told to answer any other status (`faults.py`).
"""

from __future__ import annotations

import secrets
from typing import Any, Final

#: code → (HTTP status, title, details where nothing better is known)
CODES: Final[dict[int, tuple[int, str, str]]] = {
    0: (401, "AuthException", "We were unable to authenticate the app user."),
    1: (400, "An unknown error occurred", "Invalid request or possible server error."),
    2: (503, "Service temporarily unavailable", "Temporary due to downtime or due to being overloaded."),
    3: (500, "API Method", "Capability or permissions issue."),
    4: (400, "Application request limit reached", "The app has reached its API call rate limit."),
    10: (403, "Permission Denied", "Permission is either not granted or has been removed."),
    33: (400, "Parameter value is not valid", "The business phone number has been deleted."),
    100: (400, "Invalid parameter", "The request included one or more unsupported or misspelled parameters."),
    104: (400, "An access token is required to request this resource.", ""),
    190: (401, "Invalid OAuth access token - Cannot parse access token", ""),
    200: (403, "Permissions error", "Permission is either not granted or has been removed."),
    368: (403, "Temporarily blocked for policies violations", "The account has been restricted."),
    613: (400, "Calls to this api have exceeded the rate limit.", ""),
    2200: (400, "Callback verification failed", ""),
    2500: (400, "Unknown path components", ""),
    80007: (400, "Rate limit issues", "The WhatsApp Business Account has reached its rate limit."),
    130429: (400, "Rate limit hit", "Cloud API message throughput has been reached."),
    130472: (400, "User's number is part of an experiment", "Message was not sent as part of an experiment."),
    130497: (403, "Business account is restricted from messaging users in this country.", ""),
    130501: (400, "Message type unknown", "Message type is currently not supported."),
    131000: (500, "Something went wrong", "Message failed to send due to an unknown error."),
    131005: (403, "Access denied", "Permission is either not granted or has been removed."),
    131008: (400, "Required parameter is missing", "The request is missing a required parameter."),
    131009: (400, "Parameter value is not valid", "One or more parameter values are invalid."),
    131016: (500, "Service unavailable", "A service is temporarily unavailable."),
    131020: (400, "Group is not valid", "The group has a single member."),
    131021: (400, "Recipient cannot be sender", "Sender and recipient phone number is the same."),
    131026: (400, "Message undeliverable", "Unable to deliver message: the recipient is not on WhatsApp."),
    131030: (
        400,
        "Recipient phone number not in allowed list",
        "Add recipient phone number to recipient list.",
    ),
    131031: (403, "Account has been locked", "The account has been restricted or disabled."),
    131037: (400, "Display name approval is needed before message can be sent", ""),
    131041: (400, "Group does not exist", "The group id is not known."),
    131042: (400, "Business eligibility payment issue", "There was an error related to your payment method."),
    131045: (
        500,
        "Incorrect certificate",
        "Message failed to send due to a phone number registration error.",
    ),
    131047: (
        400,
        "Re-engagement message",
        "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
    ),
    131048: (400, "Spam rate limit hit", "There are restrictions on how many messages this number can send."),
    131049: (400, "Message not delivered", "Not delivered to maintain a healthy ecosystem engagement."),
    131050: (400, "User stopped marketing messages", "The user has chosen to stop marketing messages."),
    131051: (400, "Unsupported message type", "Message type is not currently supported."),
    131052: (400, "Media download error", "Unable to download the media sent by the user."),
    131053: (400, "Media upload error", "Unable to upload the media used in the message."),
    131055: (400, "Method not allowed", ""),
    131056: (
        400,
        "(Business Account, Consumer Account) pair rate limit hit",
        "Too many messages sent from this phone number to the same phone number in a short period of time.",
    ),
    131057: (500, "Account in maintenance mode", "Business Account is in maintenance mode."),
    131059: (400, "Invalid cursor", ""),
    131062: (400, "Business-scoped user id is not supported for this message", ""),
    131063: (400, "Marketing templates are disabled on Cloud API", ""),
    131064: (400, "Messaging limited due to template misclassification", ""),
    131207: (403, "Group is suspended", ""),
    131208: (429, "Group rate limit hit", ""),
    131215: (400, "Not eligible for groups", "This number is not an official business account."),
    132000: (400, "Number of parameters does not match the expected number of params", ""),
    132001: (404, "Template name does not exist in the translation", ""),
    132005: (400, "Translated text too long", ""),
    132007: (400, "Template format character policy violated", ""),
    132008: (400, "Parameter value is not valid", ""),
    132012: (400, "Parameter format does not match format in the created template", ""),
    132015: (400, "Template is paused", "Template is paused due to low quality."),
    132016: (400, "Template is disabled", "Template was paused too many times due to low quality."),
    132068: (400, "Flow is blocked", ""),
    132069: (400, "Flow is throttled", ""),
    133000: (500, "Incomplete deregistration", "A previous deregistration attempt failed."),
    133004: (503, "Server is temporarily unavailable", ""),
    133005: (400, "Two step verification PIN mismatch", ""),
    133006: (400, "Phone number re-verification needed", "The number has to be verified before registering."),
    133008: (400, "Too many two step verification PIN guesses", ""),
    133009: (400, "Two step verification PIN guessed too fast", ""),
    133010: (
        400,
        "Account not registered",
        "The phone number is not registered on the WhatsApp Business Platform.",
    ),
    133015: (400, "Please wait a few minutes before attempting to register this phone number", ""),
    133016: (400, "Account register deregister rate limit exceeded", ""),
    134100: (400, "Only marketing messages supported", ""),
    134101: (400, "Template is syncing", ""),
    134102: (500, "Template unavailable for use", ""),
    135000: (
        400,
        "Generic user error",
        "Message failed to send because of an unknown error with your parameters.",
    ),
    136024: (400, "Request code error", "The code could not be sent."),
    136025: (400, "Verify code error", "The code that was entered is incorrect."),
    137000: (400, "Identity key mismatch", ""),
}

#: What Graph itself answers, before WhatsApp has looked: without the `(#code)` in front.
_BARE: Final = frozenset({0, 1, 2, 104, 190})

HREF: Final = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"


class GraphError(Exception):
    """An answer of the Graph API that is an error. `message` stands in for the table's title."""

    def __init__(
        self,
        code: int,
        details: str | None = None,
        *,
        message: str | None = None,
        http: int | None = None,
        subcode: int | None = None,
        type: str = "OAuthException",  # noqa: A002  Meta's word
        transient: bool | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        status, title, default = CODES.get(code, (400, "Unknown error", ""))
        self.code = code
        self.http = http or status
        self.title = title
        self.details = default if details is None else details
        prefixed = title if code in _BARE else f"(#{code}) {title}"
        self.message = prefixed if message is None else message
        self.subcode = subcode
        self.type = type
        self.transient = transient
        self.headers = headers or {}
        super().__init__(f"{self.message}: {self.details}")

    def body(self) -> dict[str, Any]:
        """The error as `POST /messages` answers it."""
        error: dict[str, Any] = {"message": self.message, "type": self.type, "code": self.code}
        if self.details:
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient is not None:
            error["is_transient"] = self.transient
        error["fbtrace_id"] = trace_id()
        return {"error": error}

    def in_webhook(self) -> dict[str, Any]:
        """The error as a `failed` status carries it."""
        return {
            "code": self.code,
            "title": self.title,
            "message": self.title,
            "error_data": {"details": self.details or self.title},
            "href": HREF,
        }


def trace_id() -> str:
    return f"A{secrets.token_urlsafe(16)}"


def required(path: str) -> GraphError:
    return GraphError(100, "", message=f"(#100) The parameter {path} is required.")


def invalid(message: str) -> GraphError:
    """Graph's own schema check: the sentence is the message, and there are no details."""
    return GraphError(100, "", message=f"(#100) {message}")


def bad_value(details: str) -> GraphError:
    """WhatsApp's check of a value."""
    return GraphError(131009, details)


def unknown_object(object_id: str, method: str) -> GraphError:
    """No such object, or not for this token: Graph does not tell which."""
    return GraphError(
        100,
        "",
        message=f"Unsupported {method.lower()} request. Object with ID '{object_id}' does not exist, cannot be"
        " loaded due to missing permissions, or does not support this operation. Please read the Graph API"
        " documentation at https://developers.facebook.com/docs/graph-api",
        subcode=33,
        type="GraphMethodException",
    )
