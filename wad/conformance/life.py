"""The life of a session that keeps a socket: paired, lost, connected again, logged out, over."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio.testing

from wad.conformance.harness import Refusal
from wad.conformance.rows import rows
from wad.conformance.socket import SocketHarness, SocketWorld
from wad.errors import ProviderError, Verdict
from wad.models import InboundMessage


def _closes(harness: SocketHarness) -> Mapping[str, Refusal]:
    return harness.closes()


async def paired(w: SocketWorld) -> None:
    """Have its phone scan the code that *w* shows."""
    assert await w.connection.connect() is None
    qr = w.heard.pairings[-1].qr
    assert qr is not None
    await w.scan(qr)
    await w.heard.until(lambda: w.heard.proofs)


class Life:
    async def test_a_phone_pairs_it_by_what_it_is_shown(
        self, harness: SocketHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Which lets in whoever sees it, and is shown to nobody else."""
        caplog.set_level(1)
        async with harness.unpaired() as w:
            await paired(w)
            assert w.heard.proofs[-1].phone_number == w.phone
            assert await w.linked()
            shown = [repr(w.heard.pairings), repr(w.connection)]
            shown += [record.getMessage() + str(record.__dict__) for record in caplog.records]
            secrets = [*w.secrets, *(pairing.qr or "" for pairing in w.heard.pairings)]
            assert all(secrets)
            assert not [text for text in shown for secret in secrets if secret in text]

    async def test_a_phone_pairs_it_by_a_code_that_is_typed_in(self, harness: SocketHarness) -> None:
        """Asked for by the phone's number, while it waits for one."""
        async with harness.unpaired() as w:
            assert await w.connection.connect() is None
            await w.enter(await w.connection.pairing_code(w.phone))
            await w.heard.until(lambda: w.heard.proofs)
            assert w.heard.proofs[-1].phone_number == w.phone

    async def test_a_pairing_outlives_the_socket(self, harness: SocketHarness) -> None:
        """Letting go never fails, tells nothing, and sends nothing until it is connected again."""
        async with harness.world() as w:
            await w.connection.disconnect()
            await w.connection.disconnect()
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert caught.value.verdict is Verdict.NOT_SENT
            assert await w.taken() == []
            assert await w.connection.connect() is not None
            assert await w.connection.connect() is not None
            await w.deliver(w.message())
            assert (w.heard.losses, w.heard.pairings) == ([], [])

    async def test_a_device_that_logs_out_is_forgotten(self, harness: SocketHarness) -> None:
        """By the other side; its keys, whoever asked removes."""
        async with harness.unpaired() as w:
            await paired(w)
            await w.connection.logout()
            assert not await w.linked()
            await w.heard.keys.clear()
            assert await w.connection.connect() is None
            assert w.heard.losses == []

    @rows("close", _closes)
    async def test_a_lost_connection_is_told_with_its_reason(
        self, harness: SocketHarness, close: Refusal
    ) -> None:
        """Once. After all that no person has to mend it is connected again, without being paired anew."""
        async with harness.world() as w:
            await w.plan(close.script)
            await w.heard.until(lambda: w.heard.losses)
            (error,) = w.heard.losses
            assert (error.verdict, error.code) == (close.verdict, close.code)
            if close.verdict is not Verdict.NEEDS_PERSON:
                assert await w.connection.connect() is not None
            assert len(w.heard.losses) == 1

    async def test_what_the_store_did_not_take_is_told_again(self, harness: SocketHarness) -> None:
        """Nobody else has it."""
        async with harness.world() as w:
            w.heard.store_fails = 1
            assert isinstance(await w.hear(harness.inbound(w.new_id())), InboundMessage)
            assert w.heard.store_fails == 0

    async def test_nothing_is_told_after_the_end(self, harness: SocketHarness) -> None:
        """Whoever has left the block of `open` is not there to hear it, nor that the connection is gone."""
        async with harness.unpaired() as w:
            await paired(w)
        w.heard.forget()
        await harness.inbound(w.new_id())(w)
        await trio.testing.wait_all_tasks_blocked()
        assert w.heard.told == []
