"""Sealing: what is sealed opens only as what it was, and nothing of it can be read from outside."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wad.secrets import Unreadable, Vault, WrongMasterKey

MASTER, OTHER = os.urandom(32), os.urandom(32)


def vault_of(*sessions: str, master: bytes = MASTER, old: tuple[bytes, ...] = ()) -> Vault:
    vault = Vault(master, old)
    for session in sessions:
        vault.new_key(session)
    return vault


_VAULT = vault_of("", "s1", "tienda\0x")


@given(
    session=st.sampled_from(["", "s1", "tienda\0x"]),
    field=st.text(max_size=20),
    plaintext=st.binary(max_size=2000),
)
def test_a_sealed_value_opens_to_what_it_was(session, field, plaintext):
    """Seal and open are inverse, for every length, compressible or not."""
    sealed = _VAULT.seal(session, field, plaintext)
    assert _VAULT.open(session, field, sealed) == plaintext


def test_the_same_value_is_never_sealed_alike_twice():
    """Nonces are random, so equal texts cannot be told to be equal."""
    vault = vault_of("s1")
    assert len({vault.seal("s1", "body", b"hola") for _ in range(100)}) == 100


def test_a_value_moved_elsewhere_does_not_open():
    """Session and field are bound to a sealed value."""
    vault = vault_of("s1", "s2")
    sealed = vault.seal("s1", "messages.body/m1", b"hola")
    for session, field in [("s2", "messages.body/m1"), ("s1", "messages.body/m2"), ("s1", "credentials")]:
        with pytest.raises(Unreadable):
            vault.open(session, field, sealed)


def test_field_and_session_cannot_be_slid_into_each_other():
    """`("a", "b\\0c")` and `("a\\0b", "c")` are bound by different keys, whatever the AAD's bytes."""
    vault = vault_of("c", "b\0c")
    with pytest.raises(Unreadable):
        vault.open("c", "a\0b", vault.seal("b\0c", "a", b"x"))


@pytest.mark.parametrize("at", [0, 1, 5, 17, -1], ids=["version", "key id", "nonce", "ciphertext", "tag"])
def test_one_flipped_bit_makes_it_unreadable(at):
    """Every part of an envelope is authenticated, or has to be what we write."""
    vault = vault_of("s1")
    sealed = bytearray(vault.seal("s1", "f", b"hola"))
    sealed[at] ^= 0x02
    with pytest.raises(Unreadable):
        vault.open("s1", "f", bytes(sealed))


@pytest.mark.parametrize("junk", [b"", b"\x10", b"\x10" * 17, os.urandom(60)], ids=len)
def test_junk_is_unreadable_and_nothing_worse(junk):
    """A garbled database raises our error, not an IndexError."""
    with pytest.raises(Unreadable):
        vault_of("s1").open("s1", "f", junk)


def test_a_long_body_is_compressed_first_and_random_bytes_are_not():
    """Compression is kept only where it makes the value smaller."""
    vault = vault_of("s1")
    assert len(vault.seal("s1", "f", b"gracias por su compra " * 50)) < 200
    noise = os.urandom(1000)
    assert len(vault.seal("s1", "f", noise)) == 1000 + 17 + 16


def test_a_key_of_an_unknown_session_is_unreadable_not_made_up():
    """Sealing under a key that nobody stored would lose the value."""
    with pytest.raises(Unreadable, match="not known"):
        vault_of("s1").seal("s2", "f", b"x")


def test_a_forgotten_session_cannot_be_read_even_with_the_master():
    """Deleting a session is the end of its texts."""
    vault = vault_of("s1")
    sealed = vault.seal("s1", "f", b"x")
    vault.forget("s1")
    assert not vault.knows("s1")
    with pytest.raises(Unreadable):
        vault.open("s1", "f", sealed)
    vault.new_key("s1")
    with pytest.raises(Unreadable, match="another key"):
        vault.open("s1", "f", sealed)


def test_a_learned_key_opens_what_another_process_sealed():
    """The wrapped key is all that has to be stored beside the master."""
    first = Vault(MASTER)
    wrapped = first.new_key("s1")
    sealed = first.seal("s1", "f", b"hola")
    second = Vault(MASTER)
    second.learn("s1", wrapped)
    assert second.open("s1", "f", sealed) == b"hola"


def test_a_wrapped_key_given_to_another_session_does_not_unwrap():
    """A data key is bound to its session."""
    vault = Vault(MASTER)
    wrapped = vault.new_key("s1")
    vault.learn("s2", wrapped)
    with pytest.raises(Unreadable):
        vault.seal("s2", "f", b"x")


def test_rotation_rewraps_keys_and_leaves_values():
    """After rewrapping, the old master is not needed to read what was sealed under it."""
    before = Vault(OTHER)
    wrapped = before.new_key("s1")
    sealed = before.seal("s1", "f", b"hola")

    between = Vault(MASTER, [OTHER])
    between.learn("s1", wrapped)
    assert between.open("s1", "f", sealed) == b"hola"
    again = between.rewrapped("s1", wrapped)
    assert again is not None
    assert between.rewrapped("s1", again) is None

    after = Vault(MASTER)
    after.learn("s1", again)
    assert after.open("s1", "f", sealed) == b"hola"
    after.learn("s1", wrapped)
    with pytest.raises(Unreadable, match="not configured"):
        after.open("s1", "f", sealed)


def test_the_canary_tells_right_old_and_wrong_master():
    """A wrong master is found at open, before anything is written under it."""
    canary = Vault(OTHER).canary()
    assert Vault(OTHER).check_canary(canary) is True
    assert Vault(MASTER, [OTHER]).check_canary(canary) is False
    with pytest.raises(WrongMasterKey, match="master_key"):
        Vault(MASTER).check_canary(canary)
    with pytest.raises(WrongMasterKey):
        Vault(OTHER).check_canary(canary[:-1] + bytes([canary[-1] ^ 1]))


@pytest.mark.parametrize("key", [b"", b"short", os.urandom(31), os.urandom(33)], ids=len)
def test_a_master_of_another_length_is_refused(key):
    """AES-256 or nothing."""
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(key)


def test_a_repr_shows_nothing_secret():
    """Whatever is logged or raised shows no key."""
    vault = vault_of("s1")
    assert repr(vault) == "Vault(keys=1)"
    assert MASTER.hex() not in repr(vars(vault))
    assert repr(MASTER)[2:-1] not in repr(vars(vault))


def test_ten_thousand_sessions_keep_few_ciphers_ready():
    """A ready cipher costs 2.6 KB: they are bounded, and made again when needed."""
    vault = vault_of(*(f"s{n}" for n in range(2000)))
    sealed = [vault.seal(f"s{n}", "f", b"x") for n in range(2000)]
    assert len(vault._ready) <= 512
    assert all(vault.open(f"s{n}", "f", value) == b"x" for n, value in enumerate(sealed))
