"""`wad dead-letters ...`: what gave up, in both directions, and trying it again."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

import click

from wad.cli.api import Api, api_options
from wad.cli.command import Group
from wad.cli.refusal import Refusal
from wad.cli.show import progress, show_json, table
from wad.cli.stop import Stop

_ALL = 100_000


@click.group("dead-letters", cls=Group)
def dead_letters() -> None:
    """List what gave up, and try it again.

    Messages that were not sent, and messages of customers that no flow took.
    """


_direction = click.option(
    "--direction", type=click.Choice(["outbound", "inbound"]), help="Of this direction alone."
)


@dead_letters.command("list")
@_direction
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@api_options
def list_(api: Api, direction: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, the newest first."""
    found, more = api.items("/dead-letters", limit=limit, direction=direction)
    if as_json:
        show_json({"items": found, "next": more})
        return
    if not found:
        progress("no dead letters")
        return
    table(
        ("MESSAGE", "SESSION", "WITH", "TYPE", "STATUS", "WHEN", "WHY"),
        [
            (
                each["messageId"],
                each["sessionId"],
                _whom(each),
                each["type"],
                each["status"],
                each.get("updatedAt") or each.get("receivedAt"),
                _why(each.get("error")),
            )
            for each in found
        ],
    )
    if more:
        progress(f"and more: --limit {limit * 10}")


@dead_letters.command(
    examples="""
    wad dead-letters retry 01JX... 01JY...
    wad dead-letters retry --all --direction inbound    once the flow service is back
    """
)
@click.argument("message_ids", nargs=-1, metavar="[MESSAGE]...")
@click.option("--all", "everything", is_flag=True, help="Every dead letter there is now.")
@_direction
@api_options
def retry(
    api: Api, message_ids: tuple[str, ...], everything: bool, direction: str | None, as_json: bool
) -> None:
    """Try dead letters again. One that is `unknown` may then reach the person a second time.

    Exit status 65 where some of them could not be tried again; the others were.
    """
    if bool(message_ids) == everything:
        raise click.UsageError("name the messages, or say --all")
    if everything:
        found, _ = api.items("/dead-letters", limit=_ALL, direction=direction)
        message_ids = tuple(each["messageId"] for each in found)
    results: list[dict[str, Any]] = []
    refused: list[str] = []
    for number, message_id in enumerate(message_ids, 1):
        try:
            message = api.post(f"/dead-letters/{quote(message_id, safe='')}/retry")
        except Refusal as refusal:
            refused.append(f"{message_id}: {refusal.message}")
            results.append({"messageId": message_id, "problem": refusal.facts["problem"]})
        else:
            results.append({"messageId": message_id, "status": message["status"]})
            if not as_json:
                click.echo(f"{message_id} is {message['status']} again")
        if number % 100 == 0:
            progress(f"{number} of {len(message_ids)}")
    if as_json:
        show_json({"items": results})
    if refused:
        raise Stop(
            os.EX_DATAERR, f"{len(refused)} of {len(message_ids)} could not be tried again", details=refused
        )
    progress(f"{len(message_ids)} tried again")


def _whom(letter: dict[str, Any]) -> str | None:
    """The other side, by whatever it is known by."""
    other = letter.get("to") or letter.get("groupId") or letter.get("from")
    if isinstance(other, dict):
        return other.get("phone") or other.get("userId")
    return other


def _why(error: dict[str, Any] | None) -> str | None:
    return f"{error['detail']} ({error['code']})" if error else None
