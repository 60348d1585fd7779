"""What a fault makes of an answer, of whichever API: none at all, another one, or the right one on a broken line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import trio
from quart import Response, request

from wad.sandbox.faults import Cut, Delay, Drip, Error, Garbage, Hang, Http, RequestFault, Truncate
from wad.sandbox.wire import FAULT_KEY


async def struck(
    fault: RequestFault,
    *,
    refuse: Callable[[Error, dict[str, str]], Response],
    record: Callable[[int | None], None],
) -> Response | None:
    """What a call is answered with that *fault* strikes before it is carried out; None where it goes on.

    *refuse* writes the scripted error as the API does, with these headers; *record* puts the status into the ledger.
    """
    match fault:
        case Delay():
            await trio.sleep(fault.seconds)
            return None
        case Error():
            headers = dict(fault.headers)
            if fault.retry_after is not None:
                headers["Retry-After"] = f"{fault.retry_after:g}"
            return refuse(fault, headers)
        case Http():
            record(fault.status)
            return in_front(fault)
        case Hang() | Cut() | Garbage():
            record(None)
            return await spoiled(fault)
        case _:  # the network's own doing: whoever carries messages knows them
            return None


async def spoiled(fault: RequestFault) -> Response | None:
    """The answer in place of the right one; none where that goes out, perhaps to break on its way (`wire.py`)."""
    match fault:
        case Hang():
            await trio.sleep_forever()
            raise AssertionError("slept for ever, and woke")
        case Delay():
            await trio.sleep(fault.seconds)
            return None
        case Http():
            return in_front(fault)
        case Garbage():
            return Response(fault.body.encode("latin-1", "replace"), 200, content_type="application/json")
        case Cut() | Truncate() | Drip():
            cast("dict[str, Any]", request.scope)[FAULT_KEY] = fault
            return None if not isinstance(fault, Cut) else Response(b"", 200)
        case _:
            return None


def in_front(fault: Http) -> Response:
    """What a load balancer says."""
    if fault.body is not None:
        body, kind = fault.body, "text/html" if fault.html else "text/plain"
    elif fault.html:
        body = f"<!DOCTYPE html><html><head><title>{fault.status}</title></head><body>Sorry, something went wrong.</body></html>"
        kind = "text/html"
    else:
        body, kind = "", "text/plain"
    return Response(body, fault.status, fault.headers, content_type=kind)
