"""How one account is reached: all in which Meta's own API and its look-alikes differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

import httpx
import msgspec

from wad import __version__
from wad.providers.http import ATTEMPT, Origin

USER_AGENT: Final = f"wad/{__version__}"


class MetaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration's word on a provider of this family; sessions bring their own where they differ."""

    base_url: str = "https://graph.facebook.com"
    version: str = "v26.0"
    app_secret: str | None = None  # signs webhooks
    verify_token: str | None = None  # of the GET handshake
    timeout: float = ATTEMPT

    def __repr__(self) -> str:
        return f"MetaConfig({self.base_url!r}, {self.version!r})"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One account, and everything that its requests have in common.

    `number` is the path that stands for the phone number, `root` the one before everything else (a file's id). An
    account whose key says which number it is has an empty `number`.
    """

    provider: str  # the kind's name
    base_url: str
    root: str
    number: str
    authorization: Mapping[str, str]
    query: Mapping[str, str] = {}  # goes with every request; may be secret
    #: Paths of the requests that prove the account, the richest first: an older version of the API refuses to be
    #: asked for fields it does not have.
    probes: tuple[str, ...]  # below `number`: what proves the account; the next one where an API knows less
    #: Why the account is not even tried: a code and a sentence. Webhooks that nobody can verify, for one.
    lacks: tuple[str, str] | None = None
    timeout: float = ATTEMPT
    guarded: bool = False  # `base_url` was given over the API, so it is reached through the guard
    #: Hosts whose files may be fetched with our authorization, besides `base_url`'s; a leading dot means: and below.
    media_hosts: tuple[str, ...] = ()
    #: A host that a file's URL names, and the base URL that serves it to us.
    media_rewrite: tuple[str, str] | None = None
    secrets: tuple[str, ...]  # kept out of every text

    def __repr__(self) -> str:
        return f"Account({self.base_url!r}, {self.number!r})"

    @property
    def origin(self) -> Origin:
        return Origin.of(httpx.URL(self.base_url), guarded=self.guarded)

    def url(self, path: str, **query: str) -> httpx.URL:
        """*path* under the base URL, with this query and the one that goes everywhere."""
        parameters = {**query, **self.query}
        joint = "&" if "?" in path else "?"
        return httpx.URL(f"{self.base_url}{path}{joint + urlencode(parameters) if parameters else ''}")

    def object_url(self, object_id: str, **query: str) -> httpx.URL:
        """The URL of something that Meta knows by its id, such as a file. Ids come from outside."""
        return self.url(f"{self.root}/{quote(object_id, safe='')}", **query)

    def headers(self, url: httpx.URL, *, accept: str = "application/json") -> httpx.Headers:
        """All of a request's headers but what its body adds.

        No compression: answers are small, and what is not unpacked cannot blow up.
        """
        return httpx.Headers(
            {
                "Host": url.netloc.decode("ascii"),
                "User-Agent": USER_AGENT,
                "Accept": accept,
                "Accept-Encoding": "identity",
                **self.authorization,
            }
        )

    def file_url(self, url: str) -> httpx.URL | None:
        """Where the file at *url*, which an answer named, is to be fetched; None where it may not be.

        The request carries our authorization, so only the account's own hosts will do.
        """
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL:
            return None
        if self.media_rewrite is not None and target.host == self.media_rewrite[0]:
            base = httpx.URL(self.media_rewrite[1])
            path = base.raw_path.rstrip(b"/") + target.raw_path
            target = target.copy_with(scheme=base.scheme, host=base.host, port=base.port, raw_path=path)
        if target.userinfo or target.scheme not in ("http", "https"):
            return None
        if Origin.of(target) == self.origin._replace(guarded=False):
            return target
        known = any(
            target.host == host or (host.startswith(".") and target.host.endswith(host))
            for host in self.media_hosts
        )
        return target if known and target.scheme == "https" and target.port is None else None
