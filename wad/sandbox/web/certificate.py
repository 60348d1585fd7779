"""A certificate for the media host on this machine, and the authority behind it, whose key is forgotten at once.

WhatsApp Web's media travel by HTTPS only, so the simulated host needs a certificate, and whoever uses it has
to trust the authority: `authority.pem` is what `providers.baileys.extra_ca` names. As nobody keeps the
authority's key, trusting it trusts this one host and nothing else.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEARS: Final = timedelta(days=5 * 365)
_SLACK: Final = timedelta(days=1)  # for clocks that are behind
_FRESH: Final = timedelta(days=30)  # what a kept certificate must still have before it


class Certificate(msgspec.Struct, frozen=True):
    """Three PEM files."""

    authority: Path  # what a client has to trust
    chain: Path  # what the host shows
    key: Path


def certificate(directory: Path, *, now: datetime | None = None) -> Certificate:
    """The certificate kept in *directory*, or a new one: a path that was pasted somewhere stays good."""
    now = now or datetime.now(UTC)
    kept = Certificate(*(directory / name for name in ("authority.pem", "host.pem", "host-key.pem")))
    if not _good(kept, now):
        # `parents=True` would give what is above it the umask's mode, and that is wad's `data_dir`.
        for each in (*reversed(directory.parents), directory):
            each.mkdir(mode=0o700, exist_ok=True)
        _make(kept, now)
    return kept


def _good(kept: Certificate, now: datetime) -> bool:
    """Whether all three files are there, belong together, and last a while."""
    try:
        authority = x509.load_pem_x509_certificate(kept.authority.read_bytes())
        host = x509.load_pem_x509_certificate(kept.chain.read_bytes())
        key = serialization.load_pem_private_key(kept.key.read_bytes(), None)
        host.verify_directly_issued_by(authority)
    except FileNotFoundError:
        return False
    except Exception:  # noqa: BLE001  whatever else is wrong with them, new ones are the cure
        return False
    return host.public_key() == key.public_key() and host.not_valid_after_utc > now + _FRESH


def _make(kept: Certificate, now: datetime) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    host_key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("wad sandbox authority")
    authority = (
        _builder(issuer, issuer, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    host = (
        _builder(_name("localhost"), issuer, host_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    kept.authority.write_bytes(authority.public_bytes(pem))
    kept.chain.write_bytes(host.public_bytes(pem))
    secret = host_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    kept.key.unlink(missing_ok=True)
    kept.key.touch(mode=0o600)
    kept.key.write_bytes(secret)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + _YEARS)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
