"""Twilio's errors as data: code → HTTP status and message, and the two shapes they travel in."""

from __future__ import annotations

from typing import Any, Final

#: code → (HTTP status, message). The status of those that only a message can have is what `failures: "answer"` gives.
CODES: Final[dict[int, tuple[int, str]]] = {
    20003: (401, "Authenticate"),
    20005: (403, "Account is not active"),
    20403: (403, "Forbidden"),
    20404: (404, "The requested resource was not found"),
    20415: (415, "Unsupported Media Type"),
    20422: (400, "Invalid Parameter"),
    20429: (429, "Too Many Requests"),
    20500: (500, "Internal Server Error"),
    20503: (503, "Service Unavailable"),
    21211: (400, "Invalid 'To' Phone Number"),
    21212: (400, "Invalid From Number (caller ID)"),
    21408: (403, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"),
    21601: (400, "Phone number is not a valid SMS-capable inbound phone number"),
    21602: (400, "Message body is required"),
    21603: (400, "A 'From' phone number is required"),
    21604: (400, "A 'To' phone number is required"),
    21606: (400, "The 'From' phone number provided is not a valid message-capable Twilio phone number"),
    21609: (400, "The 'StatusCallback' URL is not a valid URL"),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (429, "This 'From' number has exceeded the maximum number of queued messages"),
    21612: (400, "The 'To' phone number is not currently reachable via SMS"),
    21614: (400, "'To' number is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21619: (400, "A text message body or media urls must be specified"),
    21620: (400, "Invalid media URL(s)"),
    21623: (400, "Number of media files exceeds allowed limit"),
    21654: (400, "ContentSid Required"),
    21655: (400, "The ContentSid is Invalid"),
    21656: (400, "The ContentVariables Parameter is invalid"),
    21701: (400, "The Messaging Service does not exist"),
    21704: (400, "The Messaging Service contains no phone numbers"),
    21910: (400, "Invalid 'From' and 'To' pair. 'From' and 'To' should be of the same channel"),
    30001: (429, "Queue overflow"),
    30002: (403, "Account suspended"),
    30410: (400, "Provider timeout"),
    63001: (400, "Channel could not authenticate the request"),
    63002: (400, "Channel could not find From address"),
    63003: (400, "Channel could not find To address"),
    63005: (400, "Channel did not accept given content"),
    63006: (400, "Could not format given content for the channel"),
    63007: (400, "Twilio could not find a Channel with the specified From address"),
    63008: (400, "Could not execute the request because the channel module is misconfigured"),
    63009: (400, "Channel provider returned an error when executing the request"),
    63010: (400, "Channels - Twilio internal error"),
    63012: (400, "Channel provider returned an internal service error"),
    63013: (400, "Message send failed because it violates Channel provider's policy"),
    63014: (400, "Message delivery failed because it was blocked by a user action"),
    63015: (400, "Channel Sandbox can only send messages to phone numbers that have joined the Sandbox"),
    63016: (400, "Failed to send freeform message because you are outside the allowed window"),
    63017: (429, "Account rate limit exceeded"),
    63018: (429, "Rate limit exceeded for Channel"),
    63019: (400, "Media failed to download"),
    63020: (400, "Twilio encountered a Business Manager account error"),
    63021: (400, "Channel invalid content error"),
    63022: (400, "Invalid vname certificate"),
    63023: (400, "Channel generic error"),
    63024: (400, "Invalid message recipient"),
    63026: (400, "Sender number is flagged as spam"),
    63027: (400, "Template does not exist for a language and locale"),
    63028: (400, "Number of parameters provided does not match the expected number of parameters"),
    63030: (400, "Unsupported parameter for type of channels message"),
    63031: (400, "Message cannot have the same To and From"),
    63032: (400, "User can not receive this message due to WhatsApp limitation"),
    63033: (400, "Recipient blocked to receive message"),
    63034: (400, "Media exceeds the size limit"),
    63038: (429, "Account exceeded the daily messages limit"),
    63040: (400, "Template rejected"),
    63041: (400, "Template paused"),
    63042: (400, "Template disabled"),
    63049: (400, "Meta chose not to deliver this WhatsApp marketing message"),
    63051: (400, "WhatsApp Business Account is locked"),
    63112: (400, "WhatsApp Business Account is disabled by Meta"),
}  # fmt: skip


class TwilioError(Exception):
    """An error of Twilio's: an answer of its API, or what became of a message."""

    def __init__(
        self,
        code: int,
        message: str | None = None,
        *,
        http: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        status, usual = CODES.get(code, (400, "Unknown error"))
        self.code = code
        self.http = http or status
        self.message = usual if message is None else message
        self.headers = headers or {}
        super().__init__(f"{code} {self.message}")

    @property
    def more_info(self) -> str:
        return f"https://www.twilio.com/docs/errors/{self.code}"

    def body(self) -> dict[str, Any]:
        """The error as the API of 2010 answers it."""
        return {
            "code": self.code,
            "message": self.message,
            "more_info": self.more_info,
            "status": self.http,
        }

    def problem(self, instance: str) -> dict[str, Any]:
        """The error as Twilio's newer hosts answer it (RFC 9457)."""
        return {
            "type": self.more_info,
            "title": CODES.get(self.code, (400, self.message))[1],
            "status": self.http,
            "code": self.code,
            "detail": self.message,
            "instance": instance,
        }


def parameter(sentence: str) -> TwilioError:
    """A parameter that is unknown, or has a value it cannot have."""
    return TwilioError(20422, f"Invalid Parameter: {sentence}")
