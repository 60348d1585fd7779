"""Failures: what may have gone out is unknown, and a refusal means what it says."""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest

from wad.conformance.harness import Doubt, Harness, Refusal
from wad.conformance.rows import labels, rows
from wad.errors import ProviderError, Verdict


class Expected(NamedTuple):
    word: str  # the harness's method
    verdict: Verdict


REFUSALS: Final = {
    "throttled": Expected("throttles", Verdict.THROTTLED),
    "rejected": Expected("rejects", Verdict.REJECTED),
}


class Failures:
    @rows("doubt", lambda harness: harness.doubts())
    async def test_what_may_have_gone_out_is_unknown(self, harness: Harness, doubt: Doubt) -> None:
        """Never retried blindly, never called a success."""
        async with harness.world(seconds=doubt.seconds) as w:
            await w.plan(doubt.script)
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert caught.value.verdict is Verdict.UNKNOWN
            assert w.heard.calls == [("send", caught.value.code)]
            assert len(await w.taken()) == 1

    @labels("expected", REFUSALS)
    async def test_a_refusal_means_what_it_says(self, harness: Harness, expected: Expected) -> None:
        """And tells nothing of the provider's health: a breaker must not open on a customer's mistake."""
        async with harness.world() as w:
            await w.plan(getattr(harness, expected.word)())
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert (caught.value.verdict, caught.value.health) == (expected.verdict, False)
            assert caught.value.code != ProviderError.code
            assert caught.value.provider_code

    @rows("refusal", lambda harness: harness.refusals())
    async def test_an_answer_is_understood(self, harness: Harness, refusal: Refusal) -> None:
        """The provider's own table."""
        async with harness.world() as w:
            await w.plan(refusal.script)
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert (caught.value.verdict, caught.value.code) == (refusal.verdict, refusal.code)

    async def test_a_connect_tells_bad_credentials_from_a_bad_day(self, harness: Harness) -> None:
        """The first needs a person; after the second, and then a good answer, it is connected."""
        async with harness.world() as w:
            await w.connection.disconnect()
            await w.plan(harness.refuses_credentials())
            with pytest.raises(ProviderError) as caught:
                await w.connection.connect()
            assert caught.value.needs_person
            await w.plan(harness.has_a_bad_day())
            with pytest.raises(ProviderError) as caught:
                await w.connection.connect()
            assert caught.value.verdict is Verdict.NOT_SENT
            await w.plan(harness.proves())
            assert await w.connection.connect() is not None
