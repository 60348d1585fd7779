"""Listening sockets: bound before anything else starts, so that a taken port ends the start at once."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

_UNIX: Final = "unix:"


def bind(binds: Sequence[str], *, backlog: int) -> list[socket.socket]:
    """Sockets that listen at `host:port`, `[v6]:port` and `unix:PATH`. Raises OSError, with all of them closed."""
    sockets: list[socket.socket] = []
    try:
        for address in binds:
            sockets.append(_bound(address))
            sockets[-1].listen(backlog)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bound(address: str) -> socket.socket:
    path = address.removeprefix(_UNIX) if address.startswith(_UNIX) else None
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    tcp = socket.AF_INET6 if ":" in host else socket.AF_INET
    family = tcp if path is None else socket.AF_UNIX
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if path is not None:
            _bind_path(sock, Path(path))
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, int(port)))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error
    return sock


def _bind_path(sock: socket.socket, path: Path) -> None:
    """At *path*, over a socket that nobody listens on any more: a killed daemon leaves its own behind."""
    if path.is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    sock.bind(str(path))
    path.chmod(0o660)


def address_of(sock: socket.socket | trio.socket.SocketType) -> str:
    """Where it can be reached: `http://127.0.0.1:8080`, `unix:/run/wad.sock`."""
    match sock.family, sock.getsockname():
        case socket.AF_UNIX, str() as path:
            return f"{_UNIX}{path}"
        case socket.AF_INET6, (host, port, *_):
            return f"http://[{host}]:{port}"
        case _, (host, port, *_):
            return f"http://{host}:{port}"
        case _, other:
            return str(other)
