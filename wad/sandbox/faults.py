"""Scripts of what goes wrong, by request and by webhook event.

A script has a match, a fault, and how often: `times` applications (none: for ever), the first of them at
the `nth` match. Scripts are asked in the order they were added; the first that applies is used up by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal, TypeAlias

import msgspec

from wad.sandbox.settings import Seconds


class _Fault(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag_field="kind"
):
    """The kinds below that have `after` say whether the network took the request before it went wrong."""


class Error(_Fault, frozen=True, tag="error"):
    """Meta's error body. `http` is the table's unless told; 200 is possible too."""

    code: int
    http: int | None = None
    message: str | None = None
    details: str | None = None
    subcode: int | None = None
    transient: bool | None = None
    retry_after: float | None = None
    headers: dict[str, str] = {}


class Http(_Fault, frozen=True, tag="http"):
    """Something in front of the API answers: a 503, a redirect, a page of HTML."""

    status: int
    html: bool = False
    body: str | None = None
    headers: dict[str, str] = {}
    after: Literal["before", "accept"] = "before"


class Hang(_Fault, frozen=True, tag="hang"):
    """No answer, ever, on a connection that stays open."""

    after: Literal["before", "accept"] = "before"


class Delay(_Fault, frozen=True, tag="delay"):
    """The right answer, late. With `after: accept`, the send counts at once and only its answer is late."""

    seconds: Seconds
    after: Literal["before", "accept"] = "before"


class Cut(_Fault, frozen=True, tag="cut"):
    """The connection closes without an answer; with `reset`, by RST."""

    after: Literal["before", "accept"] = "accept"
    reset: bool = False


class Truncate(_Fault, frozen=True, tag="truncate"):
    """Headers and half of the body, then the connection closes."""

    after: Literal["accept"] = "accept"


class Drip(_Fault, frozen=True, tag="drip"):
    """The right answer, a byte at a time, spread over so many seconds."""

    seconds: Seconds
    after: Literal["accept"] = "accept"


class Garbage(_Fault, frozen=True, tag="garbage"):
    """200, and a body that is not JSON."""

    body: str = "\x1f\x8bnot json at all{"
    after: Literal["before", "accept"] = "accept"


class EarlyStatus(_Fault, frozen=True, tag="early_status"):
    """The `sent` webhook has been delivered before the send is answered."""


class Fail(_Fault, frozen=True, tag="fail"):
    """The send is accepted, and a `failed` status follows."""

    code: int
    details: str | None = None


class Duplicate(_Fault, frozen=True, tag="duplicate"):
    """The event is delivered so many times in all."""

    copies: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 2


class Reorder(_Fault, frozen=True, tag="reorder"):
    """The event waits until the next one of its chat has been delivered, or so many seconds."""

    seconds: Seconds = 5.0


class Late(_Fault, frozen=True, tag="late"):
    """The event is delivered so many seconds later."""

    seconds: Seconds


class Lose(_Fault, frozen=True, tag="lose"):
    """The event is never delivered."""


class DropCallbackData(_Fault, frozen=True, tag="drop_callback_data"):
    """The status comes without its `biz_opaque_callback_data`."""


class Forge(_Fault, frozen=True, tag="forge"):
    """The event is also delivered with a signature that is wrong, or with none; once, before the real one."""

    signature: Literal["wrong", "missing"] = "wrong"


RequestFault: TypeAlias = Error | Http | Hang | Delay | Cut | Truncate | Drip | Garbage | EarlyStatus | Fail
EventFault: TypeAlias = Duplicate | Reorder | Late | Lose | DropCallbackData | Forge
Fault: TypeAlias = RequestFault | EventFault

Operation: TypeAlias = Literal[
    "messages", "read", "media.upload", "media.url", "media.download", "media.delete",
    "marketing", "number", "numbers", "registration", "profile", "settings", "groups", "group", "account",
    "subscription", "templates", "template", "token", "upload", "message", "list", "content", "webhook", "*",
]  # fmt: skip


class Match(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Which requests or events. What is not said matches everything; `*` is every request."""

    operation: Operation = "*"
    method: Literal["GET", "POST", "DELETE"] | None = None  # requests only
    phone_number_id: str | None = None
    to: str | None = None  # a phone in digits, a user id or a group id: the customer's side, in events too
    type: str | None = None  # a message type
    event: Literal["message", "status", "account"] | None = None  # webhooks only
    status: str | None = None  # webhooks only
    nth: Annotated[int, msgspec.Meta(ge=1)] = 1


class Script(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    fault: Fault
    match: Match = Match()
    times: Annotated[int, msgspec.Meta(ge=1)] | None = 1
    id: str = ""
    matched: int = 0
    applied: int = 0

    @property
    def spent(self) -> bool:
        return self.times is not None and self.applied >= self.times


class Faults:
    def __init__(self) -> None:
        self._scripts: list[Script] = []
        self._added = 0

    def __iter__(self) -> Iterator[Script]:
        return iter(self._scripts)

    def add(self, script: Script) -> Script:
        for_events = isinstance(script.fault, EventFault)
        if for_events != (script.match.operation == "webhook"):
            wants = 'match.operation "webhook"' if for_events else 'a match.operation other than "webhook"'
            raise ValueError(f"fault {script.fault.__struct_config__.tag!r} needs {wants}")
        if script.match.to is not None:
            script.match = msgspec.structs.replace(script.match, to=script.match.to.removeprefix("+"))
        self._added += 1
        script.id = script.id or f"fault_{self._added}"
        self.remove(script.id)
        self._scripts.append(script)
        return script

    def remove(self, script_id: str) -> bool:
        kept = [script for script in self._scripts if script.id != script_id]
        found = len(kept) != len(self._scripts)
        self._scripts = kept
        return found

    def clear(self) -> None:
        self._scripts.clear()

    def for_request(
        self,
        operation: str,
        phone_number_id: str | None,
        who: Collection[str] = (),
        type_: str | None = None,
        *,
        method: str = "POST",
    ) -> RequestFault | None:
        if not self._scripts:
            return None
        for script in self._scripts:
            match = script.match
            if (
                match.operation in ("*", operation)
                and match.method in (None, method)
                and match.phone_number_id in (None, phone_number_id)
                and (match.to is None or match.to in who)
                and match.type in (None, type_)
                and _use(script)
            ):
                return script.fault  # type: ignore[return-value]  # `add` keeps the two kinds apart
        return None

    def for_event(
        self, phone_number_id: str, who: Collection[str], event: str, status: str | None, type_: str | None
    ) -> EventFault | None:
        if not self._scripts:
            return None
        for script in self._scripts:
            match = script.match
            if (
                match.operation == "webhook"
                and match.phone_number_id in (None, phone_number_id)
                and (match.to is None or match.to in who)
                and match.event in (None, event)
                and match.status in (None, status)
                and match.type in (None, type_)
                and _use(script)
            ):
                return script.fault  # type: ignore[return-value]
        return None


def _use(script: Script) -> bool:
    """Count a match; true where this is one of the matches the script is for."""
    if script.spent:
        return False
    script.matched += 1
    if script.matched < script.match.nth:
        return False
    script.applied += 1
    return True
