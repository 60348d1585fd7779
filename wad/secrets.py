"""What is sealed at rest, and with which key: AES-256-GCM, a data key a session, wrapped by the master key.

    master key ──wraps──▶ data key of a session (kept in its row) ──seals──▶ credentials, bodies, answers
               ──wraps──▶ system data key (kept in `meta`), session id "" ──▶ events, inbound of no session

A sealed value is `flags/version (1) · data key's id (4) · nonce (12) · ciphertext and tag`; a wrapped key has
the master's id in the second place. What a value may be opened as is bound to it (AAD): its session and field,
so that nobody who can write to the database can move one value into the place of another.

Masters rotate by wrapping the few data keys anew; the sealed values stay as they are. Deleting a session
forgets its data key, which makes every copy of its bodies unreadable.
"""

from __future__ import annotations

import copy
import hashlib
import os
import zlib
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = 0x10
_COMPRESSED: Final = 0x01
_ID: Final = 4
_NONCE: Final = 12  # random: safe for 2**32 values a key (NIST SP 800-38D, 8.3)
_HEAD: Final = 1 + _ID + _NONCE
#: Bytes that sealing adds: the head, and GCM's tag.
OVERHEAD: Final = _HEAD + 16
_COMPRESS_FROM: Final = 128  # bytes: below, deflate's own overhead eats what it finds

#: Ready ciphers kept, 2.6 KB each (measured): more than the sessions busy at once. Making one costs 3 µs.
_READY: Final = 512


class WrongMasterKey(Exception):
    """The configured master key is not the one this store was sealed with."""


class Unreadable(Exception):
    """A sealed value does not open: its key is unknown, it was changed, or it belongs elsewhere."""


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"wad key id\0" + key).digest()[:_ID]


def _aad(field: str, session_id: str) -> bytes:
    return f"wad1\0{field}\0{session_id}".encode()


class _Cipher:
    """One key, ready to use, and the name it has in an envelope."""

    __slots__ = ("aead", "key_id")

    def __init__(self, key: bytes) -> None:
        self.aead = AESGCM(key)
        self.key_id = _key_id(key)

    def seal(self, plaintext: bytes, aad: bytes, flags: int = 0) -> bytes:
        nonce = os.urandom(_NONCE)
        return bytes((_VERSION | flags,)) + self.key_id + nonce + self.aead.encrypt(nonce, plaintext, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        if len(sealed) <= _HEAD or sealed[0] & ~_COMPRESSED != _VERSION:
            raise Unreadable("not a sealed value of a known version")
        if sealed[1 : 1 + _ID] != self.key_id:
            raise Unreadable("sealed under another key")
        try:
            return self.aead.decrypt(sealed[1 + _ID : _HEAD], sealed[_HEAD:], aad)
        except InvalidTag:
            raise Unreadable("changed since it was sealed, or sealed as something else") from None


class Vault:
    """Seals and opens with the data keys of the sessions it was told of.

    It holds each session's key only as wrapped (65 bytes), and a bounded number of ready ciphers.
    Synchronous and without I/O: who stores the wrapped keys is the store's affair.
    """

    def __init__(self, master: bytes, old_masters: Iterable[bytes] = ()) -> None:
        for key in (master, *(old := list(old_masters))):
            if len(key) != 32:
                raise ValueError(f"a master key has 32 bytes, not {len(key)}")
        self._master = _Cipher(master)
        self._masters = {cipher.key_id: cipher for cipher in (*map(_Cipher, old), self._master)}
        self._wrapped: dict[str, bytes] = {}
        self._ready: dict[str, _Cipher] = {}

    def __repr__(self) -> str:
        return f"Vault(keys={len(self._wrapped)})"

    def fresh(self) -> Vault:
        """A vault with the same masters and no keys: for what is not stored yet and may lose a race."""
        other = copy.copy(self)
        other._wrapped, other._ready = {}, {}  # noqa: SLF001  our own kind
        return other

    # --- data keys

    def new_key(self, session_id: str) -> bytes:
        """Make a data key for *session_id* and learn it; wrapped, for its row."""
        wrapped = self._master.seal(AESGCM.generate_key(256), _aad("data key", session_id))
        self.learn(session_id, wrapped)
        return wrapped

    def learn(self, session_id: str, wrapped: bytes) -> None:
        """Take a wrapped key as stored. It is unwrapped, and found wanting, when first needed."""
        if self._wrapped.get(session_id) != wrapped:
            self._wrapped[session_id] = wrapped
            self._ready.pop(session_id, None)

    def knows(self, session_id: str) -> bool:
        return session_id in self._wrapped

    def forget(self, session_id: str) -> None:
        self._wrapped.pop(session_id, None)
        self._ready.pop(session_id, None)

    def rewrapped(self, session_id: str, wrapped: bytes) -> bytes | None:
        """*wrapped* under the current master, or None where it is already."""
        if wrapped[1 : 1 + _ID] == self._master.key_id:
            return None
        aad = _aad("data key", session_id)
        return self._master.seal(self._unwrap(wrapped, aad), aad)

    def _unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        master = self._masters.get(wrapped[1 : 1 + _ID])
        if master is None:
            raise Unreadable("its data key is wrapped by a master key that is not configured")
        return master.open(wrapped, aad)

    def _cipher(self, session_id: str) -> _Cipher:
        cipher = self._ready.get(session_id)
        if cipher is None:
            wrapped = self._wrapped.get(session_id)
            if wrapped is None:
                raise Unreadable(f"the data key of session {session_id!r} is not known")
            cipher = _Cipher(self._unwrap(wrapped, _aad("data key", session_id)))
            if len(self._ready) >= _READY:
                self._ready.clear()  # simpler than by age, and a refill costs 3 µs each
            self._ready[session_id] = cipher
        return cipher

    # --- values

    def seal(self, session_id: str, field: str, plaintext: bytes, *, compress: bool = True) -> bytes:
        """Not compressed it is `OVERHEAD` longer, whatever it holds."""
        flags = 0
        if compress and len(plaintext) >= _COMPRESS_FROM:
            small = zlib.compress(plaintext, 1)
            if len(small) < len(plaintext):
                plaintext, flags = small, _COMPRESSED
        return self._cipher(session_id).seal(plaintext, _aad(field, session_id), flags)

    def open(self, session_id: str, field: str, sealed: bytes) -> bytes:
        """The plaintext, or `Unreadable`."""
        plaintext = self._cipher(session_id).open(sealed, _aad(field, session_id))
        return zlib.decompress(plaintext) if sealed[0] & _COMPRESSED else plaintext

    # --- is it the right master?

    def canary(self) -> bytes:
        """A value that only this master opens, to be kept in the store."""
        return self._master.seal(b"canary", _aad("canary", ""))

    def check_canary(self, sealed: bytes) -> bool:
        """Whether the current master sealed *sealed*; False: an old one did. Neither: `WrongMasterKey`."""
        master = self._masters.get(sealed[1 : 1 + _ID])
        wrong = WrongMasterKey(
            "secrets.master_key is not the key this store was sealed with: restore the right key, "
            "or start with an empty store"
        )
        if master is None:
            raise wrong
        try:
            master.open(sealed, _aad("canary", ""))
        except Unreadable:
            raise wrong from None
        return master is self._master
