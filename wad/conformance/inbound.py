"""What comes in: a message is the same message when it comes again, and it is understood in wad's own words."""

from __future__ import annotations

from wad.conformance.harness import Harness, Said, Told
from wad.conformance.rows import labels, rows
from wad.conformance.world import HOLA
from wad.models import Address, InboundMessage, MessageState, StatusUpdate
from wad.providers.base import check_send


class ComesIn:
    async def test_a_message_that_comes_again_is_the_same_one(self, harness: Harness) -> None:
        """Whatever is not answered is told again, and by its key it changes nothing then."""
        async with harness.world() as w:
            cause = harness.inbound(w.new_id())
            first, second = await w.hear(cause), await w.hear(cause)
            assert isinstance(first, InboundMessage)
            assert isinstance(second, InboundMessage)
            assert first.dedupe_key == second.dedupe_key

    async def test_another_message_is_another_one(self, harness: Harness) -> None:
        """Also where it says the same."""
        async with harness.world() as w:
            first, second = [await w.hear(harness.inbound(w.new_id())) for _ in range(2)]
            assert isinstance(first, InboundMessage)
            assert isinstance(second, InboundMessage)
            assert first.dedupe_key != second.dedupe_key

    @labels("hidden", {"known by phone": False, "without a phone": True})
    async def test_a_reply_goes_into_the_chat_of_what_it_answers(
        self, harness: Harness, hidden: bool
    ) -> None:
        """Whoever writes can be answered, in the same lane."""
        async with harness.world() as w:
            event = await w.hear(harness.inbound(w.new_id(), hidden=hidden))
            assert isinstance(event, InboundMessage)
            sender = event.sender
            reply = Address(phone=sender.phone, user_id=sender.user_id, jid=sender.jid)
            assert reply.chat == event.chat
            assert check_send(w.kind, reply, HOLA) == []
            await w.deliver(w.message(to=reply))

    @rows("said", lambda harness: harness.said())
    async def test_what_a_customer_says_is_understood(self, harness: Harness, said: Said) -> None:
        """In the words in which wad says the same."""
        async with harness.world() as w:
            event = await w.hear(said.by)
            assert isinstance(event, InboundMessage)
            assert harness.plain(event.content) == said.content

    async def test_a_status_settles_the_send_whose_id_it_brings_back(self, harness: Harness) -> None:
        """By the provider's id, and by ours."""
        async with harness.world() as w:
            sent = w.message()
            accepted = await w.deliver(sent)
            cause = harness.status(accepted.provider_message_id, sent.message_id)
            event = await w.hear(cause, MessageState.DELIVERED)
            assert isinstance(event, StatusUpdate)
            assert event.provider_message_id == accepted.provider_message_id
            assert event.state is MessageState.DELIVERED
            if w.kind.capabilities.settlement in ("callback", "list"):
                assert event.message_id == sent.message_id

    @rows("told", lambda harness: harness.told())
    async def test_a_status_is_understood(self, harness: Harness, told: Told) -> None:
        """A failure says why."""
        async with harness.world() as w:
            event = await w.hear(told.by, told.state)
            assert isinstance(event, StatusUpdate)
            assert event.state is told.state
            assert (event.error is not None) == (told.state is MessageState.FAILED)
