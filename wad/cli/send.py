"""`wad send [ID] TO TEXT`: one message, sent once even where the connection to the daemon breaks."""

from __future__ import annotations

import os
import secrets
import sys
import time
from typing import Any, Final

import click

from wad.cli.api import Api, api_options
from wad.cli.command import command
from wad.cli.refusal import Refusal, Unreachable
from wad.cli.show import fields, progress, show_json
from wad.cli.stop import Stop

#: A message in one of these has not ended, and nobody has to do anything.
_WAITING: Final = frozenset({"scheduled", "queued", "sending"})
_PAUSES: Final = (0.5, 1.0, 2.0)  # seconds before asking again whether the daemon has it


@command(
    examples="""
    wad send tienda-1 +5215512345678 "Hola"
    wad send tienda-1 +5215512345678 "Hola" --wait         until WhatsApp has it
    wad send tienda-1 +5215512345678 - < letter.txt        the text from a file
    wad send --shop shop-9 +5215512345678 "Hola"           from whichever of the shop's numbers fits best
    wad send tienda-1 +5215512345678 "Hola" --key order-7  never twice, however often it is run
    """
)
@click.argument("session_ids", metavar="[ID]", nargs=-1)
@click.argument("to")
@click.argument("text")
@click.option(
    "--shop", "shop_id", metavar="SHOP", help="In place of ID: wad chooses among the shop's sessions."
)
@click.option(
    "--from", "number", metavar="NUMBER", help="Which of the session's numbers, where it has several."
)
@click.option("--wait", is_flag=True, help="Wait until the provider has it.")
@click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait at most."
)
@click.option("--reply-to", metavar="MESSAGE", help="Quote this message.")
@click.option("--reference", help="Your own id for it, shown wherever the message is.")
@click.option("--priority", type=click.Choice(["reply", "normal", "bulk"]), help="Which go first.")
@click.option("--at", "send_at", metavar="TIME", help="Send it then, such as 2026-12-01T15:00:00Z.")
@click.option("--queue", is_flag=True, help="Keep it even where the session waits for a person.")
@click.option("--key", help="An idempotency key: the same key and message is sent once only.")
@api_options
def send(
    api: Api,
    *,
    session_ids: tuple[str, ...],
    to: str,
    text: str,
    shop_id: str | None,
    number: str | None,
    wait: bool,
    timeout: float,
    reply_to: str | None,
    reference: str | None,
    priority: str | None,
    send_at: str | None,
    queue: bool,
    key: str | None,
    as_json: bool,
) -> None:
    """Send a text, once.

    From the session ID, or from a shop, to TO, a number with its +. TEXT - is read from stdin.

    Without --wait the command ends when the daemon has the message on disk. With it, exit status 69 says that
    the message failed, or that nobody knows whether it went out.
    """
    if len(session_ids) != (shop_id is None):
        raise click.UsageError("say who sends it: either ID, the session's, or --shop")
    if text == "-":
        text = sys.stdin.read()
    body: dict[str, Any] = {
        "sessionId": session_ids[0] if session_ids else None,
        "shopId": shop_id,
        "from": number,
        "to": to,
        "text": text,
        "replyTo": reply_to,
        "reference": reference,
        "priority": priority,
        "sendAt": send_at,
        "queue": True if queue else None,
    }
    body = {name: value for name, value in body.items() if value is not None}
    sent = _accepted(api, body, key=key or f"cli-{secrets.token_hex(8)}")
    if wait and sent["status"] in _WAITING:
        sent = _awaited(api, sent, timeout)
    if as_json:
        show_json(sent)
    else:
        _show(sent, wait=wait)
    if sent["status"] in ("failed", "unknown", "expired", "cancelled"):
        raise _failed(sent)


def _accepted(api: Api, body: dict[str, Any], *, key: str) -> dict[str, Any]:
    """The daemon's word that it has the message. Asking again under the same key cannot send it twice."""
    pauses = iter(_PAUSES)
    while True:
        try:
            sent: dict[str, Any] = api.post("/send", body, headers={"Idempotency-Key": key})
            return sent
        except (Unreachable, Refusal) as error:
            pause = next(pauses, None)
            if pause is None or not error.may_pass:
                raise
            progress(f"{error.message}; asking again in {pause:g} s")
            time.sleep(pause)


def _awaited(api: Api, sent: dict[str, Any], timeout: float) -> dict[str, Any]:
    """The message once the provider has it or it has ended, or as it stands when the wait is over."""
    ends = time.monotonic() + timeout
    told: str | None = None
    pause = 0.1
    while sent["status"] in _WAITING and (left := ends - time.monotonic()) > 0:
        if told != sent["status"]:
            told = sent["status"]
            progress(f"{sent['messageId']} is {told}; waiting {left:.0f} s at most")
        time.sleep(min(pause, left))
        pause = min(1.0, pause * 1.5)
        sent = api.get(f"/messages/{sent['messageId']}")
    return sent


def _show(sent: dict[str, Any], *, wait: bool) -> None:
    fields(
        {
            "message": sent["messageId"],
            "session": sent["sessionId"] if "balancing" in sent else None,
            "status": sent["status"],
            "provider's id": sent.get("providerMessageId"),
            "next try": sent.get("nextAttemptAt"),
        }
    )
    if reason := sent.get("reason"):
        progress(f"it waits: {reason['detail']} ({reason['code']})")
    elif wait and sent["status"] in _WAITING:
        progress("it is on disk, and the daemon goes on trying: do not send it again")


def _failed(sent: dict[str, Any]) -> Stop:
    error = sent.get("error") or {}
    why = f": {error['detail']} ({error['code']})" if error else ""
    if sent["status"] == "unknown":
        return Stop(
            os.EX_UNAVAILABLE,
            f"nobody knows whether {sent['messageId']} went out{why}",
            next_step="a status from the provider may still settle it; look before sending it again",
            sent=sent,
        )
    return Stop(
        os.EX_UNAVAILABLE,
        f"{sent['messageId']} is {sent['status']}{why}",
        next_step="`wad dead-letters list` shows what gave up, and `retry` tries it again",
        sent=sent,
    )
