"""The ledger counts exactly, whoever dies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from tests.sandbox.place import ANA, AT_ONCE, NUMBER, place
from wad.sandbox import Ledger, Settings, read_ledger


async def test_every_send_is_there_once_with_what_was_said(autojump_clock: object) -> None:
    """In order, with our id, theirs, and the body as it came."""
    async with place(AT_ONCE) as here:
        wamids = [
            (await here.send(biz_opaque_callback_data=f"m{n}")).json()["messages"][0]["id"] for n in range(20)
        ]
        entries = (await here.control("GET", "ledger?kind=send"))["entries"]
        assert [entry["wamid"] for entry in entries] == wamids
        assert [entry["callbackData"] for entry in entries] == [f"m{n}" for n in range(20)]
        assert entries[0] | {"n": 0, "at": 0, "wamid": "", "userId": ""} == {
            "n": 0,
            "at": 0,
            "kind": "send",
            "operation": "messages",
            "phoneNumberId": NUMBER,
            "wamid": "",
            "callbackData": "m0",
            "to": ANA,
            "waId": "5215512345678",
            "userId": "",
            "groupId": None,
            "type": "text",
            "fault": None,
            "body": {
                "messaging_product": "whatsapp",
                "to": ANA,
                "type": "text",
                "text": {"body": "hola"},
                "biz_opaque_callback_data": "m0",
            },
        }


async def test_numbers_have_no_gaps_and_pages_no_overlap(autojump_clock: object) -> None:
    """`n` counts from 1; `after` goes on where the last page ended."""
    async with place(AT_ONCE) as here:
        for _ in range(10):
            await here.send()
        await here.settled()
        whole = (await here.control("GET", "ledger"))["entries"]
        assert [entry["n"] for entry in whole] == list(range(1, len(whole) + 1))
        pages, after = [], 0
        while page := (await here.control("GET", f"ledger?after={after}&limit=7"))["entries"]:
            pages += page
            after = page[-1]["n"]
        assert pages == whole


async def test_a_refused_send_is_a_call_and_no_send() -> None:
    """With its code, so that a test can count attempts; never among the sends."""
    async with place() as here:
        await here.send(text={"body": ""}, biz_opaque_callback_data="mine")
        assert here.sandbox.ledger.entries("send") == []
        [call] = here.sandbox.ledger.entries("call")
        assert (call["operation"], call["status"], call["code"]) == ("messages", 400, 100)
        assert (call["callbackData"], call["to"], call["type"]) == ("mine", ANA, "text")


async def test_every_event_has_its_deliveries(autojump_clock: object) -> None:
    """Which event went in which POST, at which attempt, and how it was answered."""
    async with place(Settings(statuses={}, retry_delays=[1])) as here:
        here.hook.answers = [500]
        inbound = await here.post("inbound", {"from": {"phone": ANA}, "text": "x"})
        await here.settled()
        [event] = here.sandbox.ledger.entries("event", wamid=inbound["wamid"])
        deliveries = here.sandbox.ledger.entries("delivery")
        assert [delivery["events"] for delivery in deliveries] == [[event["eventId"]]] * 2
        assert [(delivery["attempt"], delivery["status"]) for delivery in deliveries] == [(1, 500), (2, 200)]


async def test_filters_say_what_they_can_do() -> None:
    """By the entries' own names; a misspelt one is refused, not ignored."""
    async with place() as here:
        await here.send(biz_opaque_callback_data="a")
        await here.send(biz_opaque_callback_data="b")
        found = (await here.control("GET", "ledger?kind=send&callbackData=b"))["entries"]
        assert [entry["callbackData"] for entry in found] == ["b"]
        answer = await here.client.get("/_sandbox/ledger?callback_data=b")
        assert (answer.status_code, "no such filter" in answer.json()["error"]) == (400, True)


async def test_the_file_has_every_entry_before_the_answer_leaves(tmp_path: Path) -> None:
    """A line each, readable while the sandbox runs; a second sandbox goes on in the same file."""
    path = tmp_path / "ledger.jsonl"
    for _ in range(2):
        async with place(Settings(statuses={}), ledger=path) as here:
            await here.post(
                "faults", {"match": {"operation": "messages"}, "fault": {"kind": "hang", "after": "accept"}}
            )
            with trio.move_on_after(0.2):
                await here.send(biz_opaque_callback_data="lost")
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            assert [line["callbackData"] for line in lines if line["kind"] == "send"][-1] == "lost"
    assert [entry["kind"] for entry in read_ledger(path)] == ["send", "send"]


def test_a_last_line_that_was_not_finished_is_left_out(tmp_path: Path) -> None:
    """The writer died in the middle of it: what it stood for was never answered."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.write("send", 1.0, {"wamid": "a"})
    ledger.close()
    path.write_bytes(path.read_bytes() + b'{"n":2,"kind":"se')
    assert [entry["wamid"] for entry in read_ledger(path)] == ["a"]


def test_a_ledger_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """An oracle that forgets would make every test pass."""
    with pytest.raises(OSError):
        Ledger(tmp_path / "nowhere" / "ledger.jsonl")
