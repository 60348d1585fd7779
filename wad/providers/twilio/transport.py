"""The wire under Twilio's SDK: its requests go through our pool, and its answers through our table of errors.

The SDK's own clients wait for ever, need asyncio, and lose `Retry-After`. This one is imported with the first request
of a session, for it brings half of the SDK with it (`client`): 7 MB and some 50 ms.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import msgspec
from twilio.http import AsyncHttpClient  # type: ignore[import-untyped]
from twilio.http.response import Response  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from wad import __version__
from wad.providers.base import Link
from wad.providers.http import Answer, Pools, call, request
from wad.providers.rules import garbled, object_of
from wad.providers.twilio.account import Account, Login
from wad.providers.twilio.errors import error_of, log


class Operation(msgspec.Struct, frozen=True):
    """What a request is for. Its answer is an object with `key`, which holds a `kind` that is not empty."""

    name: str
    key: str
    kind: type
    repeatable: bool = True

    def is_in(self, found: dict[str, Any]) -> bool:
        value = found.get(self.key)
        if self.kind is list:  # an empty list is an answer, too; the SDK wants objects in it
            return isinstance(value, list) and all(isinstance(item, dict) for item in value)
        return isinstance(value, self.kind) and bool(value)


SEND: Final = Operation("send", "sid", str, repeatable=False)
PROBE: Final = Operation("probe", "status", str)
PROBE_KEY: Final = Operation("probe", "messages", list)
LIST: Final = Operation("list", "messages", list)
FILES: Final = Operation("files", "media_list", list)
TEMPLATE: Final = Operation("template", "types", dict)
TYPING: Final = Operation("mark_read", "success", bool)

#: In place of the process's environment, which the SDK reads a region, an edge and credentials from. An empty one
#: would count as none.
_ENVIRONMENT: Final = {"WAD": __version__}


def client(operation: Operation, account: Account, pools: Pools, link: Link, *, login: Login) -> Any:
    """The SDK's client for one *operation*. It costs 5 µs, and 3 KB that no idle session keeps."""
    return Client(
        login.user,
        login.password,
        account.sid,
        http_client=Transport(operation, account, pools, link),
        environment=_ENVIRONMENT,
        user_agent_extensions=[f"wad/{__version__}"],
    )


class Transport(AsyncHttpClient):  # type: ignore[misc]
    """Does the requests of one operation. Whatever is no success is raised as a `ProviderError`, past the SDK."""

    def __init__(self, operation: Operation, account: Account, pools: Pools, link: Link) -> None:
        super().__init__(log, is_async=True)
        self.is_async = True
        self._operation = operation
        self._account = account
        self._pools = pools
        self._link = link

    async def request(  # noqa: PLR0917  the SDK's signature
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  the SDK's; ours is the account's
        allow_redirects: bool = False,
    ) -> Response:
        url = self._account.url(uri, params)
        sent = {**(headers or {}), "Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"}
        if auth is not None:
            sent["Authorization"] = basic(Login(*auth))
        answer = await call(
            self._pools.to(self._account.origin_of(url)),
            request(method, url, httpx.Headers(sent), urlencode(data or {}, doseq=True).encode()),
            self._read,
            link=self._link,
            operation=self._operation.name,
            seconds=self._account.timeout,
            repeatable=self._operation.repeatable,
        )
        return Response(answer.status, answer.body.decode(), answer.headers)

    def _read(self, answer: Answer) -> Answer:
        if not 200 <= answer.status < 300:
            raise error_of(answer, secrets=self._account.secrets)
        found = object_of(answer.body)
        if found is None or not self._operation.is_in(found):
            raise garbled(answer)
        return answer


def basic(login: Login) -> str:
    return "Basic " + b64encode(f"{login.user}:{login.password}".encode()).decode("ascii")
