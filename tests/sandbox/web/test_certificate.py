"""The media host's certificate: kept, renewed in time, good for this machine, and for nothing else."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509

from wad.sandbox.web.certificate import Certificate, certificate


def test_what_is_made_for_it_is_nobody_elses(tmp_path: Path) -> None:
    """The folders above it too: where the sandbox starts first, one is the daemon's own."""
    certificate(tmp_path / "var" / "sandbox")
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "var", tmp_path / "var" / "sandbox")]
    assert modes == [0o700, 0o700]


def test_it_is_kept(tmp_path: Path) -> None:
    """What was pasted into a configuration stays good on the next start."""
    first = certificate(tmp_path)
    contents = [path.read_bytes() for path in (first.authority, first.chain, first.key)]
    again = certificate(tmp_path)
    assert [path.read_bytes() for path in (again.authority, again.chain, again.key)] == contents
    assert stat.S_IMODE(again.key.stat().st_mode) == 0o600


#: label → what befalls the files
SPOILED: dict[str, Callable[[Certificate], object]] = {
    "a file is gone": lambda made: made.chain.unlink(),
    "a file is cut": lambda made: made.authority.write_bytes(made.authority.read_bytes()[:100]),
    "a key is another's": lambda made: made.key.write_bytes(
        certificate(made.key.parent / "other").key.read_bytes()
    ),
    "an authority is another's": lambda made: made.authority.write_bytes(
        certificate(made.key.parent / "other").authority.read_bytes()
    ),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_what_does_not_fit_together_is_made_anew(
    tmp_path: Path, spoil: Callable[[Certificate], object]
) -> None:
    """Nobody has to know about it."""
    before = certificate(tmp_path)
    spoil(before)
    made = certificate(tmp_path)
    host = x509.load_pem_x509_certificate(made.chain.read_bytes())
    host.verify_directly_issued_by(x509.load_pem_x509_certificate(made.authority.read_bytes()))


def test_it_is_renewed_before_it_ends(tmp_path: Path) -> None:
    """A month ahead, so that no day of use is its last."""
    serial = lambda made: x509.load_pem_x509_certificate(made.chain.read_bytes()).serial_number  # noqa: E731
    first = serial(certificate(tmp_path))
    assert serial(certificate(tmp_path, now=datetime.now(UTC) + timedelta(days=1700))) == first
    assert serial(certificate(tmp_path, now=datetime.now(UTC) + timedelta(days=1810))) != first


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_who_trusts_the_authority_talks_to_the_host_and_nobody_else_does(
    tmp_path: Path, name: str
) -> None:
    """With OpenSSL's strict rules, which are Python 3.13's own."""
    made = certificate(tmp_path)
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(made.chain, made.key)

    async def echo(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):  # a client that does not trust it has left
            await stream.send_all(b"here")

    trusting = ssl.create_default_context(cafile=str(made.authority))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, echo, 0, inside, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        port = listener.transport_listener.socket.getsockname()[1]
        raw = await trio.open_tcp_stream("127.0.0.1", port)
        async with trio.SSLStream(raw, trusting, server_hostname=name, https_compatible=True) as stream:
            assert await stream.receive_some() == b"here"
        raw = await trio.open_tcp_stream("127.0.0.1", port)
        stranger = trio.SSLStream(raw, ssl.create_default_context(), server_hostname=name)
        with pytest.raises(trio.BrokenResourceError):
            await stranger.do_handshake()
        await trio.aclose_forcefully(stranger)
        nursery.cancel_scope.cancel()
