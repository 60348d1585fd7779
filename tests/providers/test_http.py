"""One exchange with a provider: how each failure of the wire is understood, and how connections are shared."""

from __future__ import annotations

from collections.abc import Callable

import httpcore
import httpx
import pytest
import trio
import trio.testing

from tests.providers.meta import Heard
from wad.conformance import peer as wire
from wad.conformance.peer import Exchange, Peer, Script, answering, serving, unused_port
from wad.errors import InvalidRequest, ProviderError, Verdict
from wad.providers.http import Answer, Origin, Pools, call, request, stream
from wad.providers.pools import KEEP_ALIVE, Pool

HEADERS = httpx.Headers({"Host": "127.0.0.1", "Content-Type": "application/json"})


async def ask(
    pools: Pools,
    url: str,
    *,
    method: str = "POST",
    link: Heard | None = None,
    seconds: float = 5.0,
    repeatable: bool = False,
    read: Callable[[Answer], Answer] = lambda answer: answer,
) -> Answer:
    target = httpx.URL(url)
    return await call(
        pools.to(Origin.of(target)),
        request(method, target, HEADERS, b"{}" if method == "POST" else b""),
        read,
        link=link or Heard(),
        operation="send",
        seconds=seconds,
        repeatable=repeatable,
    )


# --- what a failure means -------------------------------------------------------------------------

BROKEN: dict[str, tuple[Script, str]] = {
    "hangs": (wire.hang, "provider_timeout"),
    "closes without an answer": (wire.hang_up, "connection_lost"),
    "resets the connection": (wire.reset, "connection_lost"),
    "cuts its answer's body": (wire.cut, "connection_lost"),
    "cuts its answer's head": (wire.cut_in_the_head, "connection_lost"),
    "does not speak HTTP": (wire.not_http, "connection_lost"),
    "answers with more than it may": (answering(200, b"x" * (4 * 2**20 + 1)), "connection_lost"),
}


@pytest.mark.parametrize("label", BROKEN)
async def test_a_request_that_was_written_and_not_answered_is_unknown(label: str) -> None:
    """Once the other side may have read the request, only its complete answer tells what it did."""
    script, code = BROKEN[label]
    heard = Heard()
    async with serving() as peer, Pools() as pools:
        peer.scripts = [script]
        with pytest.raises(ProviderError) as caught:
            await ask(pools, peer.url, link=heard, seconds=0.3 if script is wire.hang else 5.0)
    assert (caught.value.verdict, caught.value.code, caught.value.health) == (Verdict.UNKNOWN, code, True)
    assert not caught.value.retryable
    assert heard.calls == [("send", code)]


@pytest.mark.parametrize("label", BROKEN)
async def test_a_repeatable_request_is_never_unknown(label: str) -> None:
    """A question may be asked again, so nobody has to know whether it was heard."""
    script, code = BROKEN[label]
    async with serving() as peer, Pools() as pools:
        peer.scripts = [script]
        with pytest.raises(ProviderError) as caught:
            await ask(
                pools, peer.url, method="GET", repeatable=True, seconds=0.3 if script is wire.hang else 5.0
            )
    assert (caught.value.verdict, caught.value.code, caught.value.retryable) == (Verdict.NOT_SENT, code, True)


async def test_a_refused_connection_is_not_sent() -> None:
    """Nobody listens, so nobody read."""
    async with Pools() as pools:
        with pytest.raises(ProviderError) as caught:
            await ask(pools, f"http://127.0.0.1:{unused_port()}")
    error = caught.value
    assert (error.verdict, error.code, error.health) == (Verdict.NOT_SENT, "provider_unreachable", True)


async def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    """DNS comes before the first byte. `.invalid` never resolves (RFC 6761)."""
    async with Pools() as pools:
        with pytest.raises(ProviderError) as caught:
            await ask(pools, "http://graph.invalid")
    assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "provider_unreachable")


async def test_a_failed_tls_handshake_is_not_sent() -> None:
    """The request is written after the handshake. The peer here answers it in plain text."""
    async with serving() as peer, Pools() as pools:
        peer.scripts = [wire.not_http]
        with pytest.raises(ProviderError) as caught:
            await ask(pools, peer.url.replace("http://", "https://"))
    error = caught.value
    assert (error.verdict, error.code, error.health) == (Verdict.NOT_SENT, "provider_unreachable", True)
    assert "SSL" in error.detail


class _Hangs(httpx.AsyncBaseTransport):
    """A transport that never answers; it reads the request's body first, or not even that."""

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._reads:
            await request.aread()
        await trio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize(
    ("reads", "verdict"),
    [
        pytest.param(True, Verdict.UNKNOWN, id="the body was being sent"),
        pytest.param(False, Verdict.NOT_SENT, id="the body was never asked for"),
    ],
)
async def test_the_deadline_of_a_whole_attempt(
    autojump_clock: trio.testing.MockClock, reads: bool, verdict: Verdict
) -> None:
    """35 seconds in all, however slow each part; whether the body had begun decides what it means."""
    async with Pools(transport=lambda _: _Hangs(reads=reads)) as pools:
        start = trio.current_time()
        with pytest.raises(ProviderError) as caught:
            await ask(pools, "http://peer", seconds=35.0)
        assert trio.current_time() - start == 35.0
    assert (caught.value.verdict, caught.value.code, caught.value.health) == (
        verdict,
        "provider_timeout",
        True,
    )


async def test_an_answer_that_drips_meets_the_deadline() -> None:
    """A byte a moment keeps each read in time, and the whole attempt out of it."""

    async def drip(exchange: Exchange) -> None:
        await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            await exchange.stream.send_all(b" ")
            await trio.sleep(0.01)

    async with serving() as peer, Pools() as pools:
        peer.scripts = [drip]
        with pytest.raises(ProviderError) as caught:
            await ask(pools, peer.url, seconds=0.3)
    assert (caught.value.verdict, caught.value.code) == (Verdict.UNKNOWN, "provider_timeout")


async def test_a_pool_that_is_exhausted_is_our_own_trouble(autojump_clock: trio.testing.MockClock) -> None:
    """Waiting 2 s for a connection in vain sends nothing, and says nothing of the provider's health."""
    pool = Pool(httpcore.Origin(b"http", b"127.0.0.1", 1), size=1)
    await pool._slots.acquire()
    async with Pools(transport=lambda _: pool) as pools:
        start = trio.current_time()
        with pytest.raises(ProviderError) as caught:
            await ask(pools, "http://127.0.0.1:1")
        assert trio.current_time() - start == 2.0
        pool._slots.release()
    error = caught.value
    assert (error.verdict, error.code, error.health) == (Verdict.NOT_SENT, "pool_exhausted", False)


async def test_a_header_that_cannot_be_written_is_refused_without_its_text() -> None:
    """h11 quotes the header that it stumbles on; that may be the token."""
    async with serving() as peer, Pools() as pools:
        target = httpx.URL(peer.url)
        headers = httpx.Headers([(b"Host", b"x"), (b"Authorization", b"Bearer CANARY\r\nX: y")])
        with pytest.raises(ProviderError) as caught:
            await call(
                pools.to(Origin.of(target)),
                request("POST", target, headers, b"{}"),
                lambda answer: answer,
                link=Heard(),
                operation="send",
            )
        assert peer.received == []
    assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "invalid_request")
    assert "CANARY" not in caught.value.detail
    assert caught.value.__suppress_context__


async def test_a_refusal_by_the_guard_needs_a_person() -> None:
    """A base URL given over the API that leads into our own network is somebody's mistake, or worse."""

    class Refuses(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, *_args: object, **_options: object) -> httpcore.AsyncNetworkStream:
            raise InvalidRequest("the URL cannot be used", code="url_not_allowed")

    async with serving() as peer:
        for guard in (Refuses(), None):
            async with Pools(guard=guard) as pools:
                target = httpx.URL(peer.url)
                with pytest.raises(ProviderError) as caught:
                    await call(
                        pools.to(Origin.of(target, guarded=True)),
                        request("POST", target, HEADERS, b"{}"),
                        lambda answer: answer,
                        link=Heard(),
                        operation="send",
                    )
            assert (caught.value.verdict, caught.value.code) == (Verdict.NEEDS_PERSON, "url_not_allowed")
        assert peer.connections == 0


# --- what the link hears --------------------------------------------------------------------------


async def test_the_link_hears_of_every_end_once() -> None:
    """Success, a refusal that the reader finds, and a bug in the reader."""
    heard = Heard()

    def refuse(answer: Answer) -> Answer:
        raise ProviderError(Verdict.REJECTED, "no", code="reply_window_closed")

    def crash(answer: Answer) -> Answer:
        raise KeyError("x")

    async with serving() as peer, Pools() as pools:
        await ask(pools, peer.url, link=heard)
        with pytest.raises(ProviderError):
            await ask(pools, peer.url, link=heard, read=refuse)
        with pytest.raises(KeyError):
            await ask(pools, peer.url, link=heard, read=crash)
    assert heard.calls == [("send", "ok"), ("send", "reply_window_closed"), ("send", "crashed")]


async def test_a_cancelled_call_gives_its_connection_up() -> None:
    """A session that stops mid-send must not leave a connection behind, nor one with half an exchange in it."""
    heard = Heard()
    arrived = trio.Event()

    async def stall(exchange: Exchange) -> None:
        arrived.set()
        await trio.sleep_forever()

    async with serving() as peer, Pools(size=1) as pools:
        peer.scripts = [stall]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ask(pools, peer.url, link=heard))
            await arrived.wait()
            nursery.cancel_scope.cancel()
        assert heard.calls == [("send", "cancelled")]
        await ask(pools, peer.url)  # the only slot is free again
        assert peer.connections == 2


# --- connections ----------------------------------------------------------------------------------


async def test_connections_are_reused() -> None:
    """One after the other goes over one connection, a refusal's too."""
    async with serving() as peer, Pools() as pools:
        for status in (200, 400, 500, 200):
            peer.scripts = [answering(status, {"a": 1})]
            assert (await ask(pools, peer.url)).status == status
        assert peer.connections == 1


async def test_sessions_share_the_pool_of_a_host_and_its_bound() -> None:
    """At most `size` at once, whoever asks; the others wait their turn and are served."""
    now = most = 0

    async def count(exchange: Exchange) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.testing.wait_all_tasks_blocked(0.01)
        now -= 1
        await exchange.answer(200, b"{}")

    async with serving() as peer, Pools(size=3) as pools:
        peer.otherwise = count
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(ask, pools, peer.url)
        assert most == 3
        assert len(peer.received) == 12
        assert peer.connections == 3
        pool = pools.to(Origin.of(httpx.URL(peer.url)))
        assert isinstance(pool, Pool)
        assert (pool.busy, pool.idle) == (0, 3)
        assert "0 busy, 3 idle, at most 3" in repr(pools)


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    """A request that met the close on its way would be one whose outcome nobody knows."""

    async def answer_and_close(exchange: Exchange) -> None:
        await exchange.answer(200, b"{}")
        exchange.keep = False

    async with serving() as peer, Pools() as pools:
        peer.scripts = [answer_and_close]
        await ask(pools, peer.url)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (await ask(pools, peer.url)).status == 200
        assert peer.connections == 2


async def test_idle_connections_are_closed_and_empty_pools_dropped() -> None:
    """A host that nobody talks to any more costs neither a socket nor a pool."""
    async with serving() as peer, Pools() as pools:
        await ask(pools, peer.url)
        origin = Origin.of(httpx.URL(peer.url))
        pool = pools.to(origin)
        assert isinstance(pool, Pool)
        assert pool.idle == 1
        since, connection = pool._idle[0]
        pool._idle[0] = (since - KEEP_ALIVE, connection)
        await pools.sweep()
        assert pool.idle == 0
        assert connection.is_closed()
        assert pools.to(origin) is not pool


async def test_a_connection_that_lay_idle_too_long_is_not_taken() -> None:
    """4 seconds: servers close theirs after some seconds too."""
    async with serving() as peer, Pools() as pools:
        await ask(pools, peer.url)
        pool = pools.to(Origin.of(httpx.URL(peer.url)))
        assert isinstance(pool, Pool)
        since, connection = pool._idle[0]
        pool._idle[0] = (since - KEEP_ALIVE, connection)
        await ask(pools, peer.url)
        assert connection.is_closed()
        assert peer.connections == 2


async def test_pools_that_are_closed_stay_closed() -> None:
    """After the daemon's last block nothing may open a socket any more."""
    async with serving() as peer:
        async with Pools() as pools:
            await ask(pools, peer.url)
            pool = pools.to(Origin.of(httpx.URL(peer.url)))
            assert isinstance(pool, Pool)
        assert pool.idle == 0
        with pytest.raises(RuntimeError, match="inside"):
            await ask(pools, peer.url)


async def test_redirects_are_not_followed() -> None:
    """An answer that sends us elsewhere is an answer: the token does not travel."""
    async with serving() as peer, Pools() as pools:
        peer.scripts = [answering(302, b"", location="http://evil.invalid/")]
        assert (await ask(pools, peer.url)).status == 302
        assert len(peer.received) == 1


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tokens go is the configuration's to say."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    async with serving() as peer, Pools() as pools:
        assert (await ask(pools, peer.url)).status == 200


# --- files ----------------------------------------------------------------------------------------


def refused(answer: Answer) -> ProviderError:
    return ProviderError(Verdict.REJECTED, f"HTTP {answer.status}", code="refused")


async def read_file(
    pools: Pools,
    peer: Peer,
    *,
    most: int = 2**20,
    seconds: float = 5.0,
    link: Heard | None = None,
    stop: int = 0,
) -> bytes:
    target = httpx.URL(peer.url)
    found = b""
    async with stream(
        pools.to(Origin.of(target)),
        request("GET", target, HEADERS),
        refused,
        link=link or Heard(),
        operation="download",
        seconds=seconds,
        most=most,
    ) as (_, chunks):
        async for chunk in chunks:
            found += chunk
            if stop and len(found) >= stop:
                break
    return found


async def test_a_file_is_read_in_chunks_and_its_connection_kept() -> None:
    """The connection goes back once the last chunk is read."""
    heard = Heard()
    content = bytes(range(256)) * 2048
    async with serving() as peer, Pools() as pools:
        peer.otherwise = answering(200, content)
        assert await read_file(pools, peer, link=heard) == content
        assert await read_file(pools, peer) == content
        assert peer.connections == 1
    assert heard.calls == [("download", "ok")]


async def test_a_file_that_nobody_reads_to_its_end_is_let_go() -> None:
    """The rest of it is not fetched, and the connection not used again."""
    async with serving() as peer, Pools(size=1) as pools:
        peer.otherwise = answering(200, b"x" * 2**20)
        assert len(await read_file(pools, peer, stop=1)) < 2**20
        assert len(await read_file(pools, peer)) == 2**20
        assert peer.connections == 2


FILE_FAILURES: dict[str, tuple[Script, Verdict, str]] = {
    "is too large": (answering(200, b"x" * (2**20 + 1)), Verdict.REJECTED, "media_too_large"),
    "is refused": (answering(403, b"no"), Verdict.REJECTED, "refused"),
    "is cut": (wire.cut, Verdict.NOT_SENT, "connection_lost"),
    "never comes": (wire.hang, Verdict.NOT_SENT, "provider_timeout"),
}


@pytest.mark.parametrize("label", FILE_FAILURES)
async def test_a_file_that_does_not_come(label: str) -> None:
    """Each end has its code, and the slot is free again."""
    script, verdict, code = FILE_FAILURES[label]
    heard = Heard()
    async with serving() as peer, Pools(size=1) as pools:
        peer.scripts = [script]
        with pytest.raises(ProviderError) as caught:
            await read_file(pools, peer, link=heard, seconds=0.3)
        peer.otherwise = answering(200, b"ok")
        assert await read_file(pools, peer) == b"ok"
    assert (caught.value.verdict, caught.value.code) == (verdict, code)
    assert heard.calls == [("download", code)]


async def test_a_slow_reader_does_not_use_up_the_providers_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Only waiting for the other side counts."""

    class Two(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            for part in (b"a", b"b"):
                await trio.sleep(4)
                yield part

    class Serves(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=Two())

    async def read(seconds: float) -> bytes:
        found = b""
        async with stream(
            Serves(),
            request("GET", httpx.URL("http://peer"), HEADERS),
            refused,
            link=Heard(),
            operation="download",
            seconds=seconds,
            most=10,
        ) as (_, chunks):
            async for chunk in chunks:
                found += chunk
                await trio.sleep(1000)
        return found

    assert await read(9) == b"ab"
    with pytest.raises(ProviderError) as caught:
        await read(7)
    assert caught.value.code == "provider_timeout"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://graph.facebook.com", ("https", "graph.facebook.com", 443, False)),
        ("https://GRAPH.facebook.com:443/v26.0", ("https", "graph.facebook.com", 443, False)),
        ("http://[::1]:8080/x", ("http", "::1", 8080, False)),
        ("https://mañana.example", ("https", "xn--maana-pta.example", 443, False)),
    ],
)
def test_what_an_origin_is(url: str, origin: tuple[str, str, int, bool]) -> None:
    """Two ways to write one host share one pool."""
    assert tuple(Origin.of(httpx.URL(url))) == origin


async def test_an_ipv6_host_is_reached() -> None:
    """Brackets belong to the URL and not to the host."""
    try:
        listeners = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    peer = Peer()
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery, Pools() as pools:
        nursery.start_soon(trio.serve_listeners, peer.serve, listeners)
        assert (await ask(pools, f"http://[::1]:{port}")).status == 200
        nursery.cancel_scope.cancel()
