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


class Refusal(Stop):
    """The daemon answered with a problem (RFC 9457). `problem` is as it came."""

    def __init__(self, problem: Mapping[str, Any], *, next_step: str | None) -> None:
        sentence = _sentence(problem)
        fields = [f"{each.get('pointer')}: {each.get('detail')}" for each in problem.get("errors") or []]
        super().__init__(
            _exit_code(problem),
            sentence,
            details=[field for field in fields if field not in sentence],
            next_step=next_step,
            problem=problem,
        )
        self.code: str = problem["code"]

    @property
    def may_pass(self) -> bool:
        """Whether the daemon itself is in the way for a moment, and nothing that the caller did."""
        return self.code in ("store_unavailable", "actor_down", "starting")


class Unreachable(Stop):
    """No answer came. `may_pass`: a connection was there, and whether the request arrived is not known."""

    def __init__(self, message: str, *, next_step: str, may_pass: bool) -> None:
        super().__init__(os.EX_UNAVAILABLE, message, next_step=next_step)
        self.may_pass = may_pass


class Api:
    """One daemon. Paths are relative to `/api/whatsapp`."""

    def __init__(self, url: str, token: str, *, token_from: str) -> None:
        import httpx

        self.url = url
        self._token_from = token_from
        self._client = httpx.Client(
            base_url=url,
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

    def get(self, path: str, **query: Any) -> Any:
        return self.request("GET", path, query=query)

    def text(self, path: str) -> str:
        """The answer as `text/plain`."""
        with self._reached():
            response = self._client.get(_BASE + path, headers={"Accept": "text/plain"})
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
                method, _BASE + path, params=asked, headers=sent, **({} if body is None else {"json": body})
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
                _BASE + path,
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
        raise Refusal(problem, next_step=self._next_step(problem, path, response))

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

    def _next_step(self, problem: Mapping[str, Any], path: str, response: httpx.Response) -> str | None:
        again = f"try again in {problem.get('retryAfter', 1)} s"
        match problem["code"]:
            case "unauthorized":
                return f"the token came from {self._token_from}; name another with --token-file or $WAD_TOKEN"
            case "forbidden":
                return f"use an admin's token; this one came from {self._token_from}"
            case "not_found" if path.startswith(("/messages", "/dead-letters")):
                return "check the id; a shop's token sees only what is its shop's"
            case "not_found":
                return "`wad sessions list` shows those there are"
            case "session_exists":
                return "choose another id, or remove that session with `wad sessions delete`"
            case "session_unavailable":
                return "mend what the reason says, then `wad sessions connect`; or send with --queue"
            case "not_pairing":
                return "`wad sessions status` tells its state; only baileys sessions pair by QR"
            case "internal":
                return f"the daemon's log has it under request id {response.headers.get('X-Request-Id')}"
            case _ if problem.get("retryable"):
                return again
            case _ if problem.get("errors"):
                return None  # they say it all
            case code:
                return f"{self.url}/problems/{code} explains it"


def _exit_code(problem: Mapping[str, Any]) -> int:
    match problem.get("status"):
        case _ if problem.get("retryable"):
            return os.EX_TEMPFAIL
        case 401 | 403:
            return os.EX_NOPERM
        case 409 if problem.get("code") == "session_exists":
            return os.EX_CANTCREAT
        case 500:
            return os.EX_SOFTWARE
        case int(status) if status >= 500:
            return os.EX_UNAVAILABLE
        case _:
            return os.EX_DATAERR


def _sentence(problem: Mapping[str, Any]) -> str:
    """`Session unavailable: the token has expired (bad_credentials; 190 by cloud_api)`."""
    title, detail = str(problem.get("title", "")), str(problem.get("detail", ""))
    said = f"{title}: {detail}" if title and title.lower() != detail.lower() else detail or title
    reason = problem.get("reason") or {}
    by_provider = problem.get("providerCode") and f"the provider's code is {problem['providerCode']}"
    more = [text for text in (reason.get("code"), by_provider) if text]
    return f"{said} ({'; '.join(more)})" if more else said


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
