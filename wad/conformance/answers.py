"""What an answer over HTTP means besides: to a send, and to the request that a connect is."""

from __future__ import annotations

import pytest

from wad.conformance.harness import Doubt
from wad.conformance.http import HttpHarness
from wad.conformance.peer import unused_port
from wad.conformance.rows import rows
from wad.errors import ProviderError, Verdict


class Answers:
    async def test_what_surely_did_not_go_out_can_be_tried_again(self, harness: HttpHarness) -> None:
        """Nobody listened."""
        async with harness.world(base_url=f"http://127.0.0.1:{unused_port()}") as w:
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert (caught.value.verdict, caught.value.health) == (Verdict.NOT_SENT, True)
            assert caught.value.retryable

    async def test_a_send_hears_of_bad_credentials(self, harness: HttpHarness) -> None:
        """Which says nothing of the provider's health."""
        async with harness.world() as w:
            await w.plan(harness.refuses_credentials())
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert (caught.value.verdict, caught.value.health) == (Verdict.NEEDS_PERSON, False)
            assert caught.value.provider_code

    @rows("doubt", lambda harness: harness.doubts())
    async def test_a_connect_is_never_unknown(self, harness: HttpHarness, doubt: Doubt) -> None:
        """It can be asked for again; and what is not an answer is no proof."""
        async with harness.world(seconds=doubt.seconds) as w:
            await w.plan(doubt.script)
            with pytest.raises(ProviderError) as caught:
                await w.connection.connect()
            assert caught.value.verdict is Verdict.NOT_SENT
