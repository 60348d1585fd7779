"""Twilio's list of messages: what of ours went out though its answer was lost, and what came in while wad was away.

The list shows text, sender, recipient, times and the number of files; neither the status callback, which has our id in
it, nor a template's name. It is read through the SDK, page by page and so far back as is asked for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]

from wad.errors import ProviderError, Verdict
from wad.models import Inbound, InboundMessage, OutboundMessage
from wad.providers.base import Accepted, Link
from wad.providers.http import Pools
from wad.providers.twilio.account import API, CHANNEL, Account
from wad.providers.twilio.inbound import message_of
from wad.providers.twilio.send import address, shown
from wad.providers.twilio.template import variables

log = logging.getLogger("wad.providers.twilio")

#: How far Twilio's clock may be from ours, and how long a request that nobody waits for any more may take them.
_SKEW: Final = timedelta(seconds=5)
_LATE: Final = timedelta(seconds=60)
#: Messages to a page, which has about a kilobyte for each, and pages of one reading.
_PAGE: Final = 500
_PAGES: Final = 20

_VARIABLE: Final = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")


class Listing:
    """The list, as one account sees it."""

    def __init__(self, account: Account, pools: Pools, link: Link) -> None:
        self._account = account
        self._pools = pools
        self._link = link

    async def find(self, message: OutboundMessage, since: datetime) -> list[Accepted]:
        """Those that went to the same person, from the same sender, in the time of the attempt, with the same content."""
        texts = await self._texts(message)
        first, last = since - _SKEW, since + timedelta(seconds=self._account.timeout) + _LATE
        files = {"location": 0, "text": 0}.get(message.type, 1)
        found: list[Accepted] = []
        where = {"to": address(message.to)}
        if self._account.number is not None:
            where["from_"] = f"{CHANNEL}{self._account.number}"
        # Not by `DateSent`: what Twilio has queued was not sent yet, and would not be in the answer.
        async with aclosing(self._pages(**where)) as pages:
            async for page in pages:
                found += [
                    Accepted(record.sid, "found in Twilio's list of messages")
                    for record in page
                    if record.direction == "outbound-api"
                    and (
                        self._account.service is None or record.messaging_service_sid == self._account.service
                    )
                    and isinstance(record.date_created, datetime)
                    and first <= record.date_created <= last
                    and (record.body or "").strip() in texts
                    and (message.type == "template" or str(record.num_media or 0) == str(files))
                ]
                if page and isinstance(page[-1].date_created, datetime) and page[-1].date_created < first:
                    break  # the newest come first
        return found

    async def missed(self, since: datetime) -> AsyncGenerator[Sequence[Inbound], None]:
        """What customers wrote since *since*, the oldest first. The list does not tell a button's payload, nor a place."""
        where: dict[str, Any] = {"date_sent_after": since}
        if self._account.number is not None:
            where["to"] = f"{CHANNEL}{self._account.number}"
        pages = [
            [record for record in page if self._is_inbound(record)] async for page in self._pages(**where)
        ]
        if len(pages) == _PAGES:
            oldest = next((record.date_sent for page in reversed(pages) for record in reversed(page)), None)
            log.warning("inbound_history_cut", extra={"since": str(since), "read_from": str(oldest)})
        while pages:
            yield [await self._inbound(record) for record in reversed(pages.pop())]

    def _is_inbound(self, record: Any) -> bool:
        ours = self._account.number is not None or record.messaging_service_sid == self._account.service
        return record.direction == "inbound" and ours and str(record.from_ or "").startswith(CHANNEL)

    async def _inbound(self, record: Any) -> InboundMessage:
        """As the webhook would have told it, as far as the list knows."""
        params = {
            "MessageSid": str(record.sid),
            "From": str(record.from_),
            "To": str(record.to or ""),
            "Body": str(record.body or ""),
            "DateSent": str(record.date_sent or ""),
        }
        if str(record.num_media or 0) != "0":
            params |= await self._first_file(str(record.sid))
        known = message_of(params)
        content = {
            "type": "unsupported",
            "unsupported": {"reason": "Twilio's list does not tell what it was"},
        }
        whole = known or message_of({**params, "MessageType": "text"})
        assert whole is not None  # it has a sender: `_is_inbound`
        sent_at = record.date_sent if isinstance(record.date_sent, datetime) else None
        return InboundMessage(
            provider_message_id=whole.provider_message_id,
            chat=whole.chat,
            sender=whole.sender,
            content=content if known is None else known.content,
            sent_at=sent_at,
            raw=params,
        )

    async def _first_file(self, sid: str) -> dict[str, str]:
        from wad.providers.twilio.transport import FILES

        message = self._client(FILES).api.v2010.account.messages(sid)
        with Readable():
            for file in await message.media.list_async(limit=1):
                url = self._account.url(API + str(file.uri).removesuffix(".json"))
                return {"MediaUrl0": str(url), "MediaContentType0": str(file.content_type or "")}
        return {}

    async def _texts(self, message: OutboundMessage) -> set[str]:
        """What the list may show as the text of *message*. A template's text is Twilio's, and is asked for."""
        part = message.content[message.type]
        text = shown(message.type, part)
        if text is not None:
            return {text.strip()}
        from wad.providers.twilio.transport import TEMPLATE

        with Readable():
            template = await self._client(TEMPLATE).content.v1.contents(part["name"]).fetch_async()
        values = {
            **(template.variables or {}),
            **{name: value for name, (_, value) in variables(part).items()},
        }
        bodies = [form.get("body") for form in template.types.values() if isinstance(form, dict)]
        return {
            _VARIABLE.sub(lambda name: str(values.get(name[1], name[0])), body).strip()
            for body in bodies
            if isinstance(body, str)
        }

    async def _pages(self, **where: Any) -> AsyncGenerator[list[Any], None]:
        from wad.providers.twilio.transport import LIST

        with Readable():
            page = await self._client(LIST).api.v2010.account.messages.page_async(page_size=_PAGE, **where)
        for _ in range(_PAGES):
            yield list(page)
            if page.next_page_url is None:
                return
            with Readable():
                page = await page.next_page_async()

    def _client(self, operation: Any) -> Any:
        from wad.providers.twilio.transport import client

        return client(operation, self._account, self._pools, self._link, login=self._account.sender)


class Readable:
    """Round what reads through the SDK: an answer that has what we asked for, and that the SDK cannot take all the same."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TwilioException | httpx.InvalidURL):
            raise ProviderError(
                Verdict.NOT_SENT, "an answer that Twilio's SDK cannot read", code="provider_garbled"
            ) from None
