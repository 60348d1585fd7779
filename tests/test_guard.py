"""The URL guard: what other people's URLs may reach, as text and as a connection."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address, ip_network
from socket import AddressFamily, SocketKind
from typing import Any

import httpcore
import httpx
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.provisional import urls

from wad.errors import InvalidRequest
from wad.guard import Guard, _is_public

# --- the text of a URL ----------------------------------------------------------------------------

GOOD = [
    pytest.param("https://shop.example/flow?shop=9", id="a name over https"),
    pytest.param("http://shop.example", id="a name over http"),
    pytest.param("https://shop.example:443/", id="the port of https"),
    pytest.param("http://shop.example:80/", id="the port of http"),
    pytest.param("http://shop.example:443/", id="the other scheme's port"),
    pytest.param("https://8.8.8.8/flow", id="a public address"),
    pytest.param("https://[2606:4700:4700::1111]/", id="a public IPv6 address"),
    pytest.param("https://[::ffff:8.8.8.8]/", id="a public IPv4 address inside IPv6"),
    pytest.param("https://tiendañ.mx/", id="a name with an eñe"),
    pytest.param("https://my_shop.example./", id="an underscore and a root dot"),
]

BAD = [
    pytest.param("ftp://shop.example/", "must start with https", id="another scheme"),
    pytest.param("file:///etc/passwd", "must start with https", id="a file"),
    pytest.param("//shop.example/", "must start with https", id="no scheme"),
    pytest.param("shop.example/flow", "must start with https", id="no scheme at all"),
    pytest.param("", "must start with https", id="nothing"),
    pytest.param("https:///flow", "names no host", id="no host"),
    pytest.param("https://ana:secret@shop.example/", "user name", id="a password"),
    pytest.param("https://ana@shop.example/", "user name", id="a user"),
    pytest.param("https://shop.example@evil.example/", "user name", id="a host that is a user"),
    pytest.param("https://shop.example:8443/", "port is 8443", id="another port"),
    pytest.param("https://shop.example:0/", "port is 0", id="port 0"),
    pytest.param("https://shop.example:99999/", "port is 99999", id="no port"),
    pytest.param("https://8.8.8.8:22/", "port is 22", id="ssh on a public address"),
    pytest.param("https://shop.example/" + "a" * 2048, "longer than", id="too long"),
    pytest.param("https://shop.example/a b", "space", id="a space"),
    pytest.param("https://shop.example/\r\nX-Evil: 1", "space", id="a line break"),
    pytest.param("https://shop.example\\@evil.example/", "backslash", id="a backslash"),
    pytest.param("https://127.0.0.1%2f.example/", "not the name of a host", id="an escaped slash"),
    pytest.param("https://[fe80::1%25eth0]/", "not an address of the public", id="an IPv6 zone"),
    pytest.param("https://[::1", "cannot be used", id="half an IPv6 address"),
    pytest.param("https://[v1.x]/", "cannot be used", id="an IP of the future"),
]

PRIVATE = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST",
    "api.localhost",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.255",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::1]",
    "[100::1]",
    "[2001::1]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",
    "[3fff::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_url_of_the_public_internet_passes(url):
    Guard().check(url)


@pytest.mark.parametrize(("url", "why"), BAD)
def test_a_url_that_is_wrong_in_itself_is_refused_with_its_reason(url, why):
    with pytest.raises(InvalidRequest, match=why) as caught:
        Guard().check(url)
    assert caught.value.code == "url_not_allowed"


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_address_that_is_not_public_is_refused_in_whatever_form(scheme, host):
    with pytest.raises(InvalidRequest, match="not an address of the public internet"):
        Guard().check(f"{scheme}://{host}/flow")


@pytest.mark.parametrize(
    "host",
    ["①②⑦.0.0.1", "１２７.0.0.1", "127。0。0。1", "0177.0.0.1", "x..y", "-", "a" * 64 + ".mx", "."],
)
def test_digits_in_disguise_and_names_that_cannot_be_are_refused(host):
    with pytest.raises(InvalidRequest):
        Guard(allow=["10.0.0.0/8"]).check(f"http://{host}/")


def test_an_allowed_network_may_be_reached_on_any_port():
    guard = Guard(allow=["127.0.0.0/8", ip_network("10.1.0.0/16")])
    guard.check("http://127.0.0.1:9000/flow")
    guard.check("http://localhost:9000/flow")
    guard.check("http://[::ffff:127.0.0.1]:9000/flow")
    guard.check("http://10.1.2.3:8080/")
    guard.check("http://flow.internal:9000/")  # where it leads decides when it is called
    for url in (
        "http://10.2.0.1/",
        "http://8.8.8.8:9000/",
        "http://flow.internal:99999/",
        "ftp://127.0.0.1/",
        "http://a@127.0.0.1/",
    ):
        with pytest.raises(InvalidRequest):
            guard.check(url)


def test_allowing_the_loopback_allows_both_of_them():
    """`localhost` is ::1 as well on most machines: one host, one word."""
    Guard(allow=["127.0.0.1/32"]).check("http://[::1]:9000/")
    with pytest.raises(InvalidRequest):
        Guard(allow=["10.0.0.0/8"]).check("http://[::1]/")


@given(st.ip_addresses(v=6))
def test_of_ipv6_only_what_is_given_out_is_public(address):
    if address not in ip_network("2000::/3"):
        assert not _is_public(address)


@given(st.ip_addresses())
def test_nothing_is_public_that_python_says_is_special(address):
    """Ours is the stricter list: whatever any property of `ipaddress` objects to is refused."""
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    if special:
        assert not _is_public(address)


@given(st.one_of(st.text(), urls(), st.text().map(lambda text: f"http://{text}/"), st.binary().map(repr)))
def test_no_text_makes_the_check_fail_in_another_way(text):
    with suppress(InvalidRequest):
        Guard().check(text)


# --- connections ----------------------------------------------------------------------------------


class Names(trio.abc.HostnameResolver):
    """A DNS that is ours: each name has a list of answers, one a question, the last of which stays."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def getaddrinfo(self, host: Any, port: Any, *numbers: int) -> Any:
        await trio.lowlevel.checkpoint()
        name = host.decode() if isinstance(host, bytes) else host
        self.asked.append(name)
        left = self.answers[name.split(".")[0]]
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [(AddressFamily.AF_INET, SocketKind.SOCK_STREAM, 0, "", (each, port)) for each in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.fixture
async def names():
    resolver = Names()
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


@asynccontextmanager
async def server(
    host: str = "127.0.0.1", *, close: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """An HTTP server that says which address it is; yields its port and the requests it saw."""
    seen: list[bytes] = []

    async def serve(stream: trio.abc.Stream) -> None:
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):  # a client may not like our certificate
            await talk(stream)

    async def talk(stream: trio.abc.Stream) -> None:
        async with stream:
            while True:
                data = await stream.receive_some()
                if not data:
                    return
                seen.append(data)
                connection = "close" if close else "keep-alive"
                await stream.send_all(
                    f"HTTP/1.1 200 OK\r\nContent-Length: {len(host)}\r\nConnection: {connection}\r\n\r\n{host}".encode()
                )
                if close:
                    return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host=host))
        yield listeners[0].socket.getsockname()[1], seen
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def fetching(
    allow: Iterable[str] = (), *, verify: ssl.SSLContext | bool = False
) -> AsyncIterator[httpx.AsyncClient]:
    transport = Guard(allow).transport(verify=verify)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        yield client


async def test_a_name_that_leads_inside_is_refused_when_it_is_called(names):
    """The check of the text could not know. The answer does not tell the caller what our resolver knows."""
    names.answers["flow"] = [["10.9.8.7"]]
    async with fetching() as client:
        with pytest.raises(InvalidRequest, match="public internet") as caught:
            await client.post("http://flow.example/")
    assert "10.9.8.7" not in caught.value.detail


#: Names would be asked of a real DNS.
@pytest.mark.parametrize(
    "text", [text for text in PRIVATE if "localhost" not in text.lower() and text[-1] != "."]
)
async def test_no_form_of_a_private_address_is_connected_to(text):
    """The second wall stands without the first: here nobody called `check`, and the C library reads the forms."""
    network = Guard().network()
    with pytest.raises(InvalidRequest):
        await network.connect_tcp(text.strip("[]"), 80)


async def test_one_bad_address_among_good_ones_is_enough(names):
    """All answers must pass, or a name could offer one for the check and one for the call."""
    async with server() as (port, seen), fetching(["127.0.0.1/32"]) as client:
        names.answers["flow"] = [["127.0.0.1", "127.0.0.2"]]
        with pytest.raises(InvalidRequest):
            await client.get(f"http://flow.example:{port}/")
        assert seen == []
        names.answers["flow"] = [["127.0.0.1"]]
        assert (await client.get(f"http://flow.example:{port}/")).text == "127.0.0.1"


async def test_a_name_that_changes_its_mind_gains_nothing(names):
    """It is asked once a connection, and the connection goes to the address that was checked."""
    names.answers["flow"] = [["127.0.0.1"], ["127.0.0.2"]]
    async with server() as (port, seen), fetching(["127.0.0.1/32"]) as client:
        assert (await client.get(f"http://flow.example:{port}/")).text == "127.0.0.1"
        assert names.asked == ["flow.example"]
        with pytest.raises(InvalidRequest):
            await client.get(f"http://flow.example:{port}/")
        assert len(seen) == 1


async def test_an_allowed_port_is_not_all_ports(names):
    names.answers["flow"] = [["8.8.8.8"]]
    async with fetching(["127.0.0.0/8"]) as client:
        with pytest.raises(InvalidRequest, match="port is 9000"):
            await client.get("http://flow.example:9000/")


async def test_the_next_address_is_tried_when_one_does_not_answer(names):
    async with server() as (port, _), fetching(["127.0.0.0/8"]) as client:
        names.answers["flow"] = [["127.0.0.2", "127.0.0.1"]]
        assert (await client.get(f"http://flow.example:{port}/")).text == "127.0.0.1"
        names.answers["flow"] = [["127.0.0.2", "127.0.0.3"]]
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://flow.example:{port}/")


async def test_a_name_without_an_answer_is_a_failed_connection(names):
    names.answers["flow"] = [[]]
    async with fetching() as client:
        with pytest.raises(httpx.ConnectError, match="has no address"):
            await client.get("http://flow.example/")


async def test_a_name_that_dns_cannot_have_is_a_failed_connection(names):
    with pytest.raises(httpcore.ConnectError):
        await Guard().network().connect_tcp("ñ" * 70 + ".example", 80)
    assert names.asked == []


class Deaf(trio.abc.SocketFactory):
    """A network that swallows every packet."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, float]] = []

    def socket(self, *_kind: Any) -> Any:
        factory = self

        class Socket:
            async def connect(self, address: Any) -> None:
                factory.tried.append((address[0], trio.current_time()))
                await trio.sleep_forever()

            def close(self) -> None:
                pass

        return Socket()


async def test_an_address_that_swallows_packets_leaves_time_for_the_next(names, autojump_clock):
    """The connect timeout is of all addresses together, and each gets its share."""
    deaf = Deaf()
    trio.socket.set_custom_socket_factory(deaf)
    names.answers["flow"] = [["8.8.8.8", "8.8.4.4"]]
    started = trio.current_time()
    with pytest.raises(httpcore.ConnectTimeout):
        await Guard().network().connect_tcp("flow.example", 443, timeout=10.0)
    assert deaf.tried == [("8.8.8.8", started), ("8.8.4.4", started + 5.0)]
    assert trio.current_time() == started + 10.0


async def test_a_slow_resolver_costs_the_connect_timeout(autojump_clock):
    class Silent(Names):
        async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
            await trio.sleep_forever()

    trio.socket.set_custom_hostname_resolver(Silent())
    started = trio.current_time()
    with pytest.raises(httpcore.ConnectTimeout):
        await Guard().network().connect_tcp("flow.example", 80, timeout=5.0)
    assert trio.current_time() - started == 5.0


async def test_a_redirect_is_not_followed():
    """A public server could point inside; what it answers is an answer."""

    async def redirect(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(
                b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, redirect, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with fetching(["127.0.0.0/8"]) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 302
        nursery.cancel_scope.cancel()


async def test_there_are_no_unix_sockets():
    with pytest.raises(InvalidRequest):
        await Guard().network().connect_unix_socket("/run/docker.sock")


def certificate(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of a server that is *name*, and of a client that trusts nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _load(pem, private), ssl.create_default_context(cadata=pem.decode())


def _load(pem: bytes, private: bytes) -> ssl.SSLContext:
    import tempfile

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem + private)
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def test_tls_and_host_are_of_the_name_though_the_connection_is_to_the_address(names):
    """Pinning the address must not weaken TLS: the server hears the name, and its certificate must be of the name."""
    served, trusting = certificate("flow.example")
    asked: list[str | None] = []
    served.sni_callback = lambda _socket, name, _context: asked.append(name)
    names.answers |= {"flow": [["127.0.0.1"]], "other": [["127.0.0.1"]]}
    async with server(tls=served) as (port, seen), fetching(["127.0.0.0/8"], verify=trusting) as client:
        assert (await client.get(f"https://flow.example:{port}/")).text == "127.0.0.1"
        assert asked == ["flow.example"]
        assert f"Host: flow.example:{port}".encode() in seen[0]
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get(f"https://other.example:{port}/")
        chain: BaseException | None = caught.value
        while chain is not None and not isinstance(chain, ssl.SSLCertVerificationError):
            chain = chain.__cause__ or chain.__context__
        assert chain is not None
        assert len(seen) == 1


def test_its_repr_is_for_an_operator():
    assert repr(Guard(["10.0.0.0/8"])) == "<Guard allow=['10.0.0.0/8']>"
    assert repr(Guard()) == "<Guard allow=[]>"


def test_the_oracle_of_these_tests_is_awake():
    assert _is_public(ip_address("8.8.8.8"))
    assert _is_public(ip_address("2606:4700:4700::1111"))
