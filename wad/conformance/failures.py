"""Failures: what may have gone out is unknown, what surely did not can be tried again, and a refusal has its word."""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest

from wad.conformance import peer as wire
from wad.conformance.harness import Harness, Refusal
from wad.conformance.peer import Script, answering, unused_port
from wad.conformance.rows import labels, rows
from wad.conformance.world import world
from wad.errors import ProviderError, Verdict

AMBIGUOUS: Final[dict[str, Script]] = {
    "hangs": wire.hang,
    "hangs up": wire.hang_up,
    "resets": wire.reset,
    "cuts its body": wire.cut,
    "cuts its head": wire.cut_in_the_head,
    "does not speak HTTP": wire.not_http,
    "breaks": answering(500),
    "is behind a broken gateway": answering(502, b"<html>Bad Gateway</html>"),
    "answers with a page": answering(200, b"<html>Sign in to the hotel's network</html>"),
    "answers with nothing": answering(200),
    "answers with something else": answering(200, {"ok": True}),
    "answers too deep": answering(200, b"[" * 100_000),
}


class Expected(NamedTuple):
    word: str  # the harness's method
    verdict: Verdict


REFUSALS: Final = {
    "throttled": Expected("throttles", Verdict.THROTTLED),
    "rejected": Expected("rejects", Verdict.REJECTED),
    "bad credentials": Expected("refuses_credentials", Verdict.NEEDS_PERSON),
}


def _patience(script: Script) -> float:
    """Seconds for an attempt: few where there is nothing to wait for."""
    return 0.3 if script is wire.hang else 5.0


class Failures:
    @labels("answer", AMBIGUOUS)
    async def test_what_may_have_gone_out_is_unknown(self, harness: Harness, answer: Script) -> None:
        """Never retried blindly, never called a success."""
        async with world(harness, seconds=_patience(answer)) as w:
            w.peer.scripts = [answer]
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert caught.value.verdict is Verdict.UNKNOWN
            assert w.heard.calls == [("send", caught.value.code)]
            assert len(w.peer.received) == 1

    async def test_what_surely_did_not_go_out_can_be_tried_again(self, harness: Harness) -> None:
        """Nobody listened."""
        async with world(harness, base_url=f"http://127.0.0.1:{unused_port()}") as w:
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert (caught.value.verdict, caught.value.health) == (Verdict.NOT_SENT, True)
            assert caught.value.retryable

    @labels("expected", REFUSALS)
    async def test_a_refusal_means_what_it_says(self, harness: Harness, expected: Expected) -> None:
        """And tells nothing of the provider's health: a breaker must not open on a customer's mistake."""
        async with world(harness) as w:
            w.peer.scripts = [getattr(harness, expected.word)()]
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert (caught.value.verdict, caught.value.health) == (expected.verdict, False)
            assert caught.value.code != ProviderError.code
            assert caught.value.provider_code

    @rows("refusal", lambda harness: harness.refusals())
    async def test_an_answer_is_understood(self, harness: Harness, refusal: Refusal) -> None:
        """The provider's own table."""
        async with world(harness) as w:
            w.peer.scripts = [refusal.script]
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(w.message())
            assert (caught.value.verdict, caught.value.code) == (refusal.verdict, refusal.code)

    @labels("answer", AMBIGUOUS)
    async def test_a_probe_is_never_unknown(self, harness: Harness, answer: Script) -> None:
        """It can be asked again; and what is not an answer is no proof."""
        async with world(harness, seconds=_patience(answer)) as w:
            w.peer.scripts = [answer]
            with pytest.raises(ProviderError) as caught:
                await w.connection.connect()
            assert caught.value.verdict is Verdict.NOT_SENT

    async def test_a_probe_tells_bad_credentials_from_a_bad_day(self, harness: Harness) -> None:
        """The first needs a person; after the second, and then a good answer, it is connected."""
        async with world(harness) as w:
            w.peer.scripts = [harness.refuses_credentials(), answering(503)]
            w.peer.otherwise = harness.proves()
            with pytest.raises(ProviderError) as caught:
                await w.connection.connect()
            assert caught.value.needs_person
            with pytest.raises(ProviderError) as caught:
                await w.connection.connect()
            assert not caught.value.needs_person
            await w.connection.connect()
