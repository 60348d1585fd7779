"""What stands between a command and the daemon's answer: a problem it answered with, or no answer at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from wad.cli.stop import Stop

#: The daemon itself is in the way for a moment; nothing that the caller did is wrong.
_PASSING: Final = frozenset({"store_unavailable", "actor_down", "starting"})


class Unreachable(Stop):
    """No answer came. `may_pass`: a connection was there, and whether the request arrived is not known."""

    def __init__(self, message: str, *, next_step: str, may_pass: bool) -> None:
        super().__init__(os.EX_UNAVAILABLE, message, next_step=next_step)
        self.may_pass = may_pass


class Refusal(Stop):
    """The daemon answered with a problem (RFC 9457), which `facts` has as it came."""

    def __init__(
        self, problem: Mapping[str, Any], *, path: str, token_from: str, request_id: str | None
    ) -> None:
        sentence = _sentence(problem)
        fields = [f"{each.get('pointer')}: {each.get('detail')}" for each in problem.get("errors") or []]
        super().__init__(
            exit_status(problem),
            sentence,
            details=[field for field in fields if field not in sentence],
            next_step=_next_step(problem, path, token_from, request_id),
            problem=problem,
        )
        self.code: str = problem["code"]
        self.may_pass = self.code in _PASSING


def exit_status(problem: Mapping[str, Any]) -> int:
    """75: the same again may work. 65: never as it stands. 77: not with this token. 69, 70: not the caller's fault."""
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
    """`Session unavailable: the token has expired (bad_credentials; the provider's code is 190)`."""
    title, detail = str(problem.get("title", "")), str(problem.get("detail", ""))
    said = f"{title}: {detail}" if title and title.lower() != detail.lower() else detail or title
    reason = problem.get("reason") or {}
    by_provider = problem.get("providerCode") and f"the provider's code is {problem['providerCode']}"
    more = [text for text in (reason.get("code"), by_provider) if text]
    return f"{said} ({'; '.join(more)})" if more else said


def _next_step(problem: Mapping[str, Any], path: str, token_from: str, request_id: str | None) -> str | None:
    match problem["code"]:
        case "unauthorized":
            return f"the token came from {token_from}; name another with --token-file or $WAD_TOKEN"
        case "forbidden":
            return f"use an admin's token; this one came from {token_from}"
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
            return f"the daemon's log has it under request id {request_id}"
        case _ if problem.get("retryable"):
            return f"try again in {problem.get('retryAfter', 1)} s"
        case _ if problem.get("errors"):
            return None  # they say it all
        case code:
            return f"the daemon explains it at /problems/{code}"
