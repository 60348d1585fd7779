"""`wad sessions ...`: the sessions of a running daemon."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from wad.cli.api import Api, api_options
from wad.cli.command import Group
from wad.cli.show import fields, progress, show_json, table
from wad.cli.stop import Stop

#: Seconds of one `Prefer: wait`: below the daemon's `http.max_wait`. Longer waits are several of them.
_STEP: Final = 10.0


def path_of(session_id: str, rest: str = "") -> str:
    return f"/sessions/{quote(session_id, safe='')}{rest}"


@click.group(
    cls=Group,
    examples="""
    wad sessions list --state bad_credentials
    wad sessions create tienda-1 --provider cloud_api \\
        --credential phoneNumberId=1055 --credential accessToken=file:token.txt
    wad sessions connect tienda-1 --timeout 60
    """,
)
def sessions() -> None:
    """Create, list, connect and remove sessions."""


@sessions.command("list")
@click.option("--shop", metavar="SHOP", help="Of this shop alone.")
@click.option("--provider", help="Of this provider alone, such as cloud_api.")
@click.option("--state", help="In this state alone, such as connected or bad_credentials.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@api_options
def list_(
    api: Api, *, shop: str | None, provider: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List sessions, by id."""
    found, more = api.items("/sessions", limit=limit, shopId=shop, provider=provider, state=state)
    if as_json:
        show_json({"items": found, "next": more})
        return
    if not found:
        progress("no sessions; `wad sessions create --help` says how to make one")
        return
    table(
        ("SESSION", "PROVIDER", "NUMBER", "SHOP", "STATE", "LAST SEEN", "REASON"),
        [
            (
                each["sessionId"],
                each["provider"],
                each["phoneNumber"],
                each["shopId"],
                each["state"],
                each["lastSeen"],
                (each["reason"] or {}).get("code"),
            )
            for each in found
        ],
    )
    if more:
        progress(f"and more: --limit {limit * 10}")


@sessions.command(
    examples="""
    wad sessions create tienda-1 --provider cloud_api --shop shop-9 \\
        --credential phoneNumberId=1055 --credential accessToken=file:token.txt \\
        --credential appSecret=env:APP_SECRET
    wad sessions create tienda-2 --provider cloud_api --credential phoneNumberId=1056 \\
        --credential accessToken=- --setting rate=20 --setting flowUrl=https://flow.example.com/in
    """
)
@click.argument("session_id", required=False, metavar="[ID]")
@click.option("--provider", required=True, help="Such as cloud_api.")
@click.option("--shop", metavar="SHOP", help="Whose it is.")
@click.option("--phone", metavar="+NUMBER", help="The number, where the provider does not tell.")
@click.option(
    "--credential",
    "credentials",
    multiple=True,
    metavar="NAME=VALUE",
    help="What it proves itself with (repeatable). VALUE may be file:PATH, env:NAME, or - to be asked.",
)
@click.option(
    "--setting", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of its own (repeatable)."
)
@click.option("--no-connect", is_flag=True, help="Do not connect it yet.")
@api_options
def create(
    api: Api,
    *,
    session_id: str | None,
    provider: str,
    shop: str | None,
    phone: str | None,
    credentials: tuple[str, ...],
    settings: tuple[str, ...],
    no_connect: bool,
    as_json: bool,
) -> None:
    """Create a session. Without an ID wad gives it one."""
    body: dict[str, Any] = {
        "sessionId": session_id,
        "shopId": shop,
        "provider": provider,
        "phoneNumber": phone,
        "credentials": {name: _secret(name, value) for name, value in map(_pair, credentials)},
        "settings": {name: _json_or_text(value) for name, value in map(_pair, settings)} or None,
        "connect": not no_connect,
    }
    session = api.post("/sessions", {key: value for key, value in body.items() if value is not None})
    if as_json:
        show_json(session)
        return
    click.echo(f"created {session['sessionId']}")
    if provider == "baileys" and not no_connect:
        progress(f"next: wad qr {session['sessionId']} shows the code that a phone has to scan")
    else:
        progress(f"next: wad sessions connect {session['sessionId']} waits until it is connected")


def _pair(written: str) -> tuple[str, str]:
    name, equals, value = written.partition("=")
    if not name or not equals:
        raise click.UsageError(f"should be NAME=VALUE: {written!r}")
    return name, value


def _secret(name: str, value: str) -> str:
    """A credential, kept out of the shell's history and the process list where the person wants it so."""
    try:
        if value == "-":
            return str(click.prompt(name, hide_input=True, err=True))
        if value.startswith("file:"):
            return Path(value.removeprefix("file:")).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{name}: cannot read {value.removeprefix('file:')}: {error}") from error
    if value.startswith("env:"):
        try:
            return os.environ[value.removeprefix("env:")]
        except KeyError:
            raise click.UsageError(f"{name}: ${value.removeprefix('env:')} is not set") from None
    return value


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


@sessions.command()
@click.argument("session_id", metavar="ID")
@api_options
def status(api: Api, session_id: str, as_json: bool) -> None:
    """Show how a session is.

    It comes from memory, and costs nothing to ask often.
    """
    _show_status(api.get(path_of(session_id, "/status")), as_json=as_json)


@sessions.command()
@click.argument("session_id", metavar="ID")
@click.option("--no-wait", is_flag=True, help="Ask for it, and do not wait until it is.")
@click.option(
    "--timeout", default=20.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait at most."
)
@api_options
def connect(api: Api, session_id: str, no_wait: bool, timeout: float, as_json: bool) -> None:
    """Have a session connected.

    Now, and after every restart of the daemon. Exit status 75 where it is not connected yet when the wait is over, 69 where a person has to mend something.
    """
    now = _wanted(api, session_id, "connect", timeout=0 if no_wait else timeout, until="connected")
    _show_status(now, as_json=as_json)
    if now["state"] != "connected" and not no_wait:
        raise _not_connected(now)


@sessions.command()
@click.argument("session_id", metavar="ID")
@click.option("--no-wait", is_flag=True, help="Ask for it, and do not wait until it is.")
@click.option(
    "--timeout", default=20.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait at most."
)
@api_options
def disconnect(api: Api, session_id: str, no_wait: bool, timeout: float, as_json: bool) -> None:
    """Have a session disconnected.

    Until somebody connects it again. It keeps its pairing and its messages.
    """
    now = _wanted(api, session_id, "disconnect", timeout=0 if no_wait else timeout, until="disconnected")
    _show_status(now, as_json=as_json)
    if now["state"] != "disconnected" and not no_wait:
        raise Stop(os.EX_TEMPFAIL, f"{session_id} is {now['state']}, not disconnected yet")


@sessions.command(
    examples="""
    wad sessions breaker tienda-1 isolate
    wad sessions breaker tienda-1 close
    """
)
@click.argument("session_id", metavar="ID")
@click.argument("action", type=click.Choice(["isolate", "close"]))
@api_options
def breaker(api: Api, session_id: str, action: str, as_json: bool) -> None:
    """Hold what a session sends, or let it go.

    `isolate` holds it until somebody says `close`, through restarts of the daemon too; what waits is kept, and new messages are taken. `close` also ends what failing calls to the provider began.
    """
    _show_status(api.post(path_of(session_id, "/breaker"), {"action": action}), as_json=as_json)


@sessions.command()
@click.argument("session_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def logout(api: Api, session_id: str, yes: bool, as_json: bool) -> None:
    """Unpair a session from its phone.

    Connecting it again takes the phone. It keeps its messages. One whose provider pairs with no phone is disconnected.
    """
    if not yes:
        click.confirm(f"unpair {session_id}? Only its phone can pair it again", abort=True, err=True)
    _show_status(api.post(path_of(session_id, "/logout")), as_json=as_json)


@sessions.command()
@click.argument("session_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def delete(api: Api, session_id: str, yes: bool, as_json: bool) -> None:
    """Log a session out and forget it.

    With its messages and its keys. This cannot be undone.
    """
    if not yes:
        click.confirm(f"forget {session_id} and all its messages?", abort=True, err=True)
    api.request("DELETE", path_of(session_id))
    if as_json:
        show_json({"deleted": session_id})
    else:
        click.echo(f"deleted {session_id}")


def _wanted(api: Api, session_id: str, verb: str, *, timeout: float, until: str) -> dict[str, Any]:
    """Ask for a state, and wait for it in steps, telling each state on the way."""
    ends = time.monotonic() + timeout
    told: str | None = None
    while True:
        left = ends - time.monotonic()
        now: dict[str, Any] = api.post(path_of(session_id, f"/{verb}"), wait=max(0, min(_STEP, left)))
        if now["state"] == until or ends <= time.monotonic() or _settled(now, until):
            return now
        if told != now["state"]:
            told = now["state"]
            scan = f" (`wad qr {session_id}` shows its code)" if told == "pairing" else ""
            progress(f"{session_id} is {told}{scan}; waiting {max(0, left):.0f} s at most")
        time.sleep(0.2)


def _settled(now: dict[str, Any], until: str) -> bool:
    """Whether waiting will not help."""
    return until == "connected" and bool((now["reason"] or {}).get("needsPerson"))


def _not_connected(now: dict[str, Any]) -> Stop:
    reason = now["reason"] or {}
    why = f": {reason['detail']} ({reason['code']})" if reason else ""
    if reason.get("needsPerson"):
        return Stop(
            os.EX_UNAVAILABLE,
            f"{now['sessionId']} is {now['state']}{why}",
            next_step="waiting will not help: mend that, then connect again",
            session=now,
        )
    if now["state"] == "pairing":
        step = f"a phone has to scan its code: `wad qr {now['sessionId']}` shows it"
    else:
        step = f"it goes on trying; `wad sessions status {now['sessionId']}` tells how it is"
    return Stop(
        os.EX_TEMPFAIL,
        f"{now['sessionId']} is {now['state']}, not connected yet{why}",
        next_step=step,
        session=now,
    )


def _show_status(now: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(now)
        return
    reason = now["reason"] or {}
    queue = now["queue"]
    fields(
        {
            "session": now["sessionId"],
            "state": now["state"],
            "wanted": now["desiredState"],
            "reason": f"{reason['detail']} ({reason['code']})" if reason else None,
            "needs a person": True if reason.get("needsPerson") else None,
            "since": now["since"],
            "last seen": now["lastSeen"],
            "provider": now["provider"],
            "number": now["phoneNumber"],
            "shop": now["shopId"],
            "queue": f"{queue['depth']}, the oldest for {queue['oldestSeconds']:.0f} s"
            if queue["depth"]
            else 0,
            "rate": f"{now['rate']:g} a second",
            "drained": True if now["drained"] else None,
            "last sent": now["lastOutboundAt"],
            "last received": now["lastInboundAt"],
            "restarts": now["restarts"] or None,
            "next try": now["nextRetryAt"],
            "breaker": now["breaker"],
            "node": now["node"],
        }
    )
