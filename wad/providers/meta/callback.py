"""Where an account's events are told: the apps that are subscribed, and the address that stands over an app's own.

`POST /{WABA}/subscribed_apps` subscribes the app, and sets the address that its body names: with an empty body it
takes an address away that the app set before; those of other apps stay. So wad looks first, and posts an empty one only
where its own app has no address to lose.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wad.errors import ProviderError, Verdict
from wad.providers.http import Answer
from wad.providers.management import Callback, Subscription
from wad.providers.meta.graph import Graph

#: Meta's bound for such an address.
LONGEST_URL: Final = 200


class Own(msgspec.Struct, frozen=True):
    """wad's own address for a session, and the token of its handshake; None for what is not configured."""

    url: str | None
    token: str | None

    def __repr__(self) -> str:
        return f"Own({self.url!r})"


class MetaCallback(Callback):
    """The callback of the account that *graph* stands for: its `number` is the path of the account."""

    def __init__(self, graph: Graph, own: Own) -> None:
        self._graph = graph
        self._own = own
        self._path = f"{graph.account.number}/subscribed_apps"

    async def subscriptions(self) -> list[Subscription]:
        url = self._graph.account.url(self._path)
        return await self._graph.get("subscriptions", url, self._subscriptions)

    async def set(self, url: str | None, *, token: str | None) -> str:
        override = self.override(url, token)
        await self._post(override)
        return override["override_callback_uri"]

    async def remove(self) -> None:
        await self._post({})

    async def subscribe(self, *, override: bool) -> list[Subscription]:
        """Have the app hear of the account; with *override* at wad's own address for the session."""
        found = await self.subscriptions()
        if override:
            own = self.override(None, None)
            if not any(each.url == own["override_callback_uri"] for each in found):
                await self._post(own)
        elif not any(each.url for each in found) or await self._app() not in {None, *_ids(found)}:
            await self._post({})
        else:
            return found
        return await self.subscriptions()

    def override(self, url: str | None, token: str | None) -> dict[str, str]:
        """The body that sets an address. Raises ProviderError where there is none, or no token for its handshake."""
        url, token = url or self._own.url, token or self._own.token
        if url is None:
            raise _refused(
                "no_public_url", "wad does not know its own address: set http.public_url, or give one"
            )
        if token is None:
            raise _refused(
                "no_verify_token", "there is no token for the handshake: set the session's `verifyToken`"
            )
        if len(url) > LONGEST_URL:
            raise _refused("url_too_long", f"the address may have {LONGEST_URL} characters, not {len(url)}")
        return {"override_callback_uri": url, "verify_token": token}

    async def _app(self) -> str | None:
        """The id of the app whose token it is; None where Meta does not say."""
        url = self._graph.account.object_url("app", fields="id")
        try:
            found = await self._graph.get("app", url, self._graph.object)
        except ProviderError:
            return None
        return str(found["id"]) if "id" in found else None

    async def _post(self, body: dict[str, str]) -> None:
        url = self._graph.account.url(self._path)
        await self._graph.post("subscribe", url, body, self._graph.object, repeatable=True)

    def _subscriptions(self, answer: Answer) -> list[Subscription]:
        listed, _ = self._graph.page(answer)
        return [_subscription(item) for item in listed]


def _ids(found: list[Subscription]) -> set[str]:
    return {each.app_id for each in found}


def _subscription(item: dict[str, Any]) -> Subscription:
    app = item.get("whatsapp_business_api_data")
    app = app if isinstance(app, dict) else {}
    name, url = app.get("name"), item.get("override_callback_uri")
    return Subscription(
        app_id=str(app.get("id", "")),
        name=name if isinstance(name, str) else None,
        url=url if isinstance(url, str) and url else None,
    )


def _refused(code: str, detail: str) -> ProviderError:
    return ProviderError(Verdict.REJECTED, detail, code=code)
