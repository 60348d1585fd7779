"""One session's account: who it says it is, what it sends from, and where Twilio is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

import httpx
import msgspec

from wad.models import MessageId, SessionId
from wad.providers.http import ATTEMPT, Origin

API: Final = "https://api.twilio.com"
#: Twilio's products share a host but for its first word, in every region: `messaging.dublin.ie1.twilio.com`.
_API_HOST: Final = re.compile(r"api((?:\.[a-z0-9-]+){0,2}\.twilio\.com)")
#: What Twilio's own defaults lack: a webhook that we cannot take is tried again, five times and whatever failed.
#: The fragment is for Twilio; it is neither sent nor signed.
_RETRY: Final = "rc=5&rp=all"
CHANNEL: Final = "whatsapp:"


class TwilioConfig(msgspec.Struct, frozen=True, kw_only=True):
    base_url: str = API
    region: str | None = (
        None  # such as `ie1`; with `edge` it chooses the host, where `base_url` is Twilio's own
    )
    edge: str | None = None
    timeout: float = ATTEMPT

    @property
    def url(self) -> str:
        if self.base_url != API or not (self.region or self.edge):
            return self.base_url
        return f"https://{'.'.join(part for part in ('api', self.edge, self.region or 'us1') if part)}.twilio.com"


class Login(msgspec.Struct, frozen=True):
    """A pair for HTTP's Basic."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """`owner` may see the account itself; `sender` is what requests are made with: the same, or an API key."""

    sid: str
    owner: Login
    sender: Login
    number: str | None  # E.164; None: the messaging service chooses
    service: str | None
    base_url: str
    callback: str | None  # this session's webhook, as Twilio can reach it
    guarded: bool = False  # `base_url` was given over the API, so it is reached through the guard
    #: Why the account is not even tried: a code and a sentence. Webhooks that nobody can reach, for one.
    lacks: tuple[str, str] | None = None
    timeout: float = ATTEMPT
    secrets: tuple[str, ...]  # kept out of every text

    def __repr__(self) -> str:
        return f"Account({self.sid!r}, {self.number or self.service!r}, {self.base_url!r})"

    def owns(self, url: httpx.URL) -> bool:
        """Whether *url* is on the account's own host, or on another one of Twilio's: so it may see our password."""
        base = httpx.URL(self.base_url)
        twilio = _API_HOST.fullmatch(base.host) is not None and url.host.endswith(".twilio.com")
        place = (url.scheme, url.port) == (base.scheme, base.port)
        return place and not url.userinfo and (twilio or url.host == base.host)

    def origin_of(self, url: httpx.URL) -> Origin:
        """What is not the account's own host was named by somebody else, and is reached through the guard."""
        return Origin.of(url, guarded=self.guarded or not self.owns(url))

    def url(self, asked: str, query: Mapping[str, object] | None = None) -> httpx.URL:
        """Where *asked*, a URL as the SDK makes it, lies for this account: its region, or a host that is all of Twilio.

        A `base_url` that is not Twilio's answers for every product of theirs.
        """
        target, base = httpx.URL(asked), httpx.URL(self.base_url)
        host = base.host
        if (family := _API_HOST.fullmatch(host)) is not None:
            host = target.host.partition(".")[0] + family[1]
        raw = target.raw_path.decode("ascii")
        if query:
            raw += ("&" if "?" in raw else "?") + urlencode(query, doseq=True)
        path = base.path.rstrip("/") + raw
        return base.copy_with(host=host, raw_path=path.encode("ascii"))

    def status_callback(self, message_id: MessageId) -> str:
        """Where Twilio tells what becomes of a message. wad's own id in it comes back with every status."""
        return f"{self.callback}?{urlencode({CALLBACK_ID: message_id})}#{_RETRY}"


#: The parameter of the status callback that carries wad's own id.
CALLBACK_ID: Final = "messageId"


def webhook_url(public_url: str, provider: str, session_id: SessionId) -> str:
    return f"{public_url}/webhooks/{provider}/{quote(session_id, safe='')}"
