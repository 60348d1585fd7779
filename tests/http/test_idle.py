"""A connection that has nothing to do: it is given up in time, and at once when wad stops."""

from functools import partial

import pytest
import trio
import trio.testing

from tests.http.front import front
from wad.config.model import Http
from wad.http.server import Connection, serve_http
from wad.http.sockets import bind

ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("requests", [0, 1, 2])
@pytest.mark.parametrize("stopped", [False, True])
async def test_an_idle_connection_is_closed(requests: int, stopped: bool):
    """By its time-out while wad runs, by the stop otherwise; also after it was used. The deadlines are not reached."""
    http = Http(keep_alive_timeout=60 if stopped else 0.05, grace=60)
    stop = trio.Event()
    async with front() as ask, trio.open_nursery() as nursery:
        serve = partial(serve_http, shutdown_trigger=stop.wait)
        [url] = await nursery.start(serve, ask.app, http, bind(["127.0.0.1:0"], backlog=16))
        with trio.fail_after(30):
            client = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
            async with client:
                for _ in range(requests):
                    await client.send_all(ASK)
                    answer = b""
                    while b'{"status":"ok"}' not in answer:
                        answer += await client.receive_some()
                if stopped:
                    stop.set()
                assert await client.receive_some() == b""
        stop.set()


async def test_who_reads_a_connection_that_is_being_closed_is_told_so():
    """hypercorn reads and closes in tasks of their own: whichever comes second, nobody meets an error."""
    async with trio.open_nursery() as nursery:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        client = await trio.open_tcp_stream(*listener.socket.getsockname())
        accepted = Connection(await listener.accept(), lambda: None)
        async with client, listener:
            nursery.start_soon(accepted.aclose)
            await trio.testing.wait_all_tasks_blocked()  # it hears the client out
            with pytest.raises(trio.ClosedResourceError):
                await accepted.receive_some()
            nursery.start_soon(accepted.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert accepted.socket.fileno() != -1
            await client.aclose()
        with trio.fail_after(30):
            await trio.testing.wait_all_tasks_blocked()
    assert accepted.socket.fileno() == -1
    assert accepted.life.cancel_called
