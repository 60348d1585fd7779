"""A child is a real Node that speaks through lines.js, or one that breaks the rules by hand."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

import wad.node.child
from wad.node.child import ChildError, ChildGone, ChildTimeout, open_child
from wad.node.find import ROOT, Node

PATIENCE = 20.0


def script(node: Node, body: str) -> Sequence[str | Path]:
    """A child whose program is *body*, with lines.js imported."""
    head = f"import {{ CallError, log, start }} from {str(ROOT / 'lines.js')!r}\n"
    return [node.path, "--input-type=module", "-e", head + body]


def plain(node: Node, body: str) -> Sequence[str | Path]:
    """A child that knows no protocol."""
    return [node.path, "-e", body]


@pytest.fixture(autouse=True)
async def limit(nursery: trio.Nursery) -> None:
    """A test that hangs fails."""
    nursery.cancel_scope.deadline = trio.current_time() + PATIENCE


class Heard:
    """The events that came, and who waits for how many."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._news = trio.Event()

    async def __call__(self, name: str, args: dict[str, Any]) -> None:
        self.events.append((name, args))
        self._news.set()
        self._news = trio.Event()

    async def reach(self, count: int) -> None:
        while len(self.events) < count:
            await self._news.wait()


async def test_a_call_is_answered_with_its_value(node: Node) -> None:
    """Text of any alphabet, and values of any kind."""
    async with open_child(script(node, "start({calls: {echo: (args) => args}})"), name="test") as child:
        said = {"text": "año 🎉 \u2028", "n": 1.5, "none": None, "list": [True, {}]}
        assert await child.call("echo", said) == said


async def test_a_refusal_carries_its_code_and_its_data(node: Node) -> None:
    body = "start({calls: {no: () => { throw new CallError('refused', 'no', {status: 463}) }}})"
    async with open_child(script(node, body), name="test") as child:
        with pytest.raises(ChildError) as refused:
            await child.call("no")
        assert (refused.value.code, refused.value.message) == ("refused", "no")
        assert refused.value.data == {"status": 463}


async def test_a_line_of_megabytes_passes_both_ways(node: Node) -> None:
    """812 pre-keys in one call are 150 KB; a reader with a limit of 64 KiB would have broken there."""
    async with open_child(script(node, "start({calls: {echo: (args) => args}})"), name="test") as child:
        assert await child.call("echo", {"text": "ñ" * 3_000_000}) == {"text": "ñ" * 3_000_000}


async def test_the_child_calls_and_hears_values_and_refusals(node: Node) -> None:
    """Also while a call to it is in hand: it answers after its parent has answered."""

    async def get(args: dict[str, Any]) -> Any:
        return {"got": args["n"] + 1}

    async def refuse(args: dict[str, Any]) -> Any:
        raise ChildError("forbidden", "no", {"why": "because"})

    async def broken(args: dict[str, Any]) -> Any:
        raise RuntimeError("a secret of ours")

    body = """const peer = start({calls: {ask: ({name, n}) => peer.call(name, {n}).catch(
        ({code, message, data}) => ({code, message, data}))}})"""
    calls = {"get": get, "refuse": refuse, "broken": broken}
    async with open_child(script(node, body), name="test", calls=calls) as child:
        assert await child.call("ask", {"name": "get", "n": 1}) == {"got": 2}
        assert await child.call("ask", {"name": "refuse"}) == {
            "code": "forbidden",
            "message": "no",
            "data": {"why": "because"},
        }
        assert (await child.call("ask", {"name": "nothing"}))["code"] == "unknown_call"
        assert await child.call("ask", {"name": "broken"}) == {
            "code": "internal",
            "message": "RuntimeError",
            "data": {},
        }


EMIT = """const peer = start({calls: {
    emit: ({session, n}) => { for (let i = 0; i < n; i++) peer.event('e', {session, i}) },
    unacked: () => peer.unacked()}})"""


async def test_events_of_a_session_come_in_order(node: Node) -> None:
    heard = Heard()
    async with open_child(script(node, EMIT), name="test", on_event=heard) as child:
        await child.call("emit", {"session": "a", "n": 500})
        await heard.reach(500)
    assert [args["i"] for _, args in heard.events] == list(range(500))


async def test_an_event_is_acknowledged_when_it_is_handled_and_not_before(node: Node) -> None:
    """Cumulatively: a later one that is done waits for the earlier."""
    release, entered = trio.Event(), trio.Event()

    async def handler(name: str, args: dict[str, Any]) -> None:
        if args["session"] == "slow":
            entered.set()
            await release.wait()

    async def until(child: Any, unacked: int) -> None:
        while await child.call("unacked") != unacked:  # noqa: ASYNC110  another process
            await trio.sleep(0.01)

    async with open_child(script(node, EMIT), name="test", on_event=handler) as child:
        await child.call("emit", {"session": "fast", "n": 3})
        await until(child, 0)
        await child.call("emit", {"session": "slow", "n": 1})
        await entered.wait()
        await child.call("emit", {"session": "fast", "n": 2})
        await child.call("ping")
        assert await child.call("unacked") == 3
        release.set()
        await until(child, 0)


async def test_a_slow_session_does_not_hold_up_another(node: Node) -> None:
    heard = Heard()

    async def handler(name: str, args: dict[str, Any]) -> None:
        if args["session"] == "stuck":
            await trio.sleep_forever()
        await heard(name, args)

    async with open_child(script(node, EMIT), name="test", on_event=handler) as child:
        await child.call("emit", {"session": "stuck", "n": 2})
        await child.call("emit", {"session": "b", "n": 2})
        await heard.reach(2)
    assert [args["session"] for _, args in heard.events] == ["b", "b"]


async def test_a_handler_that_breaks_ends_the_block(node: Node) -> None:
    """An event that was not kept must not pass for kept."""

    async def handler(name: str, args: dict[str, Any]) -> None:
        raise KeyError("a bug")

    with pytest.RaisesGroup(KeyError):
        async with open_child(script(node, EMIT), name="test", on_event=handler) as child:
            await child.call("emit", {"session": "a", "n": 1})
            await trio.sleep_forever()


async def test_leaving_the_block_ends_the_child(node: Node) -> None:
    async with open_child(script(node, "start({calls: {}})"), name="test") as child:
        await child.call("ping")
    assert child.returncode == 0
    with pytest.raises(ChildGone):
        await child.call("ping")


async def test_a_child_that_does_not_leave_is_killed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wad.node.child, "_GRACE", 0.1)
    body = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)"
    async with open_child(plain(node, body), name="test") as child:
        pass
    assert child.returncode == -signal.SIGKILL


async def test_all_who_wait_hear_that_the_child_is_gone(node: Node) -> None:
    """Those who call later, too; and the block goes on."""
    body = "start({calls: {hang: () => new Promise(() => {})}})"
    gone: list[str] = []

    async def ask(child: Any) -> None:
        try:
            await child.call("hang")
        except ChildGone as error:
            gone.append(str(error))

    async with open_child(script(node, body), name="test") as child:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, child)
            await child.call("ping")
            os.kill(child.pid, signal.SIGKILL)
        assert len(gone) == 3
        assert await child.wait() == -signal.SIGKILL
        with pytest.raises(ChildGone):
            await child.call("ping")
        assert not child.running


async def test_a_late_answer_is_ignored(node: Node) -> None:
    body = """let answer; start({calls: {
        late: () => new Promise((resolve) => (answer = resolve)), now: () => { answer('late'); return 'now' }}})"""
    async with open_child(script(node, body), name="test") as child:
        with pytest.raises(ChildTimeout):
            await child.call("late", timeout=0.05)
        assert await child.call("now") == "now"
        assert await child.call("ping") == {}


async def test_a_caller_who_is_cancelled_leaves_the_line_whole(node: Node) -> None:
    """Half a line on the pipe would end the child."""
    async with open_child(
        script(node, "start({calls: {size: ({text}) => text.length}})"), name="test"
    ) as child:
        with trio.CancelScope() as scope:
            scope.cancel()
            await child.call("size", {"text": "x" * 5_000_000})
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(child.call, "size", {"text": "x" * 1_000_000})
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert await child.call("size", {"text": "abc"}) == 3


async def test_a_frozen_child_is_killed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pipe stays open, so only silence tells."""
    monkeypatch.setattr(wad.node.child, "_PING_EVERY", 0.05)
    monkeypatch.setattr(wad.node.child, "_PING_LIMIT", 0.2)
    async with open_child(script(node, "start({calls: {}})"), name="test") as child:
        await child.call("ping")
        os.kill(child.pid, signal.SIGSTOP)
        assert await child.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("not JSON", id="text"),
        pytest.param("[1]", id="no object"),
        pytest.param('{"what": 1}', id="no known form"),
        pytest.param("[" * 100_000, id="nested without end"),
    ],
)
async def test_a_child_that_says_nonsense_is_killed(node: Node, said: str) -> None:
    """The two sides do not agree any more on what was said."""
    body = f"console.log({said!r}); setInterval(() => {{}}, 1000)"
    async with open_child(plain(node, body), name="test") as child:
        assert await child.wait() == -signal.SIGKILL


async def test_a_line_without_end_is_not_gathered(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wad.node.child, "_LONGEST", 1 << 20)
    body = "setInterval(() => process.stdout.write('x'.repeat(1 << 18)), 1)"
    async with open_child(plain(node, body), name="test") as child:
        assert await child.wait() == -signal.SIGKILL


async def test_what_the_child_logs_is_logged(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Its fields by our names, and a crash of Node's as it stands."""
    body = """log('error', 'a socket fell', {session: 's1', error: 'boom', secret: 'x'})
        start({calls: {}}); throw new Error('the end')"""
    with caplog.at_level(logging.INFO, logger="wad.node.child"):
        async with open_child(script(node, body), name="bridge") as child:
            assert await child.wait() == 1
    said = [record for record in caplog.records if record.message == "node_child_said"]
    first = vars(said[0])
    assert (first["levelname"], first["detail"], first["session_id"]) == (
        "ERROR",
        "a socket fell: boom",
        "s1",
    )
    assert (first["operation"], first["pid"]) == ("bridge", child.pid)
    assert "secret" not in first
    assert any("the end" in vars(record)["detail"] for record in said[1:])


async def test_a_child_ends_when_its_parent_dies(node: Node, tmp_path: Path) -> None:
    """Whatever kills the parent: the end of stdin is what tells."""
    program = tmp_path / "parent.mjs"
    program.write_text(
        f"""import {{ spawn }} from 'node:child_process'
        const child = spawn(process.execPath, ['--input-type=module', '-e',
            "import {{ start }} from '{ROOT / "lines.js"}'; start({{calls: {{}}}})"], {{stdio: ['pipe', 'pipe', 'ignore']}})
        child.on('spawn', () => console.log(JSON.stringify({{event: 'pid', seq: 1, args: {{pid: child.pid}}}})))
        setInterval(() => {{}}, 1000)"""
    )
    heard = Heard()
    async with open_child([node.path, program], name="test", on_event=heard) as parent:
        await heard.reach(1)
        parent.kill()
        await parent.wait()
        pid = heard.events[0][1]["pid"]
        while _alive(pid):  # noqa: ASYNC110  another process
            await trio.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
