"""The world around the daemon: a Graph API that always says yes, a flow service that answers, and many callers.

It knows when each message came, so that both ends of a latency are on one clock. Nothing in here does work that a
real Graph or a real caller would be measured by: it is there to cost little, and says how much that was.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from itertools import count

import msgspec

from bench.wire import Client, Loop, Server, clock

NUMBERS = 20  # sessions that a load is spread over: Meta gives a number 80 messages a second
APP_SECRET = "bench-app-secret"
TOKEN = "wad_bench_" + "t" * 32

_decode = msgspec.json.decode
_TEXT = "Hola {}, su pedido va en camino y llega hoy entre las 3 y las 5 de la tarde. Gracias por su compra."


class World:
    """The loop, the two servers, and what they heard."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.accepted: dict[str, float] = {}  # the sender's own id of a message -> when Graph took it
        self.replied: dict[str, float] = {}  # the text of a reply -> when Graph took it
        self.asked: dict[str, float] = {}  # the text of an inbound message -> when the flow was asked
        self.probes = 0
        self._wamids = count(1)
        self.graph = Server(self.loop, self._graph)
        self.flow = Server(self.loop, self._flow)

    @property
    def graph_url(self) -> str:
        return f"http://127.0.0.1:{self.graph.port}"

    @property
    def flow_url(self) -> str:
        return f"http://127.0.0.1:{self.flow.port}/"

    def forget(self) -> None:
        for heard in (self.accepted, self.replied, self.asked):
            heard.clear()

    def _graph(self, start: bytes, body: bytes) -> tuple[bytes, bytes]:
        now = clock()
        if start.startswith(b"GET "):
            self.probes += 1
            number = start.split(b"?", 1)[0].rsplit(b"/", 1)[-1]
            return b"200 OK", _PROOF % (number, number[-7:])
        sent = _decode(body)
        self.accepted[sent["biz_opaque_callback_data"]] = now
        text = sent["text"]["body"]
        if text.startswith("re: "):
            self.replied[text[4:]] = now
        to = sent["to"].encode()
        return b"200 OK", _TAKEN % (to, to[1:], next(self._wamids))

    def _flow(self, _start: bytes, body: bytes) -> tuple[bytes, bytes]:
        text = _decode(body)["data"]["text"]["body"]
        self.asked[text] = clock()
        return b"200 OK", msgspec.json.encode({"replies": [{"text": f"re: {text}"}]})


_TAKEN = (
    b'{"messaging_product":"whatsapp","contacts":[{"input":"%s","wa_id":"%s"}],'
    b'"messages":[{"id":"wamid.HBgNNTIxNTUxMjM0NTY3OBUCABEYEj%012d"}]}'
)
_PROOF = (
    b'{"id":"%s","display_phone_number":"+52 1 55 %s","verified_name":"Tienda","quality_rating":"GREEN",'
    b'"status":"CONNECTED","throughput":{"level":"STANDARD"}}'
)


class Call:
    """One request of a caller: when it was due, and what came back when."""

    __slots__ = ("answered", "body", "due", "key", "request")

    def __init__(self, key: str, request: bytes) -> None:
        self.key, self.request = key, request
        self.due = self.answered = 0.0
        self.body = b""

    @property
    def seconds(self) -> float:
        return self.answered - self.due


def run_callers(
    world: World,
    port: int,
    calls: Iterator[Call],
    *,
    callers: int,
    rate: float | None = None,
    done: Callable[[list[Call]], bool],
    expected: int,
    seconds: float = 120.0,
) -> list[Call]:
    """Have *callers* make *calls*, each the next one as soon as it has its answer; return once *done* says so.

    Raises RuntimeError for an answer of another status than *expected*.

    With *rate*, calls are due that often, whoever is free makes them, and a call that is late has been waiting since
    it was due: a slow answer is not hidden by fewer questions.
    """
    finished: list[Call] = []
    free = [Client(world.loop, port) for _ in range(callers)]
    clients = list(free)
    due: list[Call] = []
    started = clock()
    numbers = count()
    out = 0

    def ask(client: Client, call: Call) -> None:
        nonlocal out
        out += 1

        def heard(status: int, body: bytes) -> None:
            nonlocal out
            out -= 1
            if status != expected:
                raise RuntimeError(f"{status} {body!r}")
            call.answered, call.body = clock(), body
            finished.append(call)
            free.append(client)
            go_on()

        if rate is None:
            call.due = clock()
        client.ask(call.request, heard)

    def go_on() -> None:
        while free:
            call = due.pop(0) if due else next(calls, None) if rate is None else None
            if call is None:
                return
            ask(free.pop(), call)

    def fall_due() -> None:
        call = next(calls, None)
        if call is None:
            return
        call.due = started + next(numbers) / rate
        due.append(call)
        world.loop.at(call.due + 1 / rate, fall_due)
        go_on()

    if rate is None:
        go_on()
    else:
        fall_due()
    world.loop.run(lambda: not out and not due and done(finished), seconds)
    for client in clients:
        client.close()
    return finished


# --- requests ---------------------------------------------------------------------------------------


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


AUTHORIZATION = f"Authorization: Bearer {TOKEN}"


def send_body(number: int) -> dict[str, object]:
    """A text to one of many people, from one of the sessions."""
    return {
        "sessionId": f"bench-{number % NUMBERS:05}",
        "to": f"+521551{number % 10_000_000:07}",
        "type": "text",
        "text": {"body": _TEXT.format(number)},
    }


def creates(many: int) -> Iterator[Call]:
    for number in range(many):
        body = msgspec.json.encode(
            {
                "sessionId": f"bench-{number:05}",
                "provider": "cloud_api",
                "credentials": {
                    "accessToken": f"EAA{number:0200}",
                    "phoneNumberId": phone_number_id(number),
                },
            }
        )
        yield Call(str(number), post("/api/whatsapp/sessions", body, AUTHORIZATION))


def sends(first: int, many: int) -> Iterator[Call]:
    for number in range(first, first + many):
        body = msgspec.json.encode(send_body(number))
        yield Call(str(number), post("/api/whatsapp/send", body, AUTHORIZATION))


def bulks(first: int, many: int, size: int) -> Iterator[Call]:
    for at in range(first, first + many * size, size):
        body = msgspec.json.encode({"messages": [send_body(number) for number in range(at, at + size)]})
        yield Call(str(at), post("/api/whatsapp/send-bulk", body, AUTHORIZATION))


def webhooks(first: int, many: int) -> Iterator[Call]:
    for number in range(first, first + many):
        phone = f"521551{number % 10_000_000:07}"
        text = f"hola {number}"
        value = {
            "messaging_product": "whatsapp",
            "metadata": {
                "display_phone_number": "5215550000000",
                "phone_number_id": phone_number_id(number % NUMBERS),
            },
            "contacts": [{"profile": {"name": "Ana"}, "wa_id": phone}],
            "messages": [
                {
                    "from": phone,
                    "id": f"wamid.in{number:020}",
                    "timestamp": "1764000000",
                    "type": "text",
                    "text": {"body": text},
                }
            ],
        }
        body = msgspec.json.encode(
            {
                "object": "whatsapp_business_account",
                "entry": [{"id": "1", "changes": [{"value": value, "field": "messages"}]}],
            }
        )
        signature = hmac.digest(APP_SECRET.encode(), body, hashlib.sha256).hex()
        yield Call(text, post("/webhooks/cloud_api", body, f"X-Hub-Signature-256: sha256={signature}"))


def phone_number_id(number: int) -> str:
    return str(100_000_000_000_000 + number)
