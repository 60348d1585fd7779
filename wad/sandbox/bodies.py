"""What all of the control API shares: strict JSON in, sentences out.

A body must say `application/json`, so that no web page of elsewhere can post here without the browser
asking first.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from quart import Blueprint, Response, request

from wad.sandbox.errors import GraphError
from wad.sandbox.graph import answered

T = TypeVar("T")


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A body of the control API: camelCase, and nothing in it that is not known."""


def control_blueprint(name: str) -> Blueprint:
    routes = Blueprint(name, __name__, url_prefix="/_sandbox")

    @routes.before_request
    async def only_json() -> Response | None:
        if request.mimetype in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):
            return _wrong("send application/json")
        return None

    @routes.errorhandler(ValueError)
    async def wrong(error: ValueError) -> Response:
        return _wrong(str(error))

    @routes.errorhandler(GraphError)
    async def refused(error: GraphError) -> Response:
        return _wrong(error.message)

    return routes


def _wrong(detail: str) -> Response:
    return answered(400, {"error": detail})


async def body(kind: type[T]) -> T:
    data = await request.get_data()
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def convert(value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
