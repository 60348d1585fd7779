"""How Graph lets a caller choose: the fields of an object, the pages of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

from quart import request

from wad.sandbox.errors import GraphError, invalid

Answer: TypeAlias = dict[str, Any]

#: What every list may be asked.
LISTING: Final = ("fields", "limit", "after", "before")


def fields(known: Answer, asked: Answer, default: Sequence[str], node: str) -> Answer:
    """The asked fields of an object, its id always among them."""
    names = (
        [name.strip() for name in str(asked["fields"]).split(",")] if asked.get("fields") else list(default)
    )
    for name in names:
        if name not in known:
            raise invalid(f"Tried accessing nonexisting field ({name}) on node type ({node})")
    return {name: known[name] for name in names if known[name] is not None} | {"id": known["id"]}


def paged(listed: list[Answer], asked: Answer, *, most: int = 1000) -> tuple[list[Answer], Answer]:
    """A page of the list by Graph's cursors; here a cursor is a position."""
    try:
        limit = int(asked.get("limit", 25))
        start = max(0, int(asked["before"]) - limit) if asked.get("before") else int(asked.get("after") or 0)
    except ValueError:
        raise GraphError(131059) from None
    if not 1 <= limit <= most:
        raise invalid(f"Param limit must be between 1 and {most}.")
    page = listed[start : start + limit]
    if not page:
        return [], {}
    end = start + len(page)
    paging: Answer = {"cursors": {"before": str(start), "after": str(end)}}
    if end < len(listed):
        query = {name: value for name, value in request.args.items() if name != "access_token"}
        paging["next"] = f"{request.base_url}?{urlencode(query | {'limit': limit, 'after': end})}"
    return page, {"paging": paging}
