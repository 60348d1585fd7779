"""The API as one table. Quart's routes, the OpenAPI document and the tests of who may do what are made from it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wad.content import SendBody, SendGroupBody, parse_send, parse_send_group
from wad.http import bulks, media, messages, ops, pages, sessions, sse, webhooks
from wad.http.account_routes import ACCOUNT_ROUTES
from wad.http.answers import (
    BulkView,
    InboundView,
    MediaView,
    MessageList,
    OutboundView,
    SentView,
    SessionList,
    SessionView,
)
from wad.http.operations import Access, Body, Operation, Result
from wad.http.operations import json_body as _json
from wad.http.schemas import (
    BreakerBody,
    BulkBody,
    BulkListQuery,
    BulkQuery,
    DeadLetterQuery,
    HandshakeQuery,
    MessageQuery,
    NewSessionBody,
    PairingBody,
    QrQuery,
    ReadBody,
    SessionPatch,
    SessionQuery,
)
from wad.models import Status
from wad.providers.base import Capabilities, Group
from wad.validation import checked

_API: Final = "/api/whatsapp"
_SESSION: Final = f"{_API}/sessions/{{sessionId}}"
_MESSAGE: Final = f"{_API}/messages/{{messageId}}"
_DEAD: Final = f"{_API}/dead-letters/{{messageId}}"

_WAIT: Final[dict[str, Any]] = {"Prefer": {"type": "string", "examples": ["wait=5"]}}
_KEY: Final[dict[str, Any]] = {
    "Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
}
_HTML: Final = "text/html"


class GroupList(msgspec.Struct, frozen=True):
    items: list[Group]
    next: str | None


class ReadView(msgspec.Struct, frozen=True, rename="camel"):
    message_id: str
    read: bool
    typing: bool


class DiscardedView(msgspec.Struct, frozen=True, rename="camel"):
    message_id: str
    discarded: bool


class TakenView(msgspec.Struct, frozen=True):
    """What a webhook's batch held."""

    messages: int
    statuses: int
    other: int


class Health(msgspec.Struct, frozen=True):
    status: str


OPERATIONS: Final[tuple[Operation, ...]] = (
    # --- sessions
    Operation(
        id="createSession",
        method="POST",
        path=f"{_API}/sessions",
        tag="sessions",
        summary="Create a session: a number, and the provider that it is reached by",
        handler=sessions.create,
        body=_json(NewSessionBody),
        answers={201: Result("Created", SessionView, headers={"Location": "Where the session is"})},
        problems=frozenset({403, 409}),
    ),
    Operation(
        id="listSessions",
        method="GET",
        path=f"{_API}/sessions",
        tag="sessions",
        summary="List sessions, by id",
        handler=sessions.find,
        query=SessionQuery,
        answers={200: Result("A part of the list", SessionList)},
    ),
    Operation(
        id="getSession",
        method="GET",
        path=_SESSION,
        tag="sessions",
        summary="Read a session; of its secrets, whether they are set",
        handler=sessions.read,
        answers={200: Result("The session", SessionView)},
        problems=frozenset({404}),
    ),
    Operation(
        id="changeSession",
        method="PATCH",
        path=_SESSION,
        tag="sessions",
        summary="Change a session, its provider too (RFC 7396 merge patch)",
        handler=sessions.change,
        body=Body(
            schema=SessionPatch,
            parse=lambda value: checked(SessionPatch, value),
            media_types=("application/merge-patch+json", "application/json"),
        ),
        answers={200: Result("The session as it is now", SessionView)},
        problems=frozenset({403, 404, 409}),
    ),
    Operation(
        id="deleteSession",
        method="DELETE",
        path=_SESSION,
        tag="sessions",
        summary="Log out and forget: the session, its messages and its keys",
        handler=sessions.delete,
        answers={204: Result("Gone", media_type=None)},
        problems=frozenset({404}),
    ),
    Operation(
        id="connectSession",
        method="POST",
        path=f"{_SESSION}/connect",
        tag="sessions",
        summary="Want it connected; with Prefer: wait=N, wait for it",
        handler=sessions.connect,
        headers=_WAIT,
        answers={
            200: Result("Connected", Status),
            202: Result("On its way, or waiting for a person", Status),
        },
        problems=frozenset({404}),
    ),
    Operation(
        id="disconnectSession",
        method="POST",
        path=f"{_SESSION}/disconnect",
        tag="sessions",
        summary="Want it disconnected; a pairing is kept",
        handler=sessions.disconnect,
        headers=_WAIT,
        answers={200: Result("Disconnected", Status), 202: Result("On its way", Status)},
        problems=frozenset({404}),
    ),
    Operation(
        id="logoutSession",
        method="POST",
        path=f"{_SESSION}/logout",
        tag="sessions",
        summary="Unpair it",
        handler=sessions.logout,
        answers={200: Result("Logged out", Status)},
        problems=frozenset({404}),
    ),
    Operation(
        id="setBreaker",
        method="POST",
        path=f"{_SESSION}/breaker",
        tag="sessions",
        summary="Hold its sends by hand, or let them go again",
        handler=sessions.breaker,
        body=_json(BreakerBody),
        answers={200: Result("The snapshot", Status)},
        problems=frozenset({404}),
    ),
    Operation(
        id="getSessionStatus",
        method="GET",
        path=f"{_SESSION}/status",
        tag="sessions",
        summary="How it is right now",
        handler=sessions.status,
        answers={200: Result("The snapshot", Status)},
        problems=frozenset({404}),
    ),
    Operation(
        id="getQr",
        method="GET",
        path=f"{_SESSION}/qr",
        tag="sessions",
        summary="The code to scan, while it is pairing",
        handler=sessions.qr,
        query=QrQuery,
        answers={
            200: Result(
                "The code", sessions.QrView, others=frozenset(sessions.QR_FORMS) - {"application/json"}
            )
        },
        problems=frozenset({404, 406, 409}),
    ),
    Operation(
        id="getPairingCode",
        method="POST",
        path=f"{_SESSION}/pairing-code",
        tag="sessions",
        summary="A code to type into the phone instead of scanning",
        handler=sessions.pairing_code,
        body=_json(PairingBody),
        answers={200: Result("The code", sessions.PairingCode)},
        problems=frozenset({404, 409, 502}),
    ),
    Operation(
        id="listCapabilities",
        method="GET",
        path="/api/whatsapp/capabilities",
        tag="sessions",
        summary="What each provider can send and do",
        handler=sessions.all_capabilities,
        answers={200: Result("The capabilities, by provider", sessions.CapabilitiesList)},
    ),
    Operation(
        id="getCapabilities",
        method="GET",
        path=f"{_SESSION}/capabilities",
        tag="sessions",
        summary="What its provider can send and do",
        handler=sessions.capabilities,
        answers={200: Result("The capabilities", Capabilities)},
        problems=frozenset({404}),
    ),
    Operation(
        id="listGroups",
        method="GET",
        path=f"{_SESSION}/groups",
        tag="sessions",
        summary="The groups it is in",
        handler=sessions.groups,
        answers={200: Result("The groups", GroupList)},
        problems=frozenset({404, 409, 422, 502}),
    ),
    Operation(
        id="getGroup",
        method="GET",
        path=f"{_SESSION}/groups/{{groupId}}",
        tag="sessions",
        summary="A group it is in, with its members",
        handler=sessions.group,
        answers={200: Result("The group", Group)},
        problems=frozenset({404, 409, 422, 502}),
    ),
    Operation(
        id="markRead",
        method="POST",
        path=f"{_SESSION}/read",
        tag="sessions",
        summary="Mark a customer's message read, and show that an answer is being written",
        handler=sessions.mark_read,
        body=_json(ReadBody),
        answers={200: Result("Marked", ReadView)},
        problems=frozenset({404, 409, 502}),
    ),
    *ACCOUNT_ROUTES,
    # --- messages
    Operation(
        id="send",
        method="POST",
        path=f"{_API}/send",
        tag="messages",
        summary="Send to a person: on disk before it is answered",
        handler=messages.send,
        headers=_KEY | _WAIT,
        body=Body(schema=SendBody, parse=parse_send),
        answers={
            200: Result("The provider has it", SentView, headers=messages.SENT_HEADERS),
            202: Result("Taken; it will be sent", SentView, headers=messages.SENT_HEADERS),
        },
        problems=frozenset({404, 409}),
    ),
    Operation(
        id="sendGroup",
        method="POST",
        path=f"{_API}/send-group",
        tag="messages",
        summary="Send to a group",
        handler=messages.send,
        headers=_KEY | _WAIT,
        body=Body(schema=SendGroupBody, parse=parse_send_group),
        answers={
            200: Result("The provider has it", SentView, headers=messages.SENT_HEADERS),
            202: Result("Taken; it will be sent", SentView, headers=messages.SENT_HEADERS),
        },
        problems=frozenset({404, 409}),
    ),
    Operation(
        id="sendBulk",
        method="POST",
        path=f"{_API}/send-bulk",
        tag="messages",
        summary="Send up to 1000 messages; each is taken, or refused, by itself",
        handler=messages.send_bulk,
        headers=_KEY,
        body=_json(BulkBody),
        answers={202: Result("What became of each, in their order", BulkView)},
    ),
    Operation(
        id="listMessages",
        method="GET",
        path=f"{_API}/messages",
        tag="messages",
        summary="List messages of both directions, newest first",
        handler=messages.find,
        query=MessageQuery,
        answers={200: Result("A part of the list", MessageList)},
        problems=frozenset({404}),
    ),
    Operation(
        id="getMessage",
        method="GET",
        path=_MESSAGE,
        tag="messages",
        summary="One message, with its history",
        handler=messages.read,
        answers={200: Result("The message", OutboundView | InboundView)},
        problems=frozenset({404}),
    ),
    Operation(
        id="cancelMessage",
        method="POST",
        path=f"{_MESSAGE}/cancel",
        tag="messages",
        summary="Stop a message that has not gone out",
        handler=messages.cancel,
        answers={200: Result("Cancelled", OutboundView)},
        problems=frozenset({404, 409}),
    ),
    Operation(
        id="listBulks",
        method="GET",
        path=f"{_API}/bulks",
        tag="messages",
        summary="The bulks that were given a name, newest first",
        handler=bulks.find,
        query=BulkListQuery,
        answers={200: Result("A part of the list", bulks.BulkList)},
        problems=frozenset({404}),
    ),
    Operation(
        id="getBulk",
        method="GET",
        path=f"{_API}/bulks/{{bulkId}}",
        tag="messages",
        summary="How far a bulk is",
        handler=bulks.read,
        query=BulkQuery,
        answers={200: Result("Its counts, and when the last of it leaves", bulks.BulkProgress)},
        problems=frozenset({404}),
    ),
    Operation(
        id="cancelBulk",
        method="POST",
        path=f"{_API}/bulks/{{bulkId}}/cancel",
        tag="messages",
        summary="Stop what of a bulk still waits; repeat it while some does",
        handler=bulks.cancel,
        query=BulkQuery,
        answers={200: Result("How many were cancelled, and how far it is", bulks.BulkCancelled)},
        problems=frozenset({404}),
    ),
    Operation(
        id="listDeadLetters",
        method="GET",
        path=f"{_API}/dead-letters",
        tag="dead letters",
        summary="What gave up, of both directions, newest first",
        handler=messages.find_dead,
        query=DeadLetterQuery,
        answers={200: Result("A part of the list", MessageList)},
    ),
    Operation(
        id="retryDeadLetter",
        method="POST",
        path=f"{_DEAD}/retry",
        tag="dead letters",
        summary="Try it again; one that was `unknown` may then arrive twice",
        handler=messages.retry_dead,
        answers={200: Result("On its way again", OutboundView | InboundView)},
        problems=frozenset({404, 409}),
    ),
    Operation(
        id="discardDeadLetter",
        method="DELETE",
        path=_DEAD,
        tag="dead letters",
        summary="Drop it from the list; the message stays readable",
        handler=messages.discard_dead,
        answers={200: Result("Discarded", DiscardedView)},
        problems=frozenset({404, 409}),
    ),
    # --- events and files
    Operation(
        id="listen",
        method="GET",
        path=f"{_API}/events",
        tag="events",
        summary="What happens, as Server-Sent Events; Last-Event-ID resumes",
        handler=sse.listen,
        query=sse.EventQuery,
        headers={"Last-Event-ID": sse.LAST_EVENT_ID},
        answers={200: Result("The stream", sse.EVENT_SCHEMA, sse.MEDIA_TYPE)},
        problems=frozenset({404}),
    ),
    Operation(
        id="uploadMedia",
        method="POST",
        path=media.PATH,
        tag="media",
        summary="Upload a file for sending",
        handler=media.upload,
        body=Body(schema=media.FORM_SCHEMA, media_types=(media.FORM,)),
        answers={
            201: Result("Stored with the provider", MediaView, headers={"Location": "Where the file is"})
        },
        problems=frozenset({400, 404, 409, 415, 422, 502}),
    ),
    Operation(
        id="getMedia",
        method="GET",
        path=f"{media.PATH}/{{mediaId}}",
        tag="media",
        summary="Fetch a file that was uploaded or received",
        handler=media.download,
        answers={
            200: Result(
                "The file", bytes, "*/*", headers={"ETag": "Its SHA-256, where wad has it on its disk"}
            ),
            304: Result("It is what If-None-Match says", media_type=None),
        },
        problems=frozenset({404, 409, 422, 502}),
    ),
    # --- webhooks
    Operation(
        id="webhookHandshake",
        method="GET",
        path="/webhooks/{provider}",
        tag="webhooks",
        summary="A provider asks whether this is the address it was given",
        handler=webhooks.handshake,
        access=Access.PROVIDER,
        query=HandshakeQuery,
        answers={200: Result("Its challenge", str, "text/plain")},
        problems=frozenset({403, 404}),
    ),
    Operation(
        id="sessionWebhookHandshake",
        method="GET",
        path="/webhooks/{provider}/{sessionId}",
        tag="webhooks",
        summary="The same, for one session's own address",
        handler=webhooks.handshake,
        access=Access.PROVIDER,
        query=HandshakeQuery,
        answers={200: Result("Its challenge", str, "text/plain")},
        problems=frozenset({403, 404}),
    ),
    Operation(
        id="webhook",
        method="POST",
        path="/webhooks/{provider}",
        tag="webhooks",
        summary="Messages and statuses from a provider, signed",
        handler=webhooks.take,
        access=Access.PROVIDER,
        body=Body(schema={}, media_types=("application/json",)),
        answers={200: Result("On disk", TakenView)},
        problems=frozenset({401, 404}),
    ),
    Operation(
        id="sessionWebhook",
        method="POST",
        path="/webhooks/{provider}/{sessionId}",
        tag="webhooks",
        summary="The same, for one session's own address",
        handler=webhooks.take,
        access=Access.PROVIDER,
        body=Body(schema={}, media_types=("application/json",)),
        answers={200: Result("On disk", TakenView)},
        problems=frozenset({401, 404}),
    ),
    # --- operating
    Operation(
        id="health",
        method="GET",
        path="/healthz",
        tag="operating",
        summary="The process lives",
        handler=ops.healthz,
        access=Access.ALWAYS,
        answers={200: Result("It does", Health)},
    ),
    Operation(
        id="readiness",
        method="GET",
        path="/readyz",
        tag="operating",
        summary="The sessions are back and the store answers",
        handler=ops.readyz,
        access=Access.ALWAYS,
        answers={200: Result("Ready", ops.Readiness), 503: Result("Not yet, or not any more", ops.Readiness)},
    ),
    Operation(
        id="metrics",
        method="GET",
        path="/metrics",
        tag="operating",
        summary="Metrics in Prometheus' text format",
        handler=ops.metrics,
        access=Access.ALWAYS,
        answers={200: Result("The metrics", str, "text/plain")},
    ),
    Operation(
        id="openapi",
        method="GET",
        path="/openapi.json",
        tag="operating",
        summary="This description",
        handler=pages.openapi,
        access=Access.ALWAYS,
        answers={200: Result("OpenAPI 3.1", dict)},
    ),
    Operation(
        id="docs",
        method="GET",
        path="/docs",
        tag="operating",
        summary="This description, for reading",
        handler=pages.docs,
        access=Access.ALWAYS,
        answers={200: Result("A page", str, _HTML)},
    ),
    Operation(
        id="problem",
        method="GET",
        path="/problems/{code}",
        tag="operating",
        summary="What a problem's `type` means",
        handler=pages.problem,
        access=Access.ALWAYS,
        answers={200: Result("A page", str, _HTML)},
        problems=frozenset({404}),
    ),
    Operation(
        id="home",
        method="GET",
        path="/",
        tag="operating",
        summary="The console",
        handler=pages.home,
        access=Access.ALWAYS,
        answers={200: Result("A page", str, _HTML)},
    ),
    Operation(
        id="consoleFile",
        method="GET",
        path="/console/{file}",
        tag="operating",
        summary="A part of the console",
        handler=pages.console,
        access=Access.ALWAYS,
        answers={200: Result("The file", bytes, "*/*"), 304: Result("As it was", media_type=None)},
        problems=frozenset({404}),
    ),
)
