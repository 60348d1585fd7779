"""Secrets, texts and numbers, planted everywhere: nothing that the process emits shows any of them.

All that it says at `debug`, its metrics, its refusals, its documents, its command line, and the bytes on disk.
What the API answers to who may read a message is the one exception.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import trio

from tests.acceptance.daemon import Daemon
from tests.acceptance.shop import API, Shop, a_phone, in_a_month, until
from tests.acceptance.town import Town, all_messages, running, town
from wad.sandbox.envelope import encode, signatures


class Canaries:
    """Values that stand nowhere else in the world, each with what it was planted as."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.paths: dict[
            str, str
        ] = {}  # what a caller asked for by name: it may be told that there is no such thing
        self.phones: list[str] = []

    def secret(self, name: str, value: str | None = None) -> str:
        self.secrets[name] = value or f"canarysecret{len(self.secrets):02}{name.replace(' ', '')}"
        return self.secrets[name]

    def text(self, name: str) -> str:
        self.texts[name] = f"canarytext{len(self.texts):02}{name.replace(' ', '')}"
        return self.texts[name]

    def path(self, name: str) -> str:
        self.paths[name] = f"canarypath{len(self.paths):02}{name.replace(' ', '')}"
        return self.paths[name]

    def phone(self) -> str:
        self.phones.append(a_phone())
        return self.phones[-1]

    def found(
        self, where: bytes, *, texts: bool = True, phones: bool = True, paths: bool = False
    ) -> list[str]:
        """What of them stands in *where*: as it is, quoted for a URL, or in base64."""
        planted = dict(self.secrets)
        planted |= self.texts if texts else {}
        planted |= self.paths if paths else {}
        planted |= {f"phone {phone}": phone.removeprefix("+") for phone in self.phones} if phones else {}
        return [
            name
            for name, value in planted.items()
            if any(form in where for form in (value.encode(), quote(value).encode(), *_in_base64(value)))
        ]


def _in_base64(value: str) -> list[bytes]:
    """*value* in base64 at each of the three places it may begin at, without the ends that depend on what is beside."""
    return [base64.b64encode(b"x" * shift + value.encode())[4:-4] for shift in range(3)]


async def test_nothing_that_is_planted_comes_out(tmp_path: Path) -> None:
    """Every kind of traffic, of trouble and of mistake, at the most talkative level; then everything is searched."""
    canaries = Canaries()
    refusals: list[httpx.Response] = []
    async with _world(tmp_path, canaries) as (here, daemon, its, owner):
        await _send_everything(its, canaries)
        await _receive_everything(its, canaries)
        await _have_the_provider_talk(its, canaries)
        await _have_the_flow_talk(here, its, canaries)
        await _make_mistakes(daemon, its, owner, canaries, refusals)
        await here.until_quiet()

        # All of it did pass through: who may read the messages finds it there.
        lived = canaries.found(json.dumps(await all_messages(daemon)).encode())
        told = {
            "text",
            "caption",
            "place",
            "question",
            "parameter",
            "bulk",
            "inbound text",
            "name",
            "payload",
        }
        assert told <= set(lived)
        assert {f"phone {phone}" for phone in canaries.phones[:3]} <= set(lived)
        assert not canaries.secrets.keys() & set(lived)

        metrics = await its.api.get("/metrics")
        document = await its.api.get("/openapi.json")
        views = [
            await its.api.get(path)
            for path in (f"{API}/sessions", its.path, f"{its.path}/status", f"{its.path}/capabilities")
        ]
        command_line = await trio.Path(f"/proc/{daemon.pid}/cmdline").read_bytes()
        daemon.kill()  # with its write-ahead log as it is
        on_disk = {path.name: path.read_bytes() for path in (tmp_path / "var").iterdir() if path.is_file()}
        await daemon.start()
        assert await daemon.stop() == 0
        on_disk |= {
            f"{path.name} after a stop": path.read_bytes() for path in (tmp_path / "var").glob("wad.db*")
        }
        await _start_with_mistakes(daemon, canaries)

    log = daemon.log.read_bytes()
    assert len(log.splitlines()) > 200  # it was talkative
    assert canaries.found(log, paths=True) == []
    assert b"wamid." not in log  # a wamid holds a number
    assert canaries.found(metrics.content, paths=True) == []
    assert canaries.found(document.content) == []
    assert canaries.found(command_line) == []
    for view in views:
        assert view.status_code == 200
        assert canaries.found(view.content, texts=False, phones=False) == [], view.text
    for refusal in refusals:
        assert refusal.status_code >= 400, refusal.text
        assert canaries.found(refusal.content) == [], (refusal.request.url.path, refusal.text)
    assert {"wad.db", "wad.db after a stop"} <= on_disk.keys()
    for name, data in on_disk.items():
        assert canaries.found(data, phones=False) == [], name
    # Numbers are there, masked: the log is of use.
    masked = {f"{phone[:6]}****{phone[-4:]}".encode() for phone in canaries.phones}
    assert any(mask in log for mask in masked)


@asynccontextmanager
async def _world(
    directory: Path, canaries: Canaries
) -> AsyncIterator[tuple[Town, Daemon, Shop, httpx.AsyncClient]]:
    owners = canaries.secret("token of a shop", "wad_canarytoken_" + "o" * 32)
    flow_secret = canaries.secret(
        "flow secret", "whsec_" + base64.b64encode(b"canary of the config's flow").decode()
    )
    async with town(directory) as here:
        config = here.config(
            cloud_api={
                "app_secret": canaries.secret("app secret of the config"),
                "verify_token": canaries.secret("verify token of the config"),
                "timeout": "2s",
            },
            auth={
                "tokens": [
                    {"name": "test", "token": "wad_test_" + "t" * 32, "scope": "admin"},
                    {"name": "owner", "token": owners, "scope": "shop", "shops": ["canary-shop"]},
                ]
            },
            secrets={"master_key": canaries.secret("master key", base64.b64encode(b"canary master key 32 bytes long!").decode())},
            log={"level": "debug"},
            limits={"settle_window": "3s"},
        )  # fmt: skip
        config["flow"]["secret"] = flow_secret
        config["flow"]["events"] = [
            "message.status",
            "message.dead_letter",
            "session.state",
            "account.update",
        ]
        canaries.secret("token of an admin", "wad_test_" + "t" * 32)
        async with (
            running(here, directory, **config) as daemon,
            daemon.client() as api,
            daemon.client(owners) as owner,
        ):
            its = Shop(here, daemon, api, "canary")
            its.token = canaries.secret("access token", "EAAcanaryAccessToken0123456789")
            app_secret = canaries.secret("app secret of the session")
            verify_token = canaries.secret("verify token of the session")
            await here.control(
                "POST", "/numbers", phoneNumberId=its.number, accessToken=its.token,
                appId="canary-app", appSecret=app_secret, verifyToken=verify_token,
            )  # fmt: skip
            its.secrets = {"appSecret": app_secret, "verifyToken": verify_token}
            await its.open(
                shopId="canary-shop",
                settings={"flowSecret": canaries.secret("flow secret of the session", "whsec_" + base64.b64encode(b"canary of the session's flow").decode()), "flowUrl": here.flow.url},
            )  # fmt: skip
            yield here, daemon, its, owner


# --- traffic ------------------------------------------------------------------------------------------


async def _send_everything(its: Shop, canaries: Canaries) -> None:
    """Each content with a text in it, as a message of its own, and to people by number and by user id."""
    text = canaries.text
    to = canaries.phone()
    sent = [
        {"text": text("text")},
        {"image": {"link": f"https://example.com/{text('link')}.jpg", "caption": text("caption")}},
        {"document": {"link": "https://example.com/a.pdf", "filename": text("file name") + ".pdf"}},
        {"location": {"latitude": 19.4, "longitude": -99.1, "name": text("place"), "address": text("address")}},
        {"contacts": [{"name": {"formattedName": text("contact"), "firstName": "Ana"}, "phones": [{"phone": canaries.phone()}]}]},
        {"interactive": {"type": "button", "body": {"text": text("question")}, "action": {"buttons": [{"type": "reply", "reply": {"id": text("button id"), "title": "Sí"}}]}}},
        {"template": {"name": "order_confirmation", "language": {"code": "en_US"}, "components": [{"type": "body", "parameters": [{"type": "text", "text": text("parameter")}] * 3}]}},
    ]  # fmt: skip
    for content in sent:
        answer = await its.api.post(f"{API}/send", json={"sessionId": "canary", "to": to, **content})
        assert answer.status_code == 202, answer.text
        await its.until(answer.json()["messageId"], "read", "failed")
    scheduled = await its.taken(text("scheduled"), to, sendAt=in_a_month())
    await its.api.post(f"{API}/messages/{scheduled}/cancel")
    key = canaries.secret("idempotency key")
    del canaries.secrets["idempotency key"]  # it is the caller's own word, and stands in the store as it is
    await its.send(text("with a key"), to, key=key)
    await its.send(text("with another body"), to, key=key)
    bulk = {"messages": [{"sessionId": "canary", "to": canaries.phone(), "text": text("bulk")}, {"to": to}]}
    assert (await its.api.post(f"{API}/send-bulk", json=bulk)).status_code == 202


async def _receive_everything(its: Shop, canaries: Canaries) -> None:
    text = canaries.text
    sender = {"phone": canaries.phone(), "name": text("name")}
    base: dict[str, Any] = {"phoneNumberId": its.number, "from": sender}
    for content in (
        {"type": "text", "text": {"body": text("inbound text")}},
        {"type": "image", "image": {"caption": text("inbound caption")}},
        {"type": "location", "location": {"latitude": 1, "longitude": 2, "name": text("inbound place")}},
        {"type": "button", "button": {"payload": text("payload"), "text": text("button")}},
        {"type": "contacts", "contacts": [{"name": {"formatted_name": text("inbound contact")}, "phones": [{"phone": canaries.phone()}]}]},
        {"type": "unsupported", "unsupported": {"type": text("unsupported")}},
    ):  # fmt: skip
        await its.here.control("POST", "/inbound", **base, **content)
    await its.here.control(
        "POST", "/event", phoneNumberId=its.number, field="account_alerts", value={"note": text("alert")}
    )
    await until(its.sends, lambda s: text_of(s[-1]).startswith("re: "), what="the answer")
    await its.here.until_quiet()
    listed = await its.api.get(f"{API}/messages", params={"sessionId": "canary", "direction": "inbound"})
    for message in listed.json()["items"]:
        await its.api.post(f"{its.path}/read", json={"messageId": message["messageId"], "typing": True})
    # The same, from somebody who is not Meta, and from Meta in bytes that mean nothing.
    for body, secret in (
        (encode({"entry": [{"changes": text("forged")}], "phone": canaries.phone()}), "guessed"),
        (f"{text('nonsense')} {canaries.phone()}".encode(), its.secrets["appSecret"]),
        (encode({"entry": [{"id": "1", "changes": [{"field": "messages", "value": {"messages": [{"id": "wamid.X", "type": text("odd type"), "from": canaries.phone()}], "metadata": {"phone_number_id": its.number}}}]}]}), its.secrets["appSecret"]),
    ):  # fmt: skip
        url = f"{its.daemon.url}/webhooks/cloud_api/canary"
        await its.here.client.post(url, content=body, headers=signatures(secret, body))


def text_of(send: dict[str, Any]) -> str:
    return str(send["body"].get("text", {}).get("body", ""))


async def _have_the_provider_talk(its: Shop, canaries: Canaries) -> None:
    """Meta, and proxies before it, repeat what they were sent: the token, and the number. The text, nobody repeats."""
    echo = f"{its.token} {its.secrets['appSecret']} +{canaries.phone()[1:]}"
    html = f"<html><body>{echo} {canaries.text('page')}</body></html>"
    for fault in (
        {"kind": "error", "code": 131026, "message": f"cannot send {echo}", "details": echo},
        {"kind": "error", "code": 131000, "message": echo},
        {"kind": "error", "code": 999999, "http": 400, "message": echo},
        {"kind": "http", "status": 500, "html": True, "body": html},
        {"kind": "http", "status": 400, "body": html},
        {"kind": "http", "status": 302, "headers": {"Location": f"https://example.com/?access_token={its.token}"}},
        {"kind": "garbage", "body": html},
        {"kind": "hang"},
        {"kind": "cut", "after": "before"},
    ):  # fmt: skip
        await its.fault(**fault)
        answer = await its.send(canaries.text("of a fault"), canaries.phone(), wait=20)
        assert canaries.found(answer.content, texts=False, phones=False) == [], answer.text
    await its.fault("error", code=190, message=echo)
    await its.send(canaries.text("of bad credentials"), canaries.phone(), wait=1)
    await its.until_status(state="bad_credentials")
    await its.api.post(f"{its.path}/connect", headers={"Prefer": "wait=20"})
    await its.until_status(state="connected")


async def _have_the_flow_talk(here: Town, its: Shop, canaries: Canaries) -> None:
    """A flow that breaks, or answers what cannot be sent, quoting the customer."""
    for body, status in (
        (canaries.text("of a flow's 500"), 500),
        (canaries.text("of a flow's nonsense"), 200),
        (json.dumps({"replies": [{"text": "", "colour": canaries.text("of a bad reply")}]}), 200),
        (canaries.text("of a flow's 400"), 400),
    ):
        here.flow.script["/"].append((body, status))
        heard = len(here.flow.events)
        await its.writes(canaries.phone(), canaries.text("for a broken flow"))

        async def events(heard: int = heard) -> int:
            return len(here.flow.events) - heard

        await until(events, lambda more: more > 0, what="the flow asked")


# --- mistakes -----------------------------------------------------------------------------------------


async def _make_mistakes(
    daemon: Daemon, its: Shop, owner: httpx.AsyncClient, canaries: Canaries, refusals: list[httpx.Response]
) -> None:
    """Requests that are wrong in every part, with something planted in that part."""
    text, secret = canaries.text, canaries.secret
    guess = secret("a guessed token", "wad_canaryguess_" + "g" * 32)
    path = f"{API}/messages/{canaries.path('a message')}"
    created = {"provider": "cloud_api", "sessionId": "canary", "credentials": its.credentials}
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", path, {}),
        ("GET", f"/nowhere/{canaries.path('nowhere')}", {}),
        ("GET", f"{API}/messages?to={quote(text('query'))}&limit=many", {}),
        ("GET", f"{API}/messages?access_token={secret('token in a query')}&limit=0", {}),
        ("POST", f"{API}/send", {"content": f'{{"text": "{text("cut JSON")}'.encode(), "headers": {"Content-Type": "application/json"}}),
        ("POST", f"{API}/send", {"content": text("not JSON"), "headers": {"Content-Type": "text/plain"}}),
        ("POST", f"{API}/send", {"json": {"sessionId": "canary", "to": text("bad number"), "text": text("with a bad number")}}),
        ("POST", f"{API}/send", {"json": {"sessionId": "canary", "to": canaries.phone(), "text": {"body": text("misspelt"), "colour": text("unknown field")}}}),
        ("POST", f"{API}/send", {"json": {"sessionId": "canary", "to": canaries.phone(), "type": text("bad type")}}),
        ("POST", f"{API}/send", {"json": [text("not an object")]}),
        ("POST", f"{API}/sessions", {"json": created}),
        ("POST", f"{API}/sessions", {"json": {"provider": "cloud_api", "credentials": {"accessToken": secret("a bad credential") + " with spaces"}}}),
        ("POST", f"{API}/sessions", {"json": {"provider": "cloud_api", "credentials": {"colour": secret("an unknown credential")}}}),
        ("PATCH", its.path, {"json": {"credentials": {"accessToken": secret("a list") and [secret("a listed credential")]}}}),
        ("PATCH", its.path, {"json": {"settings": {"flowSecret": secret("a bad flow secret")}}}),
        ("PATCH", its.path, {"json": {"settings": {"flowUrl": f"http://user:{secret('a password in a URL')}@10.0.0.1/"}}}),
    ]  # fmt: skip
    for method, where, more in requests:
        refusals.append(await its.api.request(method, where, **more))
    async with daemon.client(guess) as stranger:
        refusals.append(await stranger.get(f"{API}/messages"))
        refusals.append(await stranger.post(f"{API}/send", json={"text": text("of a stranger")}))
    refusals.append(await owner.get(f"{API}/sessions/{canaries.path('a session')}"))
    webhook = f"/webhooks/cloud_api/canary?hub.mode=subscribe&hub.challenge=1&hub.verify_token={secret('a guessed verify token')}"
    refusals.append(await its.api.get(webhook))
    stream = await trio.open_tcp_stream("127.0.0.1", daemon.port)
    async with stream:  # what no client library would send
        await stream.send_all(
            f"GET /{canaries.path('raw')} HTTP/1.1\r\nHost: x\r\nAuthorization: {guess}\r\nBad Header\r\n\r\n".encode()
        )
        answer = b""
        while part := await stream.receive_some():
            answer += part
    assert canaries.found(answer) == []


async def _start_with_mistakes(daemon: Daemon, canaries: Canaries) -> None:
    """A configuration whose secrets are themselves the mistake is refused without being quoted."""
    daemon.configure(
        secrets={"master_key": canaries.secret("not a key")},
        auth={
            "tokens": [{"name": "short", "token": canaries.secret("short", "canaryshort"), "scope": "admin"}]
        },
        store={"url": f"mongo://user:{canaries.secret('a password of a store')}@example.com/"},
        flow={"url": f"ftp://user:{canaries.secret('a password of a flow')}@example.com/"},
    )
    daemon.launch()
    assert await daemon.ended() == 78
