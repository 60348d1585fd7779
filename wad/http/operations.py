"""What an operation of the API is: the one description that routes, documentation and tests are made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from pydantic import BaseModel
from quart import Request

from wad.http.auth import Principal
from wad.validation import Model, checked

if TYPE_CHECKING:
    from wad.http.api import Api

JSON: Final = "application/json"
_encode: Final = msgspec.json.Encoder().encode


class Access(Enum):
    """Who may call an operation, and when."""

    ALWAYS = "anybody, also before the sessions are restored"
    PROVIDER = "anybody, once restored: the handler itself checks a signature"
    TOKEN = "a known token, once restored; a shop's token for what is its shop's"  # noqa: S105


class Answer(msgspec.Struct, frozen=True):
    """A status and a body: something to encode as JSON, or bytes of `media_type`, or a stream of them."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}
    media_type: str = JSON

    @property
    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else _encode(self.body)


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request that is being answered: who asks, and for what, already checked."""

    request: Request
    principal: Principal
    path: Mapping[str, str]
    query: Any = None  # of the operation's `query` model
    body: Any = None  # of the operation's `body`, parsed
    raw: Any = None  # the decoded JSON itself

    def wait(self, longest: float) -> float | None:
        """The seconds of `Prefer: wait=N` (RFC 7240), at most *longest*; None where it is not there."""
        for preference in self.request.headers.get("Prefer", "").split(","):
            name, _, value = preference.partition(";")[0].partition("=")
            if name.strip().lower() == "wait":
                value = value.strip().strip('"')
                return min(float(value), longest) if value.isascii() and value.isdigit() else None
        return None


Handler: TypeAlias = "Callable[[Api, Exchange], Awaitable[Answer]]"


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation takes. `parse` makes it of decoded JSON; without it the handler reads the bytes."""

    schema: type[BaseModel] | Mapping[str, Any]
    parse: Callable[[Any], Any] | None = None
    media_types: tuple[str, ...] = (JSON,)


def json_body(model: type[Model]) -> Body:
    """JSON that is checked as a whole; every bad field is named."""
    return Body(schema=model, parse=lambda value: checked(model, value))


class Result(msgspec.Struct, frozen=True):
    """One success: what it means, and the type (or the JSON Schema) of its body.

    `others` are media types in which it can be had too, as bytes.
    """

    meaning: str
    type: Any = None
    media_type: str | None = JSON
    headers: Mapping[str, str] = {}
    others: frozenset[str] = frozenset()


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`problems` are the statuses of refusals besides those that every operation of its kind has."""

    id: str
    method: str
    path: str  # `/api/whatsapp/sessions/{sessionId}`
    tag: str
    summary: str
    handler: Handler
    access: Access = Access.TOKEN
    query: type[Model] | None = None
    body: Body | None = None
    headers: Mapping[str, Mapping[str, Any]] = {}  # of the request: name -> JSON Schema
    answers: Mapping[int, Result]
    problems: frozenset[int] = frozenset()

    @property
    def refusals(self) -> frozenset[int]:
        """Every status that this operation may refuse with."""
        every = {500}
        if self.access is not Access.ALWAYS:
            every.add(503)
        if self.access is Access.TOKEN:
            every |= {401, 429}
        if self.body is not None:
            every |= {408, 413}
            if self.body.parse is not None:
                every |= {400, 415, 422}
        if self.query is not None:
            every.add(422)
        return frozenset(every | self.problems)
