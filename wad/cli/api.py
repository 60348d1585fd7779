"""The HTTP API of a running daemon, for commands: where it is, which token, and what its refusals mean.

Every refusal ends the command as a `Stop`, with the bad fields, the next step, and an exit status by its kind.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from wad import __version__
from wad.cli.command import json_option
from wad.cli.refusal import Refusal, Unreachable
from wad.cli.stop import Stop

if TYPE_CHECKING:
    import httpx

R = TypeVar("R")

DEFAULT_URL: Final = "http://127.0.0.1:8080"
DEFAULT_TOKEN_FILE: Final = Path("var/admin-token")
_BASE: Final = "/api/whatsapp"
_PROBLEM: Final = "application/problem+json"
#: Longer than the daemon's own `http.response_timeout`, so that its answer comes first.
_TIMEOUT: Final = 35.0


class Api:
    """One daemon. Paths are relative to `/api/whatsapp`."""

    def __init__(self, url: str, token: str, *, token_from: str) -> None:
        import httpx

        self.url = url
        self._token_from = token_from
        self._client = httpx.Client(
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/json",
                "User-Agent": f"wad-cli/{__version__}",
            },
            timeout=httpx.Timeout(_TIMEOUT, connect=5),
            trust_env=not _is_loopback(url),  # a proxy has nothing to do with this machine
        )

    def close(self) -> None:
        self._client.close()

    def _at(self, path: str) -> str:
        return f"{self.url}{_BASE}{path}"

    def get(self, path: str, **query: Any) -> Any:
        return self.request("GET", path, query=query)

    def text(self, path: str) -> str:
        """The answer as `text/plain`."""
        with self._reached():
            response = self._client.get(self._at(path), headers={"Accept": "text/plain"})
        self._check(response, path)
        return response.text

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.request("POST", path, body=body, **more)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float | None = None,
    ) -> Any:
        """The JSON of the answer, None where there is none. *wait* is `Prefer: wait=N`."""
        sent = dict(headers or {})
        if wait is not None:
            sent["Prefer"] = f"wait={wait:g}"
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        with self._reached():
            response = self._client.request(
                method, self._at(path), params=asked, headers=sent, **({} if body is None else {"json": body})
            )
        self._check(response, path)
        return self._json(response) if response.content else None

    def items(self, path: str, *, limit: int, **query: Any) -> tuple[list[Any], str | None]:
        """At most *limit* items of a list, page after page; and the cursor of what is left, if something is."""
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = self.get(path, **query, limit=min(500, limit - len(found)), cursor=cursor)
            found += page["items"]
            cursor = page.get("next")
            if cursor is None or len(found) >= limit:
                return found, cursor

    @contextmanager
    def stream(
        self, path: str, *, query: Mapping[str, str], headers: Mapping[str, str], silence: float
    ) -> Iterator[Iterator[str]]:
        """The lines of a stream that never ends by itself. *silence* is the longest wait for the next one."""
        import httpx

        with (
            self._reached(),
            self._client.stream(
                "GET",
                self._at(path),
                params=query,
                headers={**headers, "Accept": "text/event-stream"},
                timeout=httpx.Timeout(_TIMEOUT, connect=5, read=silence),
            ) as response,
        ):
            if response.is_error:
                response.read()
            self._check(response, path)
            yield response.iter_lines()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Stop(
                os.EX_USAGE, f"{self.url} is no URL of a daemon: {error}", next_step=f"such as {DEFAULT_URL}"
            ) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(
                f"nothing answers at {self.url} ({error or 'no answer in time'})",
                next_step="start it with `wad serve`, or say where it is with --url or $WAD_URL",
                may_pass=False,
            ) from error
        except httpx.TransportError as error:
            raise Unreachable(
                f"{self.url} did not answer: {error or type(error).__name__}",
                next_step="look at its log, and at `wad doctor`",
                may_pass=True,
            ) from error

    def _check(self, response: httpx.Response, path: str) -> None:
        if not response.is_error:
            return
        media_type = response.headers.get("Content-Type", "").partition(";")[0]
        problem = self._json(response) if media_type == _PROBLEM else None
        if not isinstance(problem, dict) or "code" not in problem:
            raise self._not_wad(response)
        raise Refusal(
            problem,
            path=path,
            token_from=self._token_from,
            request_id=response.headers.get("X-Request-Id"),
        )

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._not_wad(response) from None

    def _not_wad(self, response: httpx.Response) -> Stop:
        media_type = response.headers.get("Content-Type", "no type")
        return Stop(
            os.EX_UNAVAILABLE,
            f"{self.url} answered {response.status_code} with {media_type}: that is not how wad answers",
            next_step="is --url right, or does a proxy stand between?",
        )


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or host.startswith("127.")


# --- options ----------------------------------------------------------------------------------------


def api_options(function: Callable[..., R]) -> Callable[..., R]:
    """`api` and `as_json`: the daemon to talk to, and how to show what it says."""

    @json_option
    @click.option("--url", envvar="WAD_URL", default=DEFAULT_URL, show_default=True, show_envvar=True,
                  help="The daemon.")  # fmt: skip
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"Holds the token; else $WAD_TOKEN, else ./{DEFAULT_TOKEN_FILE}.",
    )
    @functools.wraps(function)
    def with_api(url: str, token_file: Path | None, **arguments: Any) -> R:
        token, token_from = _token(token_file)
        api = Api(url.rstrip("/"), token, token_from=token_from)
        try:
            return function(api=api, **arguments)
        finally:
            api.close()

    return with_api


def _token(file: Path | None) -> tuple[str, str]:
    """The token, and where it came from."""
    if file is None and (token := os.environ.get("WAD_TOKEN", "").strip()):
        return _travels(token, "$WAD_TOKEN"), "$WAD_TOKEN"
    path = file or DEFAULT_TOKEN_FILE
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it does not hold text"
        raise Stop(
            os.EX_NOPERM,
            f"no token: {path} cannot be read ({why})" + ("" if file else ", and $WAD_TOKEN is not set"),
            next_step="name its file with --token-file; `wad serve` says where it made one",
        ) from error
    return _travels(token, str(path)), str(path)


def _travels(token: str, where: str) -> str:
    """A token goes into a header: visible ASCII, and something of it."""
    if not token or not all("!" <= char <= "~" for char in token):
        raise Stop(os.EX_NOPERM, f"no token: what {where} holds is none")
    return token
