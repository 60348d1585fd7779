"""Checks of what wad is reached by, and of what it reaches."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

import httpx

from wad.cli.doctor.finding import Finding
from wad.config import Config

_HERE: Final = 2.0  # seconds for an answer from this machine
_PATIENCE: Final = 5.0  # seconds for one from elsewhere


def ports(config: Config, *, is_running: bool) -> Iterator[Finding]:
    for bind in config.http.bind:
        if bind.startswith("unix:"):
            continue
        if is_running and bind == config.http.bind[0]:
            yield Finding("port", "ok", f"{bind}, in use by the daemon that answers")
            continue
        host, _, port = bind.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), int(port)))
            except OSError as error:
                yield Finding("port", "fail", f"{bind}: {error.strerror}", _port_step(error, port))
            else:
                yield Finding("port", "ok", f"{bind} is free")


def _port_step(error: OSError, port: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"`ss -ltnp 'sport = :{port}'` shows by whom; or set http.bind (WAD_HTTP__BIND)"
    return "set http.bind (WAD_HTTP__BIND) to an address of this machine, and a port above 1023"


def local_url(config: Config) -> str | None:
    """Where this machine reaches the daemon."""
    for bind in config.http.bind:
        if not bind.startswith("unix:"):
            host, _, port = bind.rpartition(":")
            host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  compared, not bound
            return f"http://{host}:{port}"
    return None


def daemon(config: Config, *, start: str) -> Finding:
    url = local_url(config)
    if url is None:
        return Finding("daemon", "warn", "it listens on a Unix socket, which is not looked at")
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_HERE, trust_env=False)
        body = answer.json()
        status, restored, of = body["status"], body["restored"], body["of"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return Finding("daemon", "warn", f"none answers at {url}", start)
    if answer.is_success:
        return Finding("daemon", "ok", f"{status} at {url}: {restored} of {of} sessions restored")
    return Finding(
        "daemon",
        "fail",
        f"{status} at {url}: {restored} of {of} sessions restored",
        "its log says what it waits for",
    )


def public_url(config: Config, *, online: bool) -> Iterator[Finding]:
    url = config.http.public_url
    if url is None:
        yield Finding(
            "public URL",
            "warn",
            "not set: providers cannot send webhooks here",
            "set http.public_url to the https URL that leads here from the internet",
        )
        return
    if not url.startswith("https://"):
        yield Finding(
            "public URL", "warn", f"{url}: providers call https alone", "put a proxy with TLS before wad"
        )
        return
    if not online:
        yield Finding("public URL", "ok", f"{url}, not tried (--online does)")
        return
    try:
        answer = httpx.get(f"{url}/healthz", timeout=_PATIENCE)
    except httpx.HTTPError as error:
        yield Finding("public URL", "fail", f"{url}: {error}", "look at DNS, the proxy and its certificate")
        return
    good = answer.is_success and b'"ok"' in answer.content
    yield Finding(
        "public URL",
        "ok" if good else "fail",
        f"{url}/healthz answered {answer.status_code}",
        None if good else "the proxy has to pass everything on to wad",
    )


def providers(config: Config) -> Iterator[Finding]:
    for name, settings in config.providers:
        url = getattr(settings, "base_url", None) or getattr(settings, "web_socket_url", None)
        parts = urlsplit(str(url))
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        try:
            socket.create_connection((parts.hostname, port), timeout=_PATIENCE).close()
        except OSError as error:
            step = "DNS, firewall or proxy; only sessions of this provider need it"
            yield Finding("provider", "warn", f"{name}: {parts.hostname}:{port}: {error}", step)
        else:
            yield Finding("provider", "ok", f"{name}: {parts.hostname}:{port} can be reached")
