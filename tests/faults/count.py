"""The ledger oracle: what the networks saw and what callers were answered, held against what wad says of it.

    every 202 is one message in one place: it came to its end, or nobody can know whether it did (`unknown`)
    no message is on the wire twice; over WhatsApp Web its frame may be, under the same id, and is shown once
    what was acknowledged to a provider has exactly one row, and exactly one answer of the flow
    a chat's messages leave in the order in which they were taken
    the counters of /metrics tell the same, and nothing that the process emits tells a secret

Each that does not hold is a finding, and all of them are told.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import trio

from tests.acceptance.load import ENDS, WENT_OUT, on_its_way, said
from tests.acceptance.shop import API
from tests.faults.load import Load
from tests.faults.world import World

#: Seconds for everything that is on its way to come to its end.
SETTLES = 300
#: How Baileys refuses a copy whose key is spent: it deciphered the message before it was killed.
HAD_IT = 487
#: Texts of the load, and its customers' numbers: what a log shows of them is a mask.
_PRIVATE = re.compile(rb"(?:out|in)-\d{7}|5215[578]\d{8}")
_SHOWN = 5  # findings of one kind are told in full; of more, their number


@dataclass(frozen=True)
class Wire:
    """A message of ours, as its network took it."""

    chat: tuple[str, str]
    text: str
    message_id: str | None
    place: int
    times: int = 1  # it was sent, or shown


@dataclass(frozen=True)
class Came:
    """A message of theirs, as its network has it."""

    text: str
    acknowledged: bool
    repeats: bool = True  # the provider says it again until it is acknowledged


@dataclass
class Tally:
    """A row's result."""

    sends: int = 0  # answered 202
    inbound: int = 0
    unknown: int = 0
    lost: int = 0
    twice: int = 0
    findings: list[str] = field(default_factory=list)

    def found(self, what: str, those: Iterable[object]) -> int:
        """Note each of *those*; how many there are."""
        some = list(those)
        if some:
            more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
            self.findings.append(f"{what}: {some[:_SHOWN]}{more}")
        return len(some)


@dataclass(frozen=True)
class Allowed:
    """What a fault may bring about besides what is allowed anyway."""

    outbound: frozenset[str] = frozenset()  # states
    inbound: frozenset[str] = frozenset()
    log: frozenset[str] = frozenset()  # events at level error
    unproven: bool = False  # no proof may come of what did go out
    missed: bool = False  # what a provider gave up on may not come in


class Counters:
    """The counters of one life of the daemon, from now on."""

    def __init__(self, life: int, before: dict[str, float]) -> None:
        self.life = life
        self._before = before

    @classmethod
    async def of(cls, world: World) -> Counters:
        return cls(world.lives, await world.daemon.metrics())

    def since(self, now: dict[str, float], name: str, provider: str, **labels: str) -> float:
        wanted = [f'{label}="{value}"' for label, value in {"provider": provider, **labels}.items()]
        return sum(
            value - self._before.get(sample, 0.0)
            for sample, value in now.items()
            if sample.startswith(name + "{") and all(each in sample for each in wanted)
        )


async def count(world: World, load: Load, allowed: Allowed, counters: Counters) -> Tally:
    """Wait until all is quiet, and hold one record against the other."""
    tally = Tally(sends=len(load.acknowledged))
    messages, frames = await _quiet(world, tally)
    ours = {m["messageId"]: m for m in messages if m["direction"] == "outbound"}
    theirs = [m for m in messages if m["direction"] == "inbound"]
    wires = [*await _sends(world), *_frames(world, frames, ours)]
    came = [*await _events(world), *_said(world, frames)]
    tally.inbound = len(theirs)
    tally.unknown = sum(m["status"] == "unknown" for m in ours.values())
    _check_outbound(tally, load, ours, wires, allowed)
    _check_inbound(tally, ours, theirs, came, allowed, given_up=world.seen.given_up)
    world.seen.given_up |= {each.text for each in came} - {_text(m) for m in theirs}
    _check_order(tally, ours, wires)
    _check_their_order(tally, theirs, frames)
    await _check_metrics(world, tally, messages, counters)
    _check_output(world, tally, load, allowed)
    world.seen.messages |= {m["messageId"] for m in messages}
    world.seen.frames |= {(each["account"], each["id"]) for each in frames}
    ledger = await world.here.ledger("send", after=world.seen.entries)
    world.seen.entries = max([world.seen.entries, *(each["n"] for each in ledger)])
    return tally


# --- what there is ----------------------------------------------------------------------------------


async def _quiet(world: World, tally: Tally) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """wad's messages and WhatsApp Web's record, once nothing is on its way and nothing new turns up."""
    before = (-1, -1)
    moving: list[object] = []
    with trio.move_on_after(SETTLES) as patience:
        while True:
            waiting = (await world.here.control("GET", "/state"))["webhooks"]
            webhooks = sum(waiting[each] for each in ("scheduled", "waiting", "inFlight", "retrying"))
            frames = await _record(world)
            messages = await _messages(world)
            told = {_text(m) for m in messages if m["direction"] == "inbound"}
            moving = [
                *(m for m in messages if on_its_way(m)),
                *(each for each in frames if not _is_over(each, told)),
                *(["webhooks"] * webhooks),
                *_unanswered(messages),
            ]
            now = (len(messages), len(frames))
            if not moving and now == before:
                return messages, frames
            before = now
            await trio.sleep(0.5)
    assert patience.cancelled_caught
    tally.lost += tally.found(f"after {SETTLES} s still on its way", (_brief(each) for each in moving))
    return await _messages(world), await _record(world)


def _brief(each: Any) -> object:
    names = ("messageId", "provider", "direction", "status", "error", "id", "sent", "received", "nacked")
    return {name: each[name] for name in names if name in each} if isinstance(each, dict) else each


def _unanswered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of theirs, those whose answer has no row yet."""
    answered = {m["text"]["body"] for m in messages if m["direction"] == "outbound" and m["type"] == "text"}
    return [
        m
        for m in messages
        if m["direction"] == "inbound"
        and m["status"] not in ("dead", "done")
        and f"re: {m['text']['body']}" not in answered
    ]


async def _messages(world: World) -> list[dict[str, Any]]:
    """Those that no earlier row has counted: newest first, until a page brings none."""
    messages: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    async with world.daemon.client() as api:
        while True:
            answer = await api.get(f"{API}/messages", params={"limit": 500, **cursor})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            new = [m for m in page["items"] if m["messageId"] not in world.seen.messages]
            messages += new
            if not page.get("next") or not new:
                return messages
            cursor = {"cursor": page["next"]}


async def _record(world: World) -> list[dict[str, Any]]:
    if world.web is None:
        return []
    return [
        each for each in await world.web.record() if (each["account"], each["id"]) not in world.seen.frames
    ]


def _is_over(entry: dict[str, Any], told: set[str]) -> bool:
    """Theirs: the client has said that it has it; or that it had it before, and told it. Ours: everybody has seen it."""
    if entry["direction"] == "in":
        if HAD_IT in entry["nacked"]:
            return str(entry["content"]["text"]) in told
        return entry["received"] is not None
    return all(who["shown"] for who in entry["recipients"].values())


async def _sends(world: World) -> list[Wire]:
    return [
        Wire((each["phoneNumberId"], each["to"]), said(each["body"]), each["callbackData"], each["n"])
        for each in await world.here.ledger("send", after=world.seen.entries)
    ]


def _frames(world: World, frames: list[dict[str, Any]], ours: dict[str, dict[str, Any]]) -> list[Wire]:
    by_name = {m["providerMessageId"]: m["messageId"] for m in ours.values() if m["provider"] == "baileys"}
    found = []
    for each in frames:
        if each["direction"] == "in":
            continue
        # The account's own phone has a copy, and is none of those it is for.
        people = [what for phone, what in each["recipients"].items() if phone != each["account"]]
        contents = [who["content"] for who in people if who.get("content")]
        text = str((contents[0].get("text") or contents[0].get("caption")) if contents else "")
        times = max((who["shown"] for who in people), default=0)
        found.append(Wire((each["account"], each["chat"]), text, by_name.get(each["id"]), each["n"], times))
    return found


async def _events(world: World) -> list[Came]:
    heard = {
        event
        for delivery in await world.here.ledger("delivery", after=world.seen.entries)
        if delivery["status"] == 200
        for event in delivery["events"]
    }
    return [
        Came(said(item), each["eventId"] in heard, repeats=not each["phoneNumberId"].startswith("whatsapp:"))
        for each in await world.here.ledger("event", after=world.seen.entries, event="message")
        for item in each["items"]
    ]


def _said(world: World, frames: list[dict[str, Any]]) -> list[Came]:
    return [
        Came(str(each["content"]["text"]), each["received"] is not None)
        for each in frames
        if each["direction"] == "in"
    ]


# --- what has to hold -------------------------------------------------------------------------------


def _check_outbound(
    tally: Tally, load: Load, ours: dict[str, dict[str, Any]], wires: list[Wire], allowed: Allowed
) -> None:
    tally.found("refused for good", load.wrong)
    tally.lost += tally.found("answered 202, and not there", load.acknowledged.keys() - ours.keys())
    strange = [m for m in ours.values() if m["status"] not in WENT_OUT | {"unknown"} | allowed.outbound]
    tally.found("has come to a wrong end", ((m["messageId"], m["status"], m["error"]) for m in strange))
    times: Counter[str] = Counter()
    for wire in wires:
        if wire.message_id is not None:
            times[wire.message_id] += wire.times or 1
    tally.twice += tally.found("went out twice", (each for each, number in times.items() if number > 1))
    texts = Counter(wire.text for wire in wires if wire.text)
    tally.twice += tally.found("seen under two ids", (text for text, number in texts.items() if number > 1))
    tally.found("on the wire, and nobody's", (w.text for w in wires if w.message_id not in ours))
    # A message is believed to have gone out if it did: its status webhook settled what was in doubt.
    believed = {each for each, m in ours.items() if m["status"] in WENT_OUT}
    tally.lost += tally.found("said to have gone out, and did not", believed - times.keys())
    if not allowed.unproven:
        tally.found("went out, and is not said to have", (times.keys() & ours.keys()) - believed)
    tally.lost += tally.found(
        "accepted, and never shown", (w.message_id for w in wires if not w.times and w.message_id in believed)
    )


def _check_inbound(
    tally: Tally,
    ours: dict[str, dict[str, Any]],
    theirs: list[dict[str, Any]],
    came: list[Came],
    allowed: Allowed,
    *,
    given_up: set[str],
) -> None:
    """*given_up*: what earlier rows excused, and the next start reads from the provider's list."""
    rows = Counter(_text(m) for m in theirs)
    acknowledged = {each.text for each in came if each.acknowledged}
    tally.lost += tally.found("acknowledged, and not there", acknowledged - rows.keys())
    tally.twice += tally.found("came in twice", (text for text, times in rows.items() if times > 1))
    tally.found("came from nowhere", rows.keys() - {each.text for each in came} - given_up)
    # A provider that repeats has told everything in the end, and of the others the list was read.
    said_for_sure = {each.text for each in came if each.repeats or not allowed.missed}
    tally.lost += tally.found("said, and never taken", said_for_sure - rows.keys())
    tally.found(
        "came to a wrong end",
        ((m["messageId"], m["status"]) for m in theirs if m["status"] not in {"done"} | allowed.inbound),
    )
    replies = Counter(_text(m).removeprefix("re: ") for m in ours.values() if _text(m).startswith("re: "))
    done = {_text(m) for m in theirs if m["status"] == "done"}
    tally.lost += tally.found("without an answer", done - replies.keys())
    tally.twice += tally.found("answered twice", (text for text, times in replies.items() if times > 1))
    tally.found("an answer to nothing", replies.keys() - rows.keys())


def _check_order(tally: Tally, ours: dict[str, dict[str, Any]], wires: list[Wire]) -> None:
    """What was in doubt held nobody: its request may have reached the provider after the next one."""
    doubted = {each for each, m in ours.items() if any(step["status"] == "unknown" for step in m["history"])}
    order: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for wire in sorted(wires, key=lambda wire: wire.place):
        if wire.text.startswith("out-") and wire.message_id not in doubted:
            order[wire.chat].append(wire.text)
    tally.found("out of order", (chat for chat, texts in order.items() if texts != sorted(texts)))


def _check_their_order(tally: Tally, theirs: list[dict[str, Any]], frames: list[dict[str, Any]]) -> None:
    """Over WhatsApp Web, where they come over one socket: but for what had to be asked for, or was told to be known."""
    late = {
        each["content"]["text"]
        for each in frames
        if each["direction"] == "in" and (each["retries"] or each["nacked"])
    }
    last: dict[str, str] = {}
    behind: list[str] = []
    for message in theirs[::-1]:  # as they came in
        text, chat = _text(message), message["chat"]["id"]
        if message["provider"] != "baileys" or text in late:
            continue
        if text < last.get(chat, ""):
            behind.append(text)
        last[chat] = max(text, last.get(chat, ""))
    tally.found("came in behind what was said later", behind)


async def _check_metrics(
    world: World, tally: Tally, messages: list[dict[str, Any]], counters: Counters
) -> None:
    """Gauges of any life; counters of one that saw all of it."""
    now = await world.daemon.metrics()
    for gauge in ("wad_outbox_depth", "wad_inbox_depth", "wad_spool_depth", "wad_unknown_messages"):
        left = sum(value for name, value in now.items() if name.partition("{")[0] == gauge)
        tally.found(f"{gauge} of a quiet daemon", [left] if left else [])
    if counters.life != world.lives:
        return
    for provider in world.shops:
        mine = [m for m in messages if m["provider"] == provider]
        outbound = [m for m in mine if m["direction"] == "outbound"]
        steps = Counter(step["status"] for m in outbound for step in m["history"])
        true = {
            "accepted": (len(outbound), counters.since(now, "wad_messages_accepted_total", provider)),
            "inbound": (
                len(mine) - len(outbound),
                counters.since(now, "wad_inbound_total", provider, type="text"),
            ),
        }
        for state in (*WENT_OUT, "failed", "unknown"):
            # Given up as unknown is one more step, and has a counter of its own.
            outcomes = ("unknown", "dead") if state == "unknown" else (state,)
            told = sum(
                counters.since(now, "wad_message_outcomes_total", provider, outcome=each) for each in outcomes
            )
            true[f"became {state}"] = steps[state], told
        tally.found(
            f"counters of {provider}",
            (f"{name} {told:g}, and was {was}" for name, (was, told) in true.items() if told != was),
        )


def _check_output(world: World, tally: Tally, load: Load, allowed: Allowed) -> None:
    log = world.daemon.log.read_bytes()
    new, world.seen.log = log[world.seen.log :], len(log)
    output = new + "\n".join(load.refusals).encode()
    tally.found("shown in the output", {each.decode() for each in _PRIVATE.findall(output)})
    tally.found("a secret in the output", (each[:4] for each in world.secrets if each.encode() in output))
    lines = [json.loads(line) for line in new.decode().splitlines() if line.startswith("{")]
    grave = Counter(line["event"] for line in lines if line["level"] in ("error", "critical"))
    expected = set(allowed.log)
    expected |= {"message_dead_letter"} if tally.unknown or allowed.unproven or allowed.outbound else set()
    expected |= {"inbox_dead_letter"} if allowed.inbound else set()
    tally.found("logged as an error", grave.keys() - expected)
    loose = [line for line in new.decode().splitlines() if line.startswith("Traceback")]
    tally.found("a trace outside the log", loose)


def _text(message: dict[str, Any]) -> str:
    kind = message["type"]
    return str(message["text"]["body"] if kind == "text" else (message.get(kind) or {}).get("caption"))


assert {"unknown"}.isdisjoint(ENDS)
