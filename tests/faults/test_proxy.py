"""The proxy does what its words say: else whatever is shown with it shows nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio

from tests.faults.proxy import Line, Proxy, fault_proxy


class Server:
    """Answers every line it reads with the same line, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        pending = b""
        try:
            async for data in stream:
                pending += data
                while b"\n" in pending:
                    line, _, pending = pending.partition(b"\n")
                    self.heard.append(line)
                    await stream.send_all(line + b"\n")
        except trio.BrokenResourceError:
            return


@asynccontextmanager
async def between() -> AsyncIterator[tuple[Server, Proxy, trio.SocketStream]]:
    """A server, a proxy before it, and a client's connection through that."""
    server = Server()
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        async with (
            fault_proxy("127.0.0.1", listener.socket.getsockname()[1]) as proxy,
            await trio.open_tcp_stream(*proxy.address) as client,
        ):
            yield server, proxy, client
        nursery.cancel_scope.cancel()


async def read(stream: trio.SocketStream, size: int) -> bytes:
    """*size* bytes, or fewer where the other end is done."""
    found = b""
    while len(found) < size and (data := await stream.receive_some()):
        found += data
    return found


async def read_until_broken(stream: trio.SocketStream) -> bytes:
    """What came before the connection was reset, which it has to be."""
    found = b""
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012  each read may be the one
        while data := await stream.receive_some():
            found += data
    return found


async def anew(proxy: Proxy, line: bytes) -> bytes:
    """What another connection answers *line* with."""
    async with await trio.open_tcp_stream(*proxy.address) as stream:
        await stream.send_all(line)
        return await read(stream, len(line))


async def test_a_perfect_wire_changes_nothing() -> None:
    """Bytes arrive as they left, and the end of one side is the end of the other."""
    async with between() as (server, _, client):
        await client.send_all(b"hola\n" * 1000)
        assert await read(client, 5000) == b"hola\n" * 1000
        await client.send_eof()
        assert await client.receive_some() == b""
        assert server.heard == [b"hola"] * 1000


async def test_an_answer_is_cut_after_the_request_has_passed() -> None:
    """The server has done what it was asked; whoever asked sees a broken connection."""
    async with between() as (server, proxy, client):
        proxy.cut = 1
        await client.send_all(b"send\n")
        assert await read_until_broken(client) == b""
        assert server.heard == [b"send"]
        assert await anew(proxy, b"again\n") == b"again\n"


async def test_an_answer_is_cut_in_its_middle() -> None:
    """Some of it comes, and then nothing."""
    async with between() as (server, proxy, client):
        proxy.cut, proxy.cut_after = 1, 3
        await client.send_all(b"accepted\n")
        assert await read_until_broken(client) in (b"acc", b"")  # the reset may overtake it
        assert server.heard == [b"accepted"]


async def test_a_reset_breaks_what_stands() -> None:
    """And leaves whoever comes next alone."""
    async with between() as (server, proxy, client):
        await client.send_all(b"one\n")
        assert await read(client, 4) == b"one\n"
        proxy.reset()
        assert await read_until_broken(client) == b""
        assert await anew(proxy, b"two\n") == b"two\n"
        assert server.heard == [b"one", b"two"]


async def test_a_server_that_is_down_is_no_connection() -> None:
    """It is broken before anything was said; nothing reaches the server."""
    async with between() as (server, proxy, _):
        proxy.refuses = True
        async with await trio.open_tcp_stream(*proxy.address) as client:
            assert await read_until_broken(client) == b""
        assert server.heard == []


async def test_a_limit_closes_after_so_many_bytes() -> None:
    """What is below it passes."""
    async with between() as (server, proxy, client):
        proxy.up = Line(limit=7)
        await client.send_all(b"123456\nabc\n")
        await read_until_broken(client)
        assert server.heard in ([b"123456"], [])  # the reset may overtake it


async def test_what_is_swallowed_leaves_the_connection_open() -> None:
    """A peer that is there, and silent."""
    async with between() as (server, proxy, client):
        proxy.down = Line(swallow=0)
        await client.send_all(b"hola\n")
        with trio.move_on_after(0.2) as silence:
            await client.receive_some()
        assert silence.cancelled_caught
        assert server.heard == [b"hola"]


async def test_who_went_away_is_refused_until_they_come_back() -> None:
    """Nobody listens: what stands is reset, and no connection is made; afterwards all is as before."""
    async with between() as (server, proxy, client):
        await client.send_all(b"one\n")
        await read(client, 4)
        await proxy.go_away()
        assert await read_until_broken(client) == b""
        with pytest.raises(OSError):
            await trio.open_tcp_stream(*proxy.address)
        await proxy.come_back()
        assert await anew(proxy, b"two\n") == b"two\n"
        assert server.heard == [b"one", b"two"]


async def test_something_else_is_said_in_an_answers_place() -> None:
    """And then an orderly end: whoever asked has read all of it."""
    async with between() as (server, proxy, client):
        proxy.cut, proxy.cut_with, proxy.cut_by = 1, b"\x15\x03\x03\x00\x02\x02\x28", "close"
        await client.send_all(b"send\n")
        assert await read(client, 100) == proxy.cut_with
        assert server.heard == [b"send"]


async def test_half_an_answer_and_then_silence() -> None:
    """The connection stays open, and nothing more comes over it, nor over its other way."""
    async with between() as (server, proxy, client):
        proxy.cut, proxy.cut_after, proxy.cut_by = 1, 3, "silence"
        await client.send_all(b"accepted\n")
        assert await read(client, 3) == b"acc"
        await client.send_all(b"more\n")
        with trio.move_on_after(0.2) as silence:
            await client.receive_some()
        assert silence.cancelled_caught
        assert server.heard == [b"accepted"]
        proxy.heal()
        assert await anew(proxy, b"again\n") == b"again\n"


async def test_what_is_garbled_arrives_as_something_else() -> None:
    """As much of it, but not the same."""
    async with between() as (_, proxy, client):
        proxy.down = Line(garble=0.5)
        await client.send_all(b"abcdefgh" * 20 + b"\n")
        answer = await read(client, 161)
        assert answer != b"abcdefgh" * 20 + b"\n"
        assert len(answer) == 161


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(Line(latency=0.01, jitter=0.01), id="late"),
        pytest.param(Line(bandwidth=100_000), id="narrow"),
        pytest.param(Line(slices=1), id="in single bytes"),
        pytest.param(Line(slow_close=0.05), id="closing slowly"),
    ],
)
async def test_a_bad_wire_still_carries_everything(line: Line) -> None:
    """HTTP comes through it whole, in both directions."""
    body = b"x" * 2000

    async def serve(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n"
        await stream.send_all(head + body)
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        async with fault_proxy("127.0.0.1", listener.socket.getsockname()[1]) as proxy:
            proxy.up = proxy.down = line
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{proxy.address[1]}/")
        assert answer.content == body
        nursery.cancel_scope.cancel()
