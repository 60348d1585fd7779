"""The log: what happened, at the right level, and nobody's secrets, words or numbers."""

import ast
import base64
import io
import json
import logging
import re
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from wad import log
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
from wad.models import (
    Address,
    ChatId,
    Credentials,
    DesiredState,
    Failure,
    InboundMessage,
    InboxItem,
    Media,
    MessageId,
    MessageState,
    OutboundMessage,
    Person,
    QueueStatus,
    Reason,
    Session,
    SessionId,
    SessionState,
    Settings,
    Status,
)
from wad.redaction import FIELDS, Redactor, masked

NOW = datetime(2026, 12, 1, 15, tzinfo=UTC)
PHONE = "+5215512345678"
CANARY_TEXT = "CanaryText"
#: Values that must never be seen, each in a shape that wad handles somewhere.
CANARIES = {
    "bearer": "wad_canary0123456789abcdefghijklmnopqrstuvwxyzABCD",
    "meta token": "EAACanaryMetaToken0123456789",
    "app secret": "canaryappsecret0123456789abcdef",
    "flow secret": "whsec_Q2FuYXJ5Rmxvd1NlY3JldA==",
    "twilio sid": "AC0123456789abcdef0123456789abcdef",
    "twilio key": "SK0123456789abcdef0123456789abcdef",
    "mongo password": "canarymongo",
    "phone": "5215512345678",
    "text": CANARY_TEXT,
}


@pytest.fixture
def out(log_restored: None) -> io.StringIO:
    """What a process with the log set up at its most talkative writes."""
    stream = io.StringIO()
    log.setup("debug", "json", stream=stream, secrets=[CANARIES["app secret"]])
    return stream


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


# --- form -----------------------------------------------------------------------------------------


def test_a_line_is_one_json_object_with_its_ids_as_fields(out):
    """Whichever of the two interfaces wrote it."""
    structlog.get_logger("wad.a").info("restored", session_id="tienda-1", count=3)
    logging.getLogger("wad.b").warning("late", extra={"session_id": "tienda-2", "seconds": 1.5})
    first, second = lines(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", first.pop("timestamp"))
    assert first == {
        "level": "info", "event": "restored", "logger": "wad.a", "session_id": "tienda-1", "count": 3,
    }  # fmt: skip
    del second["timestamp"]
    assert second == {
        "level": "warning", "event": "late", "logger": "wad.b", "session_id": "tienda-2", "seconds": 1.5,
    }  # fmt: skip


def test_what_is_bound_to_the_context_is_on_every_line(out):
    """The request's id, whoever logs during the request."""
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        structlog.get_logger("wad.a").info("one")
        logging.getLogger("wad.b").info("two")
    structlog.get_logger("wad.a").info("three")
    assert [line.get("request_id") for line in lines(out)] == ["req-1", "req-1", None]


def test_a_field_that_is_not_on_the_list_is_named_but_not_shown(out):
    """So that its author notices, and its value stays in."""
    structlog.get_logger("wad.a").info("sent", state="queued", text=CANARY_TEXT)
    logging.getLogger("wad.b").info("sent", extra={"body": CANARY_TEXT})
    assert [line["withheld"] for line in lines(out)] == [["text"], ["body"]]
    assert CANARY_TEXT not in out.getvalue()


def test_a_detail_loses_what_it_quotes(out):
    """It is for sentences of wad and of the system, and what stands in quotes there is data."""
    logging.getLogger("wad.store").warning(
        "away", extra={"detail": "no 'Hola' at 10.0.0.1:27017, auth: Bearer x"}
    )
    assert lines(out)[0]["detail"] == "no '…' at 10.0.0.1:27017, auth: Bearer ***"


def test_wad_is_heard_at_its_level_and_libraries_from_warning_on(out):
    """At debug pymongo writes documents, httpx URLs and twilio bodies."""
    logging.getLogger("wad.x").debug("wad")
    for name in ("httpx", "httpcore.http11", "pymongo.command", "twilio.http_client", "quart.app"):
        logging.getLogger(name).info("info")
        logging.getLogger(name).warning("warning")
    logging.getLogger("hypercorn.error").info("Running on")
    assert [line["event"] for line in lines(out)] == ["wad", *["warning"] * 5, "Running on"]


@pytest.mark.usefixtures("out")
def test_less_is_written_at_a_higher_level():
    """The level of the configuration is wad's."""
    stream = io.StringIO()
    log.setup("warning", "json", stream=stream)
    structlog.get_logger("wad.x").info("info")
    logging.getLogger("wad.y").info("info")
    structlog.get_logger("wad.x").warning("warning")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["warning"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        pytest.param("auto", io.StringIO(), True, id="auto into a file"),
        pytest.param("auto", Terminal(), False, id="auto on a terminal"),
        pytest.param("json", Terminal(), True, id="json on a terminal"),
        pytest.param("console", io.StringIO(), False, id="console into a file"),
    ],
)
@pytest.mark.usefixtures("out")
def test_a_person_gets_the_console_form_and_a_machine_json(form, stream, is_json):
    """Unless the configuration says otherwise."""
    log.setup("info", form, stream=stream)
    structlog.get_logger("wad.x").info("restored", session_id="tienda-1")
    assert stream.getvalue().startswith("{") is is_json
    assert "tienda-1" in stream.getvalue()


EVIL = "a\nb\r\x1b[2J\x7f\x9b31m\u2028\u202e\x00"


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.usefixtures("out")
def test_control_characters_are_escaped(form):
    """A name or a header from outside must not forge a line, or drive the terminal that shows it."""
    stream = io.StringIO()
    log.setup("info", form, stream=stream)
    structlog.get_logger("wad.x").info(EVIL, state=EVIL)
    structlog.get_logger("wad.x").error("failed", exc_info=raised(RuntimeError(EVIL)))
    text = stream.getvalue()
    assert all(char == "\n" or char.isprintable() for char in text)
    if form == "json":
        assert len(text.splitlines()) == 2
    else:
        assert "a\\nb" in text


def test_a_line_that_cannot_be_written_is_said_to_be_lost_without_its_content(out):
    """The standard library would print the record and its arguments as they are."""
    [handler] = (each for each in logging.root.handlers if isinstance(each, log._Handler))
    handler.handle(logging.makeLogRecord({"name": "wad.x", "msg": "%d CanaryText", "args": (CANARY_TEXT,)}))
    assert lines(out) == [
        {"level": "error", "event": "log_line_lost", "logger": "wad.x", "error": "TypeError"}
    ]


# --- exceptions -----------------------------------------------------------------------------------


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301  so that it has a frame
    except BaseException as caught:  # noqa: BLE001
        return caught


def test_an_exception_is_shown_with_its_frames_and_without_locals(out):
    """Where it broke is needed; what was in the variables is not ours to write down."""
    secret_local = CANARY_TEXT  # noqa: F841
    try:
        int("x")
    except ValueError:
        structlog.get_logger("wad.x").exception("broke")
    [line] = lines(out)
    assert f"{__file__}:" in line["exception"]
    assert "in test_an_exception_is_shown_with_its_frames_and_without_locals" in line["exception"]
    assert "ValueError: invalid literal for int() with base 10: '…'" in line["exception"]
    assert CANARY_TEXT not in out.getvalue()


def test_what_an_exception_quotes_is_hidden_unless_it_names_code():
    """Parsers quote their input, and the input is what a customer wrote."""
    shown = Redactor().exception
    assert "invalid literal for int() with base 10: '…'" in shown(
        raised(ValueError("invalid literal for int() with base 10: 'Hola'"))
    )
    assert shown(raised(KeyError("Hola"))).endswith("KeyError: '…'")
    assert "no attribute 'send'" in shown(raised(AttributeError("'NoneType' object has no attribute 'send'")))
    assert "'…'" in shown(raised(RuntimeError("header b\"X-\\\"Y\" and 'it\\'s'")))
    assert "X-" not in shown(raised(RuntimeError('header b"X-\\"Y"'))).rpartition("\n")[2]


def test_an_exceptions_chain_and_group_are_shown():
    """The cause says more than the consequence; a nursery raises groups."""
    cause = raised(OSError(111, "Connection refused"))
    effect = RuntimeError("no provider")
    effect.__cause__ = cause
    text = Redactor().exception(raised(ExceptionGroup("two", [raised(effect), raised(LookupError("x"))])))
    for part in (
        "ExceptionGroup: two",
        "  | ",
        "ConnectionRefusedError: [Errno 111]",
        "which led to",
        "LookupError: x",
    ):
        assert part in text
    assert text.index("Errno 111") < text.index("no provider")


def test_an_exception_chain_that_bites_its_tail_ends():
    """`raise a from b` and `raise b from a` make a ring."""
    one, two = raised(ValueError("one")), raised(ValueError("two"))
    one.__cause__, two.__cause__ = two, one
    assert Redactor().exception(one).count("ValueError: one") == 1


def test_an_exception_that_cannot_be_printed_is_named():
    """Logging a failure must not fail."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert Redactor().exception(raised(BrokenError())).endswith("<RuntimeError in its str>")


def test_what_ends_the_process_or_a_thread_is_logged_like_the_rest(out):
    """The interpreter's own traceback would show the exception's words as they are."""
    error = raised(RuntimeError(f"Bearer {CANARIES['bearer']}"))
    sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=lambda: int(CANARY_TEXT + "!"))
    thread.start()
    thread.join()

    class Dies:
        def __del__(self):
            raise RuntimeError(f"token={CANARIES['meta token']}")

    Dies()
    assert [line["event"] for line in lines(out)] == [
        "uncaught_exception",
        "uncaught_exception",
        "unraisable_exception",
    ]
    for canary in CANARIES.values():
        assert f"'{canary}" not in out.getvalue()
        assert canary not in out.getvalue()


def test_a_warning_of_python_is_a_line_too(out):
    """Else it would be the one thing on stderr that is no JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
        logging.captureWarnings(False)
    assert lines(out)[0]["logger"] == "py.warnings"


# --- the filter -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("Authorization: Basic QUM6c2VjcmV0", "Authorization: Basic ***"),
        ("headers {'authorization': 'Bearer abc'}", "headers {'authorization': 'Bearer ***'}"),
        ("Malformed access token EAAGm0PX4ZCpsBA", "Malformed access token EAA***"),
        ("key whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw end", "key whsec_*** end"),
        ("AC0123456789abcdef0123456789abcdef", "AC***"),
        ("/Accounts/SK0123456789abcdef0123456789abcdef/x", "/Accounts/SK***/x"),
        ("X-Hub-Signature-256: sha256=0123456789abcdef0123", "X-Hub-Signature-256: ***"),
        ("got sha256=0123456789abcdef0123456789", "got sha256=***"),
        ("webhook-signature v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", "webhook-signature v1,***"),
        (
            "GET /me?access_token=abc&appsecret_proof=0f0f&fields=id",
            "GET /me?access_token=***&appsecret_proof=***&fields=id",
        ),
        (
            "{\"app_secret\": \"s3cret\", 'verify_token': 'v'}",
            "{\"app_secret\": \"***\", 'verify_token': '***'}",
        ),
        ("hub.verify_token=letmein", "hub.verify_token=***"),
        ("mongodb://user:p%40ss@h1,h2/db", "mongodb://***@h1,h2/db"),
        ("https://user:p@ss@h/x", "https://***@h/x"),
        ("wad_" + "x" * 43, "wad_***"),
        ("wad_provider_request_seconds_bucket", "wad_provider_request_seconds_bucket"),
        ("the token is gone", "the token is gone"),
        ("token_name=ops", "token_name=ops"),
    ],
)
def test_the_filter_hides_what_looks_like_a_secret(text, shown):
    """A last resort, for texts that others wrote."""
    assert Redactor().text(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to +5215512345678 now", "to +52155****5678 now"),
        ("5215512345678@s.whatsapp.net", "52155****5678@s.whatsapp.net"),
        ("whatsapp:+5215512345678", "whatsapp:+52155****5678"),
        ("To=whatsapp%3A%2B5215512345678", "To=whatsapp%3A%2B52155****5678"),
        ("+52 1 55 1234-5678", "+52155****5678"),
        ("+1 (212) 555-0123", "+121****0123"),
        ("+49170123456", "+491****3456"),
        ("12345678", "****5678"),
        ("+6831234", "+****1234"),
        ("msg_0f8d5215512345678abc5215512345678f0f", "msg_0f8d5215512345678abc5215512345678f0f"),
        ("1234567", "1234567"),
        ("0.123456789012", "0.123456789012"),
        ("2026-12-01T15:00:00.123456Z", "2026-12-01T15:00:00.123456Z"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
    ],
)
def test_the_filter_masks_what_looks_like_a_phone_number(text, shown):
    """Enough of it stays to recognise it; ids, times and addresses stay whole."""
    assert Redactor().text(text) == shown


def test_a_secret_that_a_cut_would_halve_is_not_shown_in_part():
    """Half a key is half the work."""
    secret = "correct horse battery staple"
    for before in (1990, 3990):
        assert "correct" not in Redactor([secret]).value("x" * before + secret)


def test_a_mask_hides_at_least_four_digits():
    """Of a short number the head goes first."""
    for length in range(7, 16):
        digits = "123456789012345"[:length]
        kept = masked(digits).replace("*", "")
        assert len(kept) <= max(4, length - 4)


@given(st.text(), st.text())
def test_a_known_secret_is_hidden_wherever_it_stands(before, after):
    """The configuration's own secrets, however shapeless."""
    secret = "correct horse ÷ battery"
    assert secret not in Redactor([secret, "horse"]).text(before + secret + after)


@given(
    st.from_regex(r"[1-9][0-9]{9,14}", fullmatch=True),
    st.sampled_from(["{}", "+{}", "to {}.", "x={}&y", "'{}'", "{}@c.us", "/{}/messages"]),
)
def test_a_number_never_stands_whole(number, around):
    """Wherever a phone number may stand in a text."""
    assert number not in Redactor().text(around.format(number))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("inf"), "inf"),
        (True, True),
        (NOW, "2026-12-01T15:00:00+00:00"),
        (ValueError("not 'x'"), "ValueError: not '…'"),
        (["+5215512345678", 1], ["+52155****5678", 1]),
        ({"text": "x"}, "<dict>"),
        (b"x", "<bytes>"),
        ("x" * 3000, "x" * 2000),
    ],
)
def test_a_field_holds_scalars_or_lists_of_them(value, shown):
    """A mapping or bytes could hold anything."""
    assert Redactor().value(value) == shown


# --- facts ----------------------------------------------------------------------------------------


def session() -> Session:
    return Session(
        session_id=SessionId("tienda-1"),
        provider="cloud_api",
        credentials=Credentials(accessToken=CANARIES["meta token"], appSecret=CANARIES["app secret"]),
        phone_number=PHONE,
        settings=Settings(
            flow_url=f"https://u:{CANARIES['mongo password']}@h/", flow_secret=CANARIES["flow secret"]
        ),
        created_at=NOW,
        updated_at=NOW,
    )


def status(state: SessionState = SessionState.CONNECTED, reason: Reason | None = None) -> Status:
    return Status(
        session_id=SessionId("tienda-1"), shop_id=None, provider="cloud_api", phone_number=PHONE,
        desired_state=DesiredState.CONNECTED, state=state, is_connected=True, reason=reason, last_seen=None,
        qr_code=CANARY_TEXT, since=NOW, link=None, last_inbound_at=None, last_outbound_at=None, last_ack_at=None,
        restarts=0, next_retry_at=None, breaker="closed", queue=QueueStatus(0, 0), node="n",
    )  # fmt: skip


def message(state: MessageState = MessageState.QUEUED, **changes: Any) -> OutboundMessage:
    wamid = "wamid." + base64.b64encode(PHONE.encode()).decode()
    return OutboundMessage(
        message_id=MessageId("msg_1"), session_id=SessionId("tienda-1"), provider="cloud_api", to=Address(phone=PHONE),
        content={"type": "text", "text": {"body": CANARY_TEXT}}, seq=1, created_at=NOW, expires_at=NOW, updated_at=NOW,
        reference=CANARY_TEXT, provider_message_id=wamid, state=state, **changes,
    )  # fmt: skip


def item() -> InboxItem:
    return InboxItem(
        message_id=MessageId("msg_2"), session_id=SessionId("tienda-1"), provider="cloud_api", seq=1, received_at=NOW, expires_at=NOW,
        event=InboundMessage(
            provider_message_id="wamid.1", chat=ChatId(PHONE), sender=Person(phone=PHONE, name=CANARY_TEXT),
            content={"type": "text", "text": {"body": CANARY_TEXT}},
        ),
    )  # fmt: skip


def media(**changes: Any) -> Media:
    return Media(
        media_id="med_1", session_id=SessionId("tienda-1"), provider="cloud_api", provider_media_id=CANARIES["meta token"],
        mime_type="image/png", filename=CANARY_TEXT, created_at=NOW, expires_at=NOW, **changes,
    )  # fmt: skip


def failure() -> Failure:
    return Failure("recipient_invalid", f"no {PHONE}: {CANARY_TEXT} {CANARIES['meta token']}", "131026")


FACTS: list[tuple[Fact, str, str]] = [
    (SessionCreated(session()), "info", "session_created"),
    (SessionDeleted(SessionId("tienda-1"), "cloud_api"), "info", "session_deleted"),
    (SessionStateChanged(status(), "connecting"), "info", "session_state"),
    (SessionStateChanged(status(SessionState.DEGRADED), "connected"), "warning", "session_state"),
    (
        SessionStateChanged(
            status(
                SessionState.BAD_CREDENTIALS, Reason("bad_token", CANARIES["meta token"], needs_person=True)
            ),
            "x",
        ),
        "warning",
        "session_state",
    ),
    (SessionStateChanged(status(SessionState.FAILED), "connecting"), "error", "session_state"),
    (
        ActorCrashed(SessionId("tienda-1"), "cloud_api", ValueError(f"'{CANARY_TEXT}'"), 1, 2.0),
        "error",
        "actor_crashed",
    ),
    (
        ActorCrashed(SessionId("tienda-1"), "cloud_api", KeyError(CANARY_TEXT), 6, None),
        "error",
        "actor_given_up",
    ),
    (MessageQueued(message()), "debug", "message_queued"),
    (Balanced(message(), "sticky", "customer_wrote_to_it"), "debug", "message_balanced"),
    (FailedOver(SessionId("tienda-1"), "cloud_api", "breaker_open", 3, 1), "warning", "failed_over"),
    (OutboxLoaded(SessionId("tienda-1")), "debug", "outbox_loaded"),
    (MessageMoved(message(MessageState.ACCEPTED)), "debug", "message_moved"),
    (MessageMoved(message(MessageState.FAILED, error=failure())), "warning", "message_moved"),
    (MessageMoved(message(MessageState.UNKNOWN)), "warning", "message_moved"),
    (MessageMoved(message(MessageState.UNKNOWN, dead=True)), "error", "message_dead_letter"),
    (MessageReceived(item()), "debug", "message_received"),
    (InboundDuplicate("cloud_api"), "debug", "inbound_duplicate"),
    (WebhookAnswered("cloud_api", "ok", 0.01), "debug", "webhook_answered"),
    (WebhookAnswered("cloud_api", "bad_signature", 0.01), "warning", "webhook_answered"),
    (ProviderCalled("cloud_api", "send", "ok", 0.2), "debug", "provider_called"),
    (Throttled("cloud_api", "number", SessionId("tienda-1")), "info", "throttled"),
    (BreakerChanged(SessionId("tienda-1"), "cloud_api", "closed", "open"), "warning", "breaker_changed"),
    (BreakerChanged(SessionId("tienda-1"), "cloud_api", "open", "half_open"), "info", "breaker_changed"),
    (BreakerSet(status(SessionState.DEGRADED), "isolated", "ops"), "info", "breaker_set"),
    (FlowDelivered(item(), "answered", 0.1), "debug", "flow_delivered"),
    (FlowDelivered(item(), "retry", 0.1), "warning", "flow_delivered"),
    (FlowDelivered(item(), "gone", 0.1), "error", "flow_delivered"),
    (SessionStateChanged(status(SessionState.PAIRING), "pairing"), "debug", "session_state"),
    (ReconnectLoop(status(SessionState.CONNECTING), 6, 600.0), "warning", "reconnect_loop"),
    (
        MarketingPaused(status(SessionState.CONNECTED), None, NOW, "spam_throttled"),
        "warning",
        "marketing_paused",
    ),
    (BridgeStarted("1", 4711, restart=False), "info", "bridge_started"),
    (BridgeStarted("1", 4712, restart=True), "info", "bridge_restarted"),
    (BridgeEnded("1", 4711, "killed by signal 9", expected=False), "error", "bridge_lost"),
    (BridgeEnded("1", 4711, "nothing to carry", expected=True), "info", "bridge_ended"),
    (InboxDied(item()), "error", "inbox_dead_letter"),
    (MediaFetched(media(), "stored", 1.5), "debug", "media_fetched"),
    (MediaFetched(media(error=failure()), "retry", 1.5), "info", "media_fetched"),
    (MediaFetched(media(error=failure()), "disk", 1.5), "warning", "media_fetched"),
    (MediaFetched(media(error=failure()), "failed", 1.5), "warning", "media_fetched"),
    (RequestServed("/api/whatsapp/send", "POST", 202, 0.1), "debug", "request_served"),
    (RequestServed("/api/whatsapp/send", "POST", 503, 0.1), "warning", "request_served"),
]


@pytest.mark.parametrize(("fact", "level", "event"), FACTS)
def test_every_fact_is_one_line_at_its_level(out, fact, level, event):
    """Quiet when all is well; an operator's log at warning holds what needs a look."""
    events = Events()
    log.subscribe(events)
    events.publish(fact)
    [line] = lines(out)
    assert (line["level"], line["event"]) == (level, event)
    assert "withheld" not in line


def test_every_kind_of_fact_is_in_the_table():
    """A new fact has to say at which level it is logged."""
    assert {type(fact) for fact, _, _ in FACTS} == set(Fact.__args__)


def test_no_fact_shows_a_secret_a_text_or_a_full_number(out):
    """Canaries stand in every place of a fact that can hold one."""
    events = Events()
    log.subscribe(events)
    for fact, _, _ in FACTS:
        events.publish(fact)
    assert len(lines(out)) == len(FACTS)
    for kind, canary in CANARIES.items():
        assert canary not in out.getvalue(), kind
    assert base64.b64encode(PHONE.encode()).decode() not in out.getvalue()


def test_canaries_do_not_get_through_a_librarys_texts_either(out):
    """Everything a library might write, in its message, its arguments, its extra and its exception."""
    texts = [
        f"POST https://graph.facebook.com/v26.0/1/messages?access_token={CANARIES['meta token']}",
        f"headers=[(b'Authorization', b'Bearer {CANARIES['bearer']}')]",
        f"secret {CANARIES['app secret']} and {CANARIES['flow secret']}",
        f"/Accounts/{CANARIES['twilio sid']}/{CANARIES['twilio key']}",
        f"mongodb://user:{CANARIES['mongo password']}@h/ failed for {PHONE} and {CANARIES['phone']}@c.us",
    ]
    library = logging.getLogger("library")
    for text in texts:
        library.error(text)
        library.error("%s", text)
        library.error("with", extra={"state": text, "request": text})
        library.error("with", exc_info=raised(RuntimeError(text)))
    library.error("text", exc_info=KeyError(CANARY_TEXT))
    assert len(lines(out)) == 4 * len(texts) + 1
    for kind, canary in CANARIES.items():
        assert canary not in out.getvalue(), kind


def test_no_field_on_the_list_is_one_that_people_write_in():
    """The list is the defence: a body, a name, an address or a provider's message id does not belong on it."""
    assert not FIELDS & {
        "text",
        "body",
        "content",
        "name",
        "to",
        "from",
        "chat",
        "url",
        "provider_message_id",
    }


#: Withheld on purpose: a wamid holds the customer's number, and a row's key may be one.
WITHHELD = {"provider_message_id", "key"}


def test_every_field_that_wad_logs_is_one_that_can_be_seen():
    """A field that is not on the list is a line of code that does nothing."""
    named: dict[str, str] = {}
    for path in sorted(Path(log.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                named |= {key.value: path.name for key in node.value.keys if isinstance(key, ast.Constant)}
    assert named
    assert {key: name for key, name in named.items() if key not in FIELDS | WITHHELD} == {}
