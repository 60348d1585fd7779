"""A mailbox answers every request, with a value, an error or `ActorDown`."""

from dataclasses import dataclass

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wad.actors.mailbox import CAPACITY, Envelope, Mailbox, Request
from wad.errors import ActorDown, Conflict


@dataclass(frozen=True)
class Double(Request[int]):
    number: int


async def answer(envelope: Envelope) -> None:
    match envelope.request:
        case Double(number=0):
            raise RuntimeError("a bug")
        case Double(number=number):

            async def work() -> int:
                if number < 0:
                    raise Conflict("negative")
                return number * 2

            await envelope.settle(work)


async def test_an_answer_comes_back() -> None:
    """`ask` returns what the handler returned for that request."""
    mailbox = Mailbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.serve, answer)
        assert await mailbox.ask(Double(21)) == 42
        nursery.cancel_scope.cancel()


async def test_an_expected_error_is_an_answer_and_the_actor_goes_on() -> None:
    """A WadError reaches whoever asked, and nobody else."""
    mailbox = Mailbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.serve, answer)
        with pytest.raises(Conflict):
            await mailbox.ask(Double(-1))
        assert await mailbox.ask(Double(2)) == 4
        nursery.cancel_scope.cancel()


async def test_a_crash_fails_only_the_request_in_hand() -> None:
    """The one being handled is answered ActorDown; one that waits is answered by the next life."""
    mailbox = Mailbox()
    outcomes: dict[int, object] = {}

    async def ask(number: int) -> None:
        try:
            outcomes[number] = await mailbox.ask(Double(number))
        except ActorDown as down:
            outcomes[number] = down

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 0)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, 3)
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="a bug"):
            await mailbox.serve(answer)
        await wait_all_tasks_blocked()
        assert isinstance(outcomes.pop(0), ActorDown)
        assert outcomes == {}
        nursery.start_soon(mailbox.serve, answer)
        await wait_all_tasks_blocked()
        assert outcomes == {3: 6}
        nursery.cancel_scope.cancel()


async def test_a_closed_mailbox_answers_what_waits_and_what_comes() -> None:
    """Nobody hangs on an actor that is gone, and it stays closed until it is reopened."""
    mailbox = Mailbox()
    downs = 0

    async def ask() -> None:
        nonlocal downs
        with pytest.raises(ActorDown):
            await mailbox.ask(Double(1))
        downs += 1

    async with trio.open_nursery() as nursery:
        for _ in range(CAPACITY + 3):  # three of them wait at a full mailbox
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        mailbox.close()
        await wait_all_tasks_blocked()
    assert downs == CAPACITY + 3
    for _ in range(2):
        with pytest.raises(ActorDown):
            await mailbox.ask(Double(1))
    mailbox.reopen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.serve, answer)
        assert await mailbox.ask(Double(1)) == 2
        nursery.cancel_scope.cancel()


async def test_a_full_mailbox_pushes_back() -> None:
    """More than CAPACITY waiting requests make the next caller wait, so nothing grows without bound."""
    mailbox = Mailbox()
    async with trio.open_nursery() as nursery:
        for _ in range(CAPACITY + 1):
            nursery.start_soon(mailbox.ask, Double(1))
        await wait_all_tasks_blocked()
        assert mailbox.waiting == CAPACITY
        nursery.start_soon(mailbox.serve, answer)
        await wait_all_tasks_blocked()
        assert mailbox.waiting == 0
        nursery.cancel_scope.cancel()


async def test_a_cancelled_actor_leaves_nobody_waiting() -> None:
    """The request in hand when the actor is cancelled is answered ActorDown."""
    mailbox = Mailbox()

    async def stuck(envelope: Envelope) -> None:
        await envelope.settle(trio.sleep_forever)

    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(ActorDown):
                await mailbox.ask(Double(1))

        nursery.start_soon(ask)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(mailbox.serve, stuck)
                await wait_all_tasks_blocked()
                scope.cancel()


async def test_asking_an_actor_that_was_just_cancelled_wakes_nobody_twice() -> None:
    """Between a cancellation and the actor's next step the mailbox takes a request, and keeps it for the next life."""
    mailbox = Mailbox()
    with trio.CancelScope() as life:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailbox.serve, answer)
            await wait_all_tasks_blocked()
            life.cancel()  # the actor is to run with its cancellation, and has not yet
            mailbox._put(Envelope(Double(1)))  # what another task's `ask` does at this moment
    assert mailbox.waiting == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.serve, answer)
        assert await mailbox.ask(Double(2)) == 4
        nursery.cancel_scope.cancel()
