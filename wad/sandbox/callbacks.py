"""Callback URLs: which may be called at all, and the handshake before one is taken."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
import trio

from wad.sandbox.dialog360 import unsigned
from wad.sandbox.errors import GraphError
from wad.sandbox.network import Callback, Network, Number
from wad.sandbox.settings import Settings


class Callbacks:
    def __init__(
        self,
        *,
        network: Network,
        settings: Callable[[], Settings],
        client: httpx.AsyncClient,
        allow_remote: bool,
    ) -> None:
        self._network = network
        self._settings = settings
        self._client = client
        self._allow_remote = allow_remote

    async def put(self, number: Number, url: str, *, verify: bool = True) -> None:
        """Send the number's events to *url*. The app's other events go there too, where it has no callback yet."""
        app = self._network.app_of(number)
        self.check(url)
        if number.api_key is not None:  # 360dialog asks no callback whether it is one
            number.override = unsigned(number, url)
            return
        callback = Callback(url, app.verify_token)
        if verify and (number.override is None or number.override.url != url):
            await self.shake_hands(callback)
        number.override = callback
        if app.callback_url is None:
            app.callback_url = url

    async def shake_hands(self, callback: Callback) -> None:
        """`GET callback?hub.mode=subscribe&...` must be answered 200 with the challenge, as it stands."""
        self.check(callback.url)
        challenge = str(secrets.randbelow(10**10))
        query = {
            "hub.mode": "subscribe",
            "hub.challenge": challenge,
            "hub.verify_token": callback.verify_token,
        }
        try:
            with trio.fail_after(self._settings().webhook_timeout):
                answer = await self._client.get(callback.url, params=query)
        except (httpx.HTTPError, trio.TooSlowError) as error:
            raise not_verified(f"curl_error = {type(error).__name__}; HTTP Status Code = 0") from None
        if answer.status_code != 200:
            raise not_verified(
                f"HTTP Status Code = {answer.status_code}; HTTP Message = {answer.reason_phrase}"
            )
        if answer.text != challenge:
            raise not_verified("the response does not match the challenge")

    def check(self, url: str) -> None:
        """A simulation has no business calling out into the world, unless its owner says so."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GraphError(100, "", message=f"(#100) {url} is not a valid URI.")
        if not self._allow_remote and not is_loopback(parts.hostname):
            raise not_verified(
                f"{parts.hostname} is not a loopback address, and --allow-remote was not given"
            )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def not_verified(why: str) -> GraphError:
    return GraphError(
        2200, "", message=f"(#2200) Callback verification failed with the following errors: {why}"
    )
