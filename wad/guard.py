"""URLs that wad fetches for somebody else: only what the public internet shows everybody, unless the operator says so.

A shop may give a flow URL over the API, and wad would call it from inside the operator's network. So its scheme, port
and address are checked, twice: as far as the text alone tells, when it is given (`check`), and wherever its name leads,
each time a connection is opened (`network`). There every address that the name resolves to must pass, and the connection goes to
one of those very addresses: a name that changes its mind between the check and the call gains nothing.

The operator's own URLs, those of the configuration file, do not come here.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from math import inf
from typing import Final, TypeAlias

import httpcore
import httpx
import trio

from wad.errors import InvalidRequest

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

PORTS: Final = frozenset({80, 443})
_MAX_URL: Final = 2048

#: What is not the public internet, beyond what `is_global` knows, which differs between Python's patch releases and
#: never speaks of multicast. From IANA's registries of special-purpose addresses.
_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; clouds answer secrets on 169.254.169.254
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
#: The one block of IPv6 that is given out. What lies outside it (loopback, mapped and compatible IPv4, NAT64, segment
#: routing, unique local, site-local, link-local, multicast) is nobody's server.
_GIVEN_OUT: Final = IPv6Network("2000::/3")

_LOOPBACK: Final = IPv4Address("127.0.0.1")
_LOOPBACK_6: Final = IPv6Network("::1/128")
_HOST: Final = re.compile(r"(?=.{1,253}\.?\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?")


class Guard:
    """Decides which URLs of other people may be fetched."""

    def __init__(self, allow: Iterable[Network | str] = ()) -> None:
        """*allow*: networks that may be reached besides the public internet, there on any port."""
        networks = tuple(ip_network(network) for network in allow)
        if any(_LOOPBACK in network for network in networks):
            networks += (_LOOPBACK_6,)  # the same machine: `localhost` is often both
        self._allow = networks

    def __repr__(self) -> str:
        return f"<Guard allow={[str(network) for network in self._allow]}>"

    def check(self, url: str) -> None:
        """Refuse *url* (InvalidRequest) as far as its text tells. Touches no network, so names are not resolved."""
        host, port = _parts(url)
        address = _written_address(host)
        if address is not None:
            self._check_address(address, port, f"{host} is")
        elif port not in PORTS and not self._allow:
            raise _refusal(f"its port is {port}; allowed are 80 and 443")

    def network(self) -> httpcore.AsyncNetworkBackend:
        """What opens connections, for whoever has a pool of his own: to checked addresses only."""
        return _GuardedNetwork(self)

    def transport(
        self, *, limits: httpx.Limits | None = None, verify: ssl.SSLContext | bool = True
    ) -> httpx.AsyncBaseTransport:
        """A transport for an `httpx.AsyncClient`, with its own pool. It raises InvalidRequest for what is refused."""
        return _GuardedTransport(self, limits or httpx.Limits(), verify)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Where *host* leads, if every one of its addresses may be reached; else InvalidRequest. Raises OSError."""
        answers = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        for text in found:
            # Which of its addresses it was is not told: a stranger would learn what our resolver knows.
            self._check_address(ip_address(text), port, "it leads to what is")
        return found

    def _check_address(self, address: Address, port: int, what: str) -> None:
        plain = address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
        if any(plain in network for network in self._allow):
            return
        if not _is_public(plain):
            raise _refusal(
                f"{what} not an address of the public internet (the operator can allow networks: `guard.allow`)"
            )
        if port not in PORTS:
            raise _refusal(f"its port is {port}; allowed are 80 and 443")


def _refusal(why: str) -> InvalidRequest:
    return InvalidRequest(f"the URL cannot be used: {why}", code="url_not_allowed")


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GIVEN_OUT:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def _parts(url: str) -> tuple[str, int]:
    """Host and port of *url*, as httpx will see them: what checks and what fetches must not read differently."""
    if len(url) > _MAX_URL:
        raise _refusal(f"it is longer than {_MAX_URL} characters")
    if not url.isprintable() or "\\" in url or " " in url:
        raise _refusal("it contains a space, a backslash or a control character")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise _refusal(f"{error}") from None
    if parsed.scheme not in ("http", "https"):
        raise _refusal("it must start with https:// or http://")
    if parsed.userinfo:
        raise _refusal("it must not contain a user name or a password")
    host = parsed.raw_host.decode("ascii")
    if ":" not in host and not _HOST.fullmatch(host):
        raise _refusal(f"{host} is not the name of a host" if host else "it names no host")
    port = parsed.port if parsed.port is not None else (443 if parsed.scheme == "https" else 80)
    if not 0 < port < 2**16:
        raise _refusal(f"its port is {port}; allowed are 80 and 443")
    return host, port


def _written_address(host: str) -> Address | None:
    """The address that *host* is, in any of the forms that the C library takes for one; None for a name."""
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return _LOOPBACK
    if ":" in name:
        try:
            return IPv6Address(name)
        except ValueError:
            raise _refusal(f"{name} is not an IPv6 address") from None
    try:
        return IPv4Address(socket.inet_aton(name))  # 127.1, 0x7f.1, 2130706433...
    except OSError:
        return None


class _GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses. TLS still asks for, and checks, the name: that is decided above."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._trio = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        deadline = trio.current_time() + (inf if timeout is None else timeout)
        addresses = await self._resolve(host, port, deadline)
        failed: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for tried, address in enumerate(addresses):
            # One address that swallows packets must leave time for the others.
            share = (deadline - trio.current_time()) / (len(addresses) - tried)
            try:
                return await self._trio.connect_tcp(
                    address, port, max(0.0, share), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(f"{host} has no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise _refusal("it is no place on the internet")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def _resolve(self, host: str, port: int, deadline: float) -> list[str]:
        try:
            with trio.fail_at(deadline):
                return await self._guard.addresses(host, port)
        except trio.TooSlowError:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
        except (OSError, UnicodeError) as error:  # no such name, or none that DNS could have
            raise httpcore.ConnectError(f"{host}: {error}") from None


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own, over a pool of httpcore's that is told how to connect: httpx does not pass that on."""

    def __init__(self, guard: Guard, limits: httpx.Limits, verify: ssl.SSLContext | bool) -> None:
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        super().__init__(verify=context, trust_env=False, limits=limits)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=guard.network(),
        )
