"""The HTTP application: the table of operations as Quart routes, and what holds for every request and answer."""

from __future__ import annotations

import gzip
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import trio
from quart import Request, Response
from quart.globals import request_ctx
from quart.wrappers.response import ResponseBody
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from wad.config import Config
from wad.config.model import ApiToken
from wad.errors import StoreUnavailable, WadError
from wad.events import Events, RequestServed
from wad.http.api import Api
from wad.http.auth import Gate, Principal
from wad.http.bodies import body_of, decode, request_class
from wad.http.events import EventStream
from wad.http.media import PATH as MEDIA
from wad.http.operations import Access, Answer, Exchange, Operation
from wad.http.pages import Pages
from wad.http.problems import KINDS, MEDIA_TYPE, Refused, headers_of, problem_of
from wad.http.routes import OPERATIONS
from wad.store.store import Store
from wad.supervisor.sessions import Sessions
from wad.validation import checked

log = logging.getLogger("wad.http")

#: Nobody in particular: who calls what needs no token.
_ANYBODY: Final = Principal("", frozenset())
_UPLOADS: Final = 4  # at once: each holds its whole file in memory until the provider has it
#: Answers below this do not get smaller by enough to be worth the work.
_GZIP_FROM: Final = 1024
_GZIP_LEVEL: Final = 4
_COMPRESSIBLE: Final = ("application/json", MEDIA_TYPE, "text/")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
#: Seconds for the rest of a body that an early answer made superfluous.
_LINGER: Final = 1.0
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: What is asked of a client's browser, with whatever we answer.
_ALWAYS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "body_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
}

Scope = dict[str, Any]


class App(QuartTrio):
    """Quart, with a rim: what is refused before any parsing, and what every answer carries."""

    events: Events
    gate: Gate
    stream: EventStream
    draining = False

    def admit_only(self, tokens: Sequence[ApiToken]) -> None:
        """These tokens from now on: listeners whom another let in are cut. Requests in hand are answered."""
        self.gate.admit_only(tokens)
        self.stream.keep_only(self.gate.knows)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await send({"type": "websocket.close", "code": 1000})
            case _:
                await super().__call__(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        began = trio.current_time()
        names = dict(scope["headers"])
        request_id = names.get(b"x-request-id", b"")
        if _REQUEST_ID.fullmatch(request_id) is None:
            request_id = secrets.token_hex(16).encode()
        scope["wad.request_id"] = request_id.decode()
        status = 0
        heard = trio.Event()  # all of the request

        async def hear() -> Any:
            message = await receive()
            if not message.get("more_body", False):
                heard.set()
            return message

        async def tell(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_ALWAYS, (b"x-request-id", request_id)]
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if last and not heard.is_set():
                # The client has its answer, and may be sending still. Closing on it now would take the answer away.
                with trio.move_on_after(_LINGER):
                    await heard.wait()
            # On the last of it hypercorn tells Quart that the exchange is over, and Quart cancels this very call.
            # Unshielded, hypercorn would not get to time the idle connection, nor to close it when wad stops.
            with trio.CancelScope(shield=last):
                await send(message)

        try:
            if refusal := _refused_unread(scope, names):
                heard.set()
                await _refuse(tell, refusal)
            else:
                await super().__call__(scope, hear, tell)
        finally:
            if status:
                method = scope["method"] if scope["method"] in _METHODS else "other"
                route = scope.get("wad.route", "none")
                self.events.publish(RequestServed(route, method, status, trio.current_time() - began))


def _refused_unread(scope: Any, names: Mapping[bytes, bytes]) -> Refused | None:
    """What somebody who stands before us may have understood otherwise than we would."""
    if b"content-length" in names and b"transfer-encoding" in names:  # RFC 9112, 6.3
        return Refused("bad_request", "Content-Length and Transfer-Encoding do not go together")
    if scope["path"].startswith("//"):  # werkzeug would take it for one slash
        return Refused("not_found", KINDS["not_found"].meaning)
    return None


async def _refuse(send: Callable[[Any], Awaitable[None]], error: Refused) -> None:
    """Answer without having read, and close: what else is on the connection is not trusted."""
    problem = problem_of(error)
    body = Answer(problem).encoded
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def create_app(
    *,
    sessions: Sessions,
    store: Store,
    config: Config,
    events: Events,
    stream: EventStream,
    metrics: Callable[[], bytes],
) -> App:
    """The application over what the daemon made. It is an ASGI app, to be served under Trio.

    It may be served before the sessions are restored: until then everything that needs them is a 503.
    """
    app = App("wad.http", static_folder=None)
    app.events = events
    app.stream = stream
    app.gate = Gate(
        config.auth.tokens,
        rate=config.limits.requests_per_second,
        burst=config.limits.request_burst,
        clock=trio.current_time,
    )
    app.request_class = request_class(config.http, uploads=MEDIA)
    app.config["RESPONSE_TIMEOUT"] = config.http.response_timeout
    app.config["MAX_FORM_PARTS"] = 16
    app.url_map.merge_slashes = False
    api = Api(
        sessions=sessions,
        store=store,
        config=config,
        events=events,
        stream=stream,
        gate=app.gate,
        uploads=trio.CapacityLimiter(_UPLOADS),
        metrics=metrics,
        draining=lambda: app.draining,
        restored=_restored(sessions),
        pages=Pages(OPERATIONS, sessions.providers),
    )
    for operation in OPERATIONS:
        app.add_url_rule(
            operation.path.replace("{", "<").replace("}", ">"),
            operation.id,
            partial(_serve, api, operation),
            methods=[operation.method],
            provide_automatic_options=False,
        )
    app.register_error_handler(HTTPException, _refused_by_quart)
    return app


def _restored(sessions: Sessions) -> Callable[[], bool]:
    """Whether the sessions are back. Asked at every request; the progress itself takes a look at each session."""
    done = False

    def restored() -> bool:
        nonlocal done
        done = done or sessions.progress.done
        return done

    return restored


# --- one request ----------------------------------------------------------------------------------


async def _serve(api: Api, operation: Operation, /, **path: str) -> Response:
    request = request_ctx.request
    scope: Scope = request.scope  # type: ignore[assignment]  # ours to add to
    scope["wad.route"] = operation.path
    try:
        return _response(await _answer(api, operation, request, path), request)
    except WadError as error:
        return _response(_refusal(error), request)
    except HTTPException as error:  # Quart's: a body too large or too slow
        return _response(_refusal(_quarts(error)), request)
    except Exception:
        log.exception(
            "request_failed",
            extra={
                "method": operation.method,
                "route": operation.path,
                "request_id": scope["wad.request_id"],
            },
        )
        return _response(_refusal(WadError("a bug: the log has it under this X-Request-Id")), request)


async def _answer(api: Api, operation: Operation, request: Request, path: Mapping[str, str]) -> Answer:
    principal = _ANYBODY
    if operation.access is Access.TOKEN:
        principal = api.gate.admit(request.headers.get("Authorization"), request.remote_addr or "")
    if operation.access is not Access.ALWAYS and not api.restored():
        raise StoreUnavailable(
            "wad is starting: it waits for its store, or restores its sessions",
            code="starting",
            retry_after=1,
        )
    query = None if operation.query is None else checked(operation.query, _query(request))
    raw = body = None
    if operation.body is not None and operation.body.parse is not None:
        if request.mimetype not in operation.body.media_types:
            wanted = " or ".join(operation.body.media_types)
            raise Refused("unsupported_media_type", f"Content-Type must be {wanted}", {"Accept": wanted})
        raw = decode(await body_of(request))
        body = operation.body.parse(raw)
    return await operation.handler(
        api, Exchange(request=request, principal=principal, path=path, query=query, body=body, raw=raw)
    )


def _query(request: Request) -> dict[str, Any]:
    """Each name's value; a list where it was given more than once."""
    if not request.query_string:
        return {}
    return {name: values[0] if len(values) == 1 else values for name, values in request.args.lists()}


def _refusal(error: WadError) -> Answer:
    problem = problem_of(error)
    return Answer(problem, problem.status, headers_of(error, problem), MEDIA_TYPE)


def _quarts(error: HTTPException) -> Refused:
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    code = _CODES.get(error.code or 500, "internal")
    return Refused(code, KINDS[code].meaning, headers)


async def _refused_by_quart(error: HTTPException) -> Response:
    """No route, another method, or a bug that Quart caught."""
    return _response(_refusal(_quarts(error)), request_ctx.request)


def _response(answer: Answer, request: Request) -> Response:
    headers = {"Cache-Control": "no-store", **answer.headers}
    if isinstance(answer.body, ResponseBody | AsyncIterator):
        response = Response(answer.body, answer.status, headers, content_type=answer.media_type)
        response.timeout = None
        return response
    body = answer.encoded
    if len(body) >= _GZIP_FROM and answer.media_type.startswith(_COMPRESSIBLE):
        headers["Vary"] = "Accept-Encoding"
        if request.accept_encodings["gzip"] > 0:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    if answer.status == 204:
        return Response(b"", 204, headers)
    return Response(body, answer.status, headers, content_type=answer.media_type)
