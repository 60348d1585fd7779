"""`wad tail [ID]`: the event stream, line by line. It comes back after a lost connection without a gap."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from wad.cli.api import Api, api_options
from wad.cli.command import command
from wad.cli.refusal import Refusal, Unreachable
from wad.cli.show import progress
from wad.cli.sse import Event, EventLines
from wad.redaction import escaped

#: The daemon writes a comment after 15 s without an event; three of them missing is a dead connection.
_SILENCE: Final = 45.0
_PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds before coming back; the last one repeats


@command(
    examples="""
    wad tail                                          everything, from now on
    wad tail tienda-1 --types message.received
    wad tail --after 1733058000123456 --json          from that event on, as JSON lines
    wad tail --json | jq -r 'select(.type == "message.received") | .data.from.phone'
    """
)
@click.argument("session_id", required=False, metavar="[ID]")
@click.option("--types", metavar="TYPE,...", help="Only these, such as message.received,session.state.")
@click.option("--after", metavar="EVENT", help="Start with what came after the event of this id.")
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@api_options
def tail(
    api: Api,
    *,
    session_id: str | None,
    types: str | None,
    after: str | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Follow what happens, as it happens.

    Messages, their statuses, the states of sessions: of the session ID, or of all. It comes back after a lost
    connection, without a gap.
    """
    query = {key: value for key, value in (("sessionId", session_id), ("types", types)) if value}
    for number, (event_id, event) in enumerate(_followed(api, query, after), 1):
        if as_json:
            click.echo(json.dumps({"id": event_id, **event}))
        else:
            click.echo(event_line(event))
        if number == count:
            return


def _followed(api: Api, query: dict[str, str], last: str | None) -> Iterator[Event]:
    """Every event with its id. Only a stream that once began is worth coming back to."""
    began = False
    failures = 0
    while True:
        headers = {} if last is None else {"Last-Event-ID": last}
        try:
            with api.stream("/events", query=query, headers=headers, silence=_SILENCE) as lines:
                if began and failures:
                    progress("the connection is back")
                elif not began:
                    progress("listening; Ctrl-C ends this")
                began = True
                failures = 0
                events = EventLines()
                for line in lines:
                    if (event := events.take(line)) is not None:
                        last = event[0]
                        yield event
            why = "the daemon ended the stream"
        except (Unreachable, Refusal) as error:
            if not began or (isinstance(error, Refusal) and not error.may_pass):
                raise
            why = error.message
        pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
        failures += 1
        progress(f"{why}; coming back in {pause:g} s")
        time.sleep(pause)


# --- for people -------------------------------------------------------------------------------------

_ARROWS: Final = {"message.received": "<-", "message.status": "->", "message.dead_letter": "!!"}


def event_line(event: dict[str, Any]) -> str:
    """`12:00:01  tienda-1  <- +5215512345678  hola`."""
    data = event.get("data", {})
    kind = event.get("type", "")
    said = _said(kind, data)
    when = str(event.get("timestamp", ""))[11:19]
    who = str(data.get("sessionId") or "-")
    return escaped(f"{when}  {who}  {_ARROWS.get(kind, '--')} {said}")


def _said(kind: str, data: dict[str, Any]) -> str:
    error = data.get("error") or {}
    why = f": {error.get('detail')} ({error.get('code')})" if error else ""
    match kind:
        case "message.received":
            name = data["contentType"]
            return f"{_whom(data)}  {_gist(name, data.get(name))}"
        case "message.status":
            return f"{_whom(data)}  {data['status']}  {data['messageId']}{why}"
        case "message.dead_letter":
            return f"{_whom(data)}  gave up, {data['status']}  {data['messageId']}{why}"
        case "session.state":
            reason = data.get("reason") or {}
            why = f": {reason.get('detail')} ({reason.get('code')})" if reason else ""
            return f"{data.get('previous')} -> {data['state']}{why}"
        case "session.qr":
            return f"a new code to scan: wad qr {data['sessionId']}"
        case _:
            return f"{kind}  {json.dumps(data.get('data', data))}"


def _gist(name: str, content: Any) -> str:
    """A text as it is, and of anything else what it is and the words that go with it."""
    if isinstance(content, dict):
        words = content.get("body") if name == "text" else content.get("caption") or content.get("title")
        if name == "text":
            return str(words)
        return f"[{name}] {words or ''}".rstrip()
    return f"[{name}]"


def _whom(data: dict[str, Any]) -> str:
    other = data.get("from") or data.get("to") or data.get("groupId")
    if isinstance(other, dict):
        number = other.get("phone") or other.get("userId") or "-"
        return f"{other['name']} ({number})" if other.get("name") else str(number)
    return str(other or "-")
