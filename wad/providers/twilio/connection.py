"""One account of Twilio's: prove it, send, show that we type, fetch files; and read the list of messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any, Final

import httpx

from wad import __version__
from wad.errors import ProviderError, Verdict
from wad.models import Inbound, OutboundMessage, utc_now
from wad.providers.base import Accepted, Connection, Link, MediaContent, Proof
from wad.providers.http import Answer, Pools, request, stream
from wad.providers.twilio.account import Account
from wad.providers.twilio.errors import error_of
from wad.providers.twilio.listing import Listing, Readable
from wad.providers.twilio.send import parameters

#: The largest file that Twilio carries has 16 MB; what is larger was not WhatsApp's.
_MOST_BYTES: Final = 100 * 2**20
#: Seconds to wait, in all, for a file.
_DOWNLOAD: Final = 300.0
#: Twilio leads to the host that has the file, at once.
_REDIRECTS: Final = 3

#: What an account's `status` means, where it is not `active`.
_CLOSED: Final = {"suspended": "account_suspended", "closed": "account_closed"}


class TwilioConnection(Connection):
    """A session's connection. It holds no socket: the pools do. The SDK comes in with its first request."""

    def __init__(self, account: Account, pools: Pools, link: Link) -> None:
        self._account = account
        self._pools = pools
        self._link = link

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._account!r}>"

    async def connect(self) -> Proof:
        """Ask for the account with its auth token, and with the API key for a message, if there is a key.

        So the token is proven that verifies the webhooks, whoever sends.
        """
        from wad.providers.twilio.transport import PROBE, PROBE_KEY

        if self._account.lacks is not None:
            code, detail = self._account.lacks
            raise ProviderError(Verdict.NEEDS_PERSON, detail, code=code)
        sender, owner = self._account.sender, self._account.owner
        try:
            account = await self._client(PROBE, owner).api.v2010.accounts(self._account.sid).fetch_async()
            if sender != owner:
                with Readable():
                    await self._client(PROBE_KEY).api.v2010.account.messages.page_async(page_size=1)
        except ProviderError as error:
            if error.verdict is not Verdict.REJECTED:
                raise
            # The request is right, so what it names is not: an account that is not this token's, or no account.
            raise ProviderError(
                Verdict.NEEDS_PERSON, error.detail, code="account_unknown", provider_code=error.provider_code
            ) from error
        if account.status != "active":
            raise ProviderError(
                Verdict.NEEDS_PERSON,
                f"Twilio says that the account is {account.status!s:.50}",
                code=_CLOSED.get(account.status, "account_suspended"),
            )
        shown = {
            "accountStatus": account.status,
            "accountName": account.friendly_name,
            "accountType": account.type,
        }
        data = {name: value for name, value in shown.items() if isinstance(value, str) and value}
        return Proof(self._account.number, data)

    async def send(self, message: OutboundMessage) -> Accepted:
        from wad.providers.twilio.transport import SEND

        asked = parameters(message, self._account, utc_now())
        accepted = await self._client(SEND).api.v2010.account.messages.create_async(**asked)
        return Accepted(accepted.sid)

    async def mark_read(self, provider_message_id: str, *, typing: bool) -> None:
        """Show the customer that we type, which marks their message read. There is no way to do only that."""
        from wad.providers.twilio.transport import TYPING

        if not typing:
            await super().mark_read(provider_message_id, typing=False)
        indicator = self._client(TYPING).messaging.v2.typing_indicator
        await indicator.create_async(channel="whatsapp", message_id=provider_message_id)

    async def find(self, message: OutboundMessage, since: datetime) -> list[Accepted]:
        return await Listing(self._account, self._pools, self._link).find(message, since)

    def missed(self, since: datetime) -> AsyncGenerator[Sequence[Inbound], None]:
        return Listing(self._account, self._pools, self._link).missed(since)

    @asynccontextmanager
    async def download(self, provider_media_id: str) -> AsyncIterator[MediaContent]:
        """The file: Twilio asks who we are, and sends us on to a host that must not be told."""
        async with AsyncExitStack() as stack:
            headers, chunks = await self._open_file(provider_media_id, stack)
            length = headers.get("content-length", "")
            yield MediaContent(
                mime_type=headers.get("content-type", "application/octet-stream"),
                size=int(length) if length.isascii() and length.isdigit() else None,
                sha256=None,
                chunks=chunks,
            )

    # --- requests -----------------------------------------------------------------------------------

    def _client(self, operation: Any, login: Any = None) -> Any:
        from wad.providers.twilio.transport import client

        return client(operation, self._account, self._pools, self._link, login=login or self._account.sender)

    async def _open_file(self, media_id: str, stack: AsyncExitStack) -> Any:
        from wad.providers.twilio.transport import basic

        url = _file_url(media_id)
        if url is None or not self._account.owns(url):
            raise _refused_file("the file lies on a host that is not Twilio's")
        headers = {"Authorization": basic(self._account.sender)}
        for _ in range(_REDIRECTS + 1):
            moved: list[httpx.URL] = []
            opening = stream(
                self._pools.to(self._account.origin_of(url)),
                request("GET", url, _file_headers(url, headers)),
                lambda answer, at=url, moved=moved: self._file_refused(answer, at, moved),  # type: ignore[misc]
                link=self._link,
                operation="download",
                seconds=_DOWNLOAD,
                most=_MOST_BYTES,
            )
            try:
                return await stack.enter_async_context(opening)
            except ProviderError:
                if not moved:
                    raise
            url, headers = moved[0], {}
        raise _refused_file("the file's host sends us on and on")

    def _file_refused(self, answer: Answer, at: httpx.URL, moved: list[httpx.URL]) -> ProviderError:
        """What an answer means that is no file. Where it leads on, *moved* hears of that."""
        if answer.status in (301, 302, 303, 307, 308):
            target = _file_url(str(at.join(answer.headers.get("location", ""))))
            if target is None or (target.scheme != "https" and not self._account.owns(target)):
                return _refused_file("the file's host leads nowhere")
            moved.append(target)
            return ProviderError(Verdict.NOT_SENT, "the file lies elsewhere", code="media_moved")
        if answer.status in (404, 410):
            return ProviderError(Verdict.REJECTED, "Twilio has the file no more", code="media_gone")
        return error_of(answer, secrets=self._account.secrets)


def _file_url(url: str) -> httpx.URL | None:
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    return target if target.scheme in ("http", "https") and target.host and not target.userinfo else None


def _file_headers(url: httpx.URL, more: dict[str, str]) -> httpx.Headers:
    return httpx.Headers(
        {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"wad/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **more,
        }
    )


def _refused_file(why: str) -> ProviderError:
    return ProviderError(Verdict.REJECTED, why, code="media_refused")
