"""How texts are compared: without accents and case, since nobody types those on a phone."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

#: Only so much of a message is looked at.
MAX_TEXT: Final = 1000
_MAX_PATTERN: Final = 500
_RE2_MEMORY: Final = 2**20
_WORD: Final = re.compile(r"[^\W_]+")


def plain(text: str) -> str:
    """*text* without accents; ñ is n, and lone surrogates, which RE2 cannot take, are gone."""
    decomposed = unicodedata.normalize("NFKD", text[:MAX_TEXT].encode("utf-8", "ignore").decode())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def fold(text: str) -> str:
    """*text* as it is compared: without accents, case, and more than one space in a row."""
    return " ".join(plain(text).casefold().split())


def trim(folded: str) -> str:
    """Without the marks round it: `¡hola!` is hola. What consists of marks alone stays."""
    return re.sub(r"^[^\w]+|[^\w]+$", "", folded) or folded


def words(folded: str) -> str:
    """The words, each between spaces, so that `word in text` never finds a part of one."""
    return f" {' '.join(_WORD.findall(folded))} "


def compiled(regex: str) -> Any:
    """*regex* for texts without accents, whatever case. Raises ValueError for one that RE2 does not take."""
    import re2  # type: ignore[import-untyped]  # a library in C++: only a file with a regex needs it

    if len(regex) > _MAX_PATTERN:
        raise ValueError(f"a regex may have {_MAX_PATTERN} characters")
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _RE2_MEMORY
    decomposed = unicodedata.normalize("NFD", regex)
    try:
        return re2.compile("".join(c for c in decomposed if not unicodedata.combining(c)), options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{regex!r} is not a regex that RE2 takes: {text}") from None
