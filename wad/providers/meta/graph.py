"""Requests to an account: the same headers, patience and reading of refusals, whatever is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from wad.errors import ProviderError
from wad.providers.base import Link
from wad.providers.http import UPLOAD, Answer, Pools, call, request
from wad.providers.meta import errors
from wad.providers.meta.account import Account
from wad.providers.meta.send import encode
from wad.providers.rules import garbled, object_of

T = TypeVar("T")


class Graph:
    """One account's line to the API. It holds no socket: the pools do."""

    __slots__ = ("_link", "_origin", "_pools", "account")

    def __init__(self, account: Account, pools: Pools, link: Link) -> None:
        self.account = account
        self._pools = pools
        self._link = link
        self._origin = account.origin

    async def get(self, operation: str, url: httpx.URL, read: Callable[[Answer], T]) -> T:
        return await self.call(operation, "GET", url, self.account.headers(url), read, repeatable=True)

    async def post(
        self,
        operation: str,
        url: httpx.URL,
        body: Mapping[str, Any],
        read: Callable[[Answer], T],
        *,
        repeatable: bool = False,
    ) -> T:
        """*body* empty: none at all, which to some of Meta's operations means something else than `{}`."""
        headers = self.json_headers(url) if body else self.account.headers(url)
        content = encode(dict(body)) if body else b""
        return await self.call(operation, "POST", url, headers, read, body=content, repeatable=repeatable)

    async def delete(self, operation: str, url: httpx.URL) -> dict[str, Any]:
        """Twice is once."""
        headers = self.account.headers(url)
        return await self.call(operation, "DELETE", url, headers, self.object, repeatable=True)

    async def call(
        self,
        operation: str,
        method: str,
        url: httpx.URL,
        headers: httpx.Headers,
        read: Callable[[Answer], T],
        *,
        body: bytes = b"",
        repeatable: bool = False,
        seconds: float | None = None,
        upload: bool = False,
    ) -> T:
        """One exchange (`providers.http.call`); *headers* are all but those that the body adds."""
        return await call(
            self._pools.to(self._origin),
            request(method, url, headers, body, upload=upload),
            read,
            link=self._link,
            operation=operation,
            seconds=seconds or (UPLOAD if upload else self.account.timeout),
            repeatable=repeatable,
        )

    def json_headers(self, url: httpx.URL) -> httpx.Headers:
        return httpx.Headers({**self.account.headers(url), "Content-Type": "application/json"})

    def refused(self, answer: Answer) -> ProviderError:
        return errors.error_of(answer, secrets=self.account.secrets)

    def object(self, answer: Answer) -> dict[str, Any]:
        """A success's JSON object; anything else is raised as what it means."""
        decoded = object_of(answer.body)
        if not 200 <= answer.status < 300 or (decoded is not None and "error" in decoded):
            raise self.refused(answer)
        if decoded is None:
            raise garbled(answer)
        return decoded

    def page(self, answer: Answer) -> tuple[list[dict[str, Any]], str | None]:
        """The objects of one page of a list, and the cursor of the next one."""
        body = self.object(answer)
        listed = body.get("data")
        if isinstance(listed, dict):  # Meta nests the list of groups in an object
            listed = listed.get("groups")
        if not isinstance(listed, list):
            raise garbled(answer)
        after: str | None = None
        match body.get("paging"):
            case {"next": str(), "cursors": {"after": str(cursor)}}:
                after = cursor
        return [item for item in listed if isinstance(item, dict)], after
