"""The log: one JSON object a line on stderr (a console form on a terminal), for wad and its libraries alike.

Use it as `structlog.get_logger(__name__).info("session_restored", session_id=...)`, or with the standard
`logging` and its `extra`: an event's name first, then fields. A field that is not in `redaction.FIELDS` is not
shown; its name is, in `withheld`.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from wad.events import (
    ActorCrashed,
    Balanced,
    BreakerChanged,
    BreakerSet,
    BridgeEnded,
    BridgeStarted,
    Events,
    Fact,
    FailedOver,
    FlowDelivered,
    InboundDuplicate,
    InboxDied,
    MarketingPaused,
    MediaFetched,
    MessageMoved,
    MessageQueued,
    MessageReceived,
    OutboxLoaded,
    ProviderCalled,
    ReconnectLoop,
    RequestServed,
    SessionCreated,
    SessionDeleted,
    SessionStateChanged,
    Throttled,
    WebhookAnswered,
)
from wad.models import InboxItem, MessageState, OutboundMessage, SessionState
from wad.redaction import FIELDS, Redactor, escaped

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_OWN: Final = frozenset({"timestamp", "level", "event", "logger", "exc_info", "stack_info"})
_META: Final = frozenset({"_record", "_from_structlog"})
#: What the standard library itself puts on a record: everything else came in as `extra`.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_crash: Final = logging.getLogger("wad.crash")


def setup(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "json", "console"] = "auto",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send everything that this process logs, and whatever ends one of its threads, to *stream* (stderr).

    *level* is for wad. Libraries stay at `warning` whatever it is: at `debug` pymongo writes out documents, httpx
    URLs and twilio bodies. *secrets* are values that must not appear even where nothing gives them away.
    """
    stream = sys.stderr if stream is None else stream
    console = form == "console" or (form == "auto" and stream.isatty())
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_extra, *_STAMPS],
            processors=[_Redact(Redactor(secrets)), _console(stream) if console else _json],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("wad").setLevel(level.upper())
    # Given to hypercorn as its `errorlog`, or it opens a handler of its own.
    logging.getLogger("hypercorn.error").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *_STAMPS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_thread


_STAMPS: Final[list[Processor]] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the standard library's name
        """Say that a line was lost, without its content: the standard library would print all of it, unredacted."""
        kind = sys.exc_info()[0]
        lost = {
            "level": "error",
            "event": "log_line_lost",
            "logger": record.name,
            "error": kind and kind.__name__,
        }
        try:
            self.stream.write(json.dumps(lost) + "\n")
        except (OSError, ValueError):
            return  # stderr itself is gone: there is nobody left to tell


def _extra(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The `extra` of a standard record, as fields."""
    record = event["_record"]
    context = structlog.contextvars.get_contextvars()
    return {**context, **event, **{key: value for key, value in vars(record).items() if key not in _STANDARD}}


class _Redact:
    """Keep what may be shown, and nothing else. Everything passes here, whoever logged it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        shown: EventDict = {
            "timestamp": event["timestamp"],
            "level": event["level"],
            "event": self._redactor.value(str(event["event"])),
            "logger": event["logger"],
        }
        for key, value in event.items():
            if key in FIELDS:
                prose = key == "detail" and isinstance(value, str)
                shown[key] = self._redactor.prose(value) if prose else self._redactor.value(value)
        if withheld := sorted(event.keys() - FIELDS - _OWN - _META):
            shown["withheld"] = [self._redactor.value(key) for key in withheld]
        if error := _error_of(event.get("exc_info")):
            shown["exception"] = self._redactor.exception(error)
        return shown


def _error_of(exc_info: Any) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case _:
            return sys.exc_info()[1] if exc_info else None


def _json(_: WrappedLogger, __: str, event: EventDict) -> str:
    # ASCII, so that no control character, bidirectional mark or line separator reaches a terminal or a tool.
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=str)


def _console(stream: TextIO) -> Processor:
    renderer = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )

    def render(logger: WrappedLogger, name: str, event: EventDict) -> str:
        safe: EventDict = {
            key: escaped(value) if isinstance(value, str) and key != "exception" else value
            for key, value in event.items()
        }
        if "exception" in safe:
            safe["exception"] = "\n".join(map(escaped, safe["exception"].split("\n")))
        return str(renderer(logger, name, safe))

    return render


def _uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, where: str | None = None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, None)
        return
    _crash.critical(
        "uncaught_exception", exc_info=(kind, error, trace), extra={"path": where} if where else None
    )


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _unraisable(args: UnraisableHookArgs) -> None:
    """What the interpreter could not raise, such as in a `__del__`. Its `object` is not shown: it may be data."""
    error = args.exc_value
    _crash.error(
        "unraisable_exception", exc_info=(args.exc_type, error, args.exc_traceback) if error else None
    )


# --- facts ----------------------------------------------------------------------------------------


def subscribe(events: Events) -> None:
    """Log every fact once: what goes as it should at debug, sessions at info, what needs a look above."""
    events.subscribe(_log_fact)


_facts: Final = structlog.stdlib.get_logger("wad.facts")
_is_logged: Final = logging.getLogger("wad.facts").isEnabledFor


def _debug(event: str, **fields: Any) -> None:
    """Each message makes a handful of facts, and structlog binds a logger before it looks at the level."""
    if _is_logged(logging.DEBUG):
        _facts.debug(event, **fields)


_TROUBLED: Final = frozenset({SessionState.DEGRADED, SessionState.LOGGED_OUT, SessionState.BAD_CREDENTIALS})


def _log_fact(fact: Fact) -> None:
    match fact:
        case SessionCreated(session=session):
            _facts.info(
                "session_created",
                session_id=session.session_id,
                shop_id=session.shop_id,
                provider=session.provider,
                phone=session.phone_number,
            )
        case SessionDeleted(session_id=session_id, provider=provider):
            _facts.info("session_deleted", session_id=session_id, provider=provider)
        case SessionStateChanged():
            _log_state(fact)
        case ActorCrashed():
            _facts.error(
                "actor_crashed" if fact.restart_in is not None else "actor_given_up",
                session_id=fact.session_id,
                provider=fact.provider,
                restarts=fact.restarts,
                restart_in=fact.restart_in,
                exc_info=fact.error,
            )
        case MessageQueued(message=message):
            _debug("message_queued", **_outbound(message))
        case Balanced(message=message):
            _debug("message_balanced", policy=fact.policy, why=fact.why, **_outbound(message))
        case FailedOver():
            _facts.warning(
                "failed_over",
                session_id=fact.session_id,
                provider=fact.provider,
                why=fact.why,
                moved=fact.moved,
                left=fact.left,
            )
        case OutboxLoaded(session_id=session_id):
            _debug("outbox_loaded", session_id=session_id)
        case MessageMoved(message=message):
            _log_message(message)
        case MessageReceived(item=item):
            _debug("message_received", **_inbound(item))
        case InboundDuplicate(provider=provider):
            _debug("inbound_duplicate", provider=provider)
        case WebhookAnswered():
            log = _debug if fact.result == "ok" else _facts.warning
            log(
                "webhook_answered", provider=fact.provider, result=fact.result, seconds=round(fact.seconds, 4)
            )
        case ProviderCalled():
            _debug(
                "provider_called",
                provider=fact.provider,
                operation=fact.operation,
                result=fact.result,
                seconds=round(fact.seconds, 4),
            )
        case Throttled():
            _facts.info("throttled", session_id=fact.session_id, provider=fact.provider, scope=fact.scope)
        case BreakerChanged() | BreakerSet():
            _log_breaker(fact)
        case FlowDelivered(item=item, outcome=outcome):
            log = {"retry": _facts.warning, "dead": _facts.warning, "gone": _facts.error}.get(outcome, _debug)
            log("flow_delivered", outcome=outcome, seconds=round(fact.seconds, 4), **_inbound(item))
        case InboxDied(item=item):
            _facts.error("inbox_dead_letter", **_inbound(item))
        case MediaFetched():
            _log_fetch(fact)
        case ReconnectLoop() | MarketingPaused():
            _log_warned(fact)
        case BridgeStarted() | BridgeEnded():
            _log_bridge(fact)
        case RequestServed():
            log = _facts.warning if fact.status >= 500 else _debug
            log(
                "request_served",
                route=fact.route,
                method=fact.method,
                status=fact.status,
                seconds=round(fact.seconds, 4),
            )
        case _:
            raise AssertionError(fact)


def _log_breaker(fact: BreakerChanged | BreakerSet) -> None:
    match fact:
        case BreakerChanged():
            log = _facts.warning if fact.state == "open" else _facts.info
            log(
                "breaker_changed",
                session_id=fact.session_id,
                provider=fact.provider,
                previous=fact.previous,
                state=fact.state,
            )
        case BreakerSet(status=status):
            _facts.info(
                "breaker_set",
                session_id=status.session_id,
                provider=status.provider,
                state=fact.state,
                token_name=fact.by,
            )


def _log_fetch(fact: MediaFetched) -> None:
    media, result = fact.media, fact.result
    log: Callable[..., Any] = {"stored": _debug, "retry": _facts.info}.get(result, _facts.warning)
    log(
        "media_fetched",
        session_id=media.session_id,
        media_id=media.media_id,
        provider=media.provider,
        result=result,
        attempts=media.attempts,
        seconds=round(fact.seconds, 3),
        code=media.error and media.error.code,
        provider_code=media.error and media.error.provider_code,
    )


def _log_warned(fact: ReconnectLoop | MarketingPaused) -> None:
    status = fact.status
    told: dict[str, object]
    match fact:
        case ReconnectLoop(losses=losses, period=period):
            name, told = "reconnect_loop", {"count": losses, "seconds": period}
        case MarketingPaused(until=until, code=code):
            name, told = "marketing_paused", {"code": code, "retry_at": until}
    _facts.warning(name, session_id=status.session_id, provider=status.provider, **told)


def _log_bridge(fact: BridgeStarted | BridgeEnded) -> None:
    match fact:
        case BridgeStarted():
            event = "bridge_restarted" if fact.restart else "bridge_started"
            _facts.info(event, bridge=fact.bridge, pid=fact.pid)
        case BridgeEnded():
            log = _facts.info if fact.expected else _facts.error
            event = "bridge_ended" if fact.expected else "bridge_lost"
            log(event, bridge=fact.bridge, pid=fact.pid, detail=fact.why)


def _log_state(fact: SessionStateChanged) -> None:
    status = fact.status
    log: Callable[..., Any]
    match status.state:
        case SessionState.FAILED:
            log = _facts.error
        case SessionState.PAIRING if fact.previous == status.state:  # another code, every 20 s
            log = _debug
        case state if state in _TROUBLED:
            log = _facts.warning
        case _:
            log = _facts.info
    log(
        "session_state",
        session_id=status.session_id,
        shop_id=status.shop_id,
        provider=status.provider,
        previous=fact.previous,
        state=status.state,
        reason=status.reason and status.reason.code,
        needs_person=status.reason is not None and status.reason.needs_person,
    )


def _log_message(message: OutboundMessage) -> None:
    log: Callable[..., Any]
    if message.dead:
        log = _facts.error
    elif message.state in (MessageState.FAILED, MessageState.UNKNOWN, MessageState.EXPIRED):
        log = _facts.warning
    else:
        log = _debug
    log("message_dead_letter" if message.dead else "message_moved", **_outbound(message))


def _outbound(message: OutboundMessage) -> dict[str, Any]:
    """What may be said of a message: nothing of its content, and of its recipient nothing but the mask."""
    error = message.error
    return {
        "session_id": message.session_id,
        "message_id": message.message_id,
        "provider": message.provider,
        "type": message.type,
        "state": message.state,
        "attempts": message.attempts,
        "phone": message.to.phone,
    } | ({"code": error.code, "provider_code": error.provider_code} if error else {})


def _inbound(item: InboxItem) -> dict[str, Any]:
    return {
        "session_id": item.session_id,
        "message_id": item.message_id,
        "provider": item.provider,
        "state": item.state,
        "attempts": item.attempts,
    }
