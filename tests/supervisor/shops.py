"""A shop with several numbers over the simulated provider: what befalls one of them is told by its session's id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from tests.house import House, text
from tests.simulated import CAPABILITIES, Behaviour, SimulatedConnection, SimulatedProvider, refusal
from wad.errors import Verdict
from wad.models import (
    Address,
    Content,
    Credentials,
    InboundMessage,
    OutboundMessage,
    Person,
    Session,
    SessionId,
    Settings,
    ShopId,
)
from wad.providers.base import Accepted, Group, Link
from wad.supervisor.sending import Draft, Sent
from wad.supervisor.sessions import NewSession, Sessions

ANA = "+5215512345678"
SHOP = ShopId("shop-9")


class ShopWorld(SimulatedProvider):
    """A provider of several numbers. `down` has what becomes of every send of a session, while it stands there."""

    def __init__(self, *, reply_window: bool = False) -> None:
        super().__init__()
        self.capabilities = msgspec.structs.replace(
            CAPABILITIES,
            content_types=CAPABILITIES.content_types | {"template"},
            reply_window=reply_window,
        )
        self.down: dict[str, Behaviour] = {}
        self.in_groups: dict[str, set[str]] = {}

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[ShopConnection]:
        yield ShopConnection(self, session, link)

    def went_out(self) -> list[tuple[str, str]]:
        """Which session sent which text, in the order of the wire."""
        return [(message.session_id, message.content["text"]["body"]) for message in self.ledger]


class ShopConnection(SimulatedConnection):
    def __init__(self, world: ShopWorld, session: Session, link: Link) -> None:
        super().__init__(world, session, link)
        self._shop_world = world

    async def send(self, message: OutboundMessage) -> Accepted:
        if (behave := self._shop_world.down.get(message.session_id)) is not None:
            await behave(message)
        return await super().send(message)

    async def group(self, group_id: str) -> Group:
        if group_id not in self._shop_world.in_groups.get(self._session.session_id, ()):
            raise refusal(Verdict.REJECTED, "group_unknown")
        return Group(group_id)


def refusing(verdict: Verdict, code: str = "scripted", **more: Any) -> Behaviour:
    async def behave(message: OutboundMessage) -> None:
        raise refusal(verdict, code, **more)

    return behave


@dataclass
class Shop:
    """The sessions of one life, and what tests ask of them."""

    house: House
    sessions: Sessions
    world: ShopWorld

    async def open(self, *names: str, **settings: Any) -> None:
        """Connected sessions of the shop."""
        for name in names:
            await self.sessions.create(
                NewSession(
                    provider="simulated",
                    session_id=SessionId(name),
                    shop_id=SHOP,
                    credentials=Credentials(key=name),
                    settings=Settings(**settings),
                )
            )
            await self.sessions.connect(SessionId(name), wait=60)

    async def send(self, body: str = "hola", to: str = ANA, **more: Any) -> Sent:
        return await self.sessions.messages.send(self.draft(body, to, **more))

    @staticmethod
    def draft(body: str = "hola", to: str = ANA, **more: Any) -> Draft:
        return Draft(**{"shop_id": SHOP, "to": Address(phone=to), "content": text(body), **more})

    async def hears(self, session: str, *, phone: str = ANA, **sender: Any) -> None:
        """A customer writes to a session."""
        who = Person(phone=phone, **sender)
        chat = Address(phone=who.phone, user_id=who.user_id).chat
        count = len(self.house.facts)
        message = InboundMessage(
            provider_message_id=f"in-{session}-{count}", chat=chat, sender=who, content=text("buenas")
        )
        await self.sessions.actors.get(SessionId(session)).received([message])

    async def patch(self, session: str, **settings: Any) -> None:
        await self.sessions.update(SessionId(session), settings=settings)

    async def stored(self, sent: Sent) -> OutboundMessage:
        message = await self.house.store().message(sent.message.message_id)
        assert message is not None
        return message

    def chosen(self, sent: Sent) -> tuple[str, str]:
        """The session, and why."""
        assert sent.choice is not None
        assert sent.choice.chosen is not None
        return sent.message.session_id, str(sent.choice.chosen.why)

    @staticmethod
    def passed_over(sent: Sent) -> dict[str, str]:
        assert sent.choice is not None
        return {each.session_id: str(each.why) for each in sent.choice.others}


@asynccontextmanager
async def a_shop(
    *names: str, world: ShopWorld | None = None, house: House | None = None, **settings: Any
) -> AsyncIterator[Shop]:
    world = world or ShopWorld()
    house = house or House(world=world)
    async with house.run() as sessions:
        shop = Shop(house, sessions, world)
        await shop.open(*names, **settings)
        yield shop
        await trio.lowlevel.checkpoint()


TEMPLATE: Content = {"type": "template", "template": {"name": "pedido_listo", "language": {"code": "es_MX"}}}
