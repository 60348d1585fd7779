"""The pages for people: the console, which is a few files, and without any script the API and what a problem means."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec

from wad.errors import NotFound
from wad.http.openapi import document
from wad.http.operations import Answer, Exchange, Operation
from wad.http.problems import KINDS, kind_of

if TYPE_CHECKING:  # which knows these pages, as part of what handlers work with
    from wad.http.api import Api

_STYLE: Final = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem 1rem .35rem 0; border-bottom: 1px solid #8884; }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: Nothing is loaded, framed, submitted or run: the one style sheet is named by its hash.
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#: The console runs its own files, asks its own API, and draws a QR from what that answers. What comes from the API
#: never becomes HTML: the browser itself refuses it (trusted types).
CONSOLE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
HTML: Final = "text/html; charset=utf-8"
_TYPES: Final = {
    ".html": HTML,
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


_INTRODUCTION: Final = """\
<p>The same for programs: <a href='/openapi.json'>openapi.json</a>.
Everything under <code>/api</code> wants <code>Authorization: Bearer &lt;token&gt;</code>.</p>"""


class File(msgspec.Struct, frozen=True):
    """One file of the console. `tag` names this version of it, so that a browser asks for it once."""

    body: bytes
    media_type: str
    tag: str


class Pages:
    """What is made from the table of operations, or read from disk: once, when it is first asked for."""

    def __init__(self, operations: Sequence[Operation], providers: Sequence[str]) -> None:
        self._operations = operations
        self._providers = providers

    @cached_property
    def console(self) -> Mapping[str, File]:
        """Every file of the console, by name."""
        found = {}
        for each in files("wad.http").joinpath("console").iterdir():
            if media_type := _TYPES.get(each.name[each.name.rfind(".") :]):
                body = each.read_bytes()
                found[each.name] = File(body, media_type, hashlib.sha256(body).hexdigest()[:32])
        return found

    @cached_property
    def openapi(self) -> bytes:
        return msgspec.json.encode(document(self._operations, self._providers))

    @cached_property
    def docs(self) -> bytes:
        tags = dict.fromkeys(op.tag for op in self._operations)
        parts = [_INTRODUCTION]
        for tag in tags:
            rows = (_row(op) for op in self._operations if op.tag == tag)
            parts.append(f"<h2>{escape(tag.capitalize())}</h2>" + _table(("", "", "", "Answers"), rows))
        problems = (
            (_problem_link(code), str(kind.status), escape(kind.title)) for code, kind in KINDS.items()
        )
        parts.append("<h2>Problems</h2>" + _table(("Code", "Status", ""), problems))
        return _page("The API of wad", "\n".join(parts))


def _row(op: Operation) -> tuple[str, ...]:
    answers = sorted(op.answers.keys() | op.refusals)
    return (
        f"<code>{op.method}</code>",
        f"<code>{escape(op.path)}</code>",
        escape(op.summary),
        escape(" ".join(map(str, answers))),
    )


def _problem_link(code: str) -> str:
    return f"<a href='/problems/{escape(code)}'><code>{escape(code)}</code></a>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th scope='col'>{each}</th>" for each in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _page(title: str, body: str) -> bytes:
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width'>\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    ).encode()


# --- the handlers ---------------------------------------------------------------------------------


async def openapi(api: Api, _: Exchange) -> Answer:
    return _answer(api.pages.openapi, "application/json")


async def docs(api: Api, _: Exchange) -> Answer:
    return _answer(api.pages.docs)


async def problem(_api: Api, exchange: Exchange) -> Answer:
    """What `type` of a problem leads to. Providers have words of their own, which share one explanation."""
    code = exchange.path["code"]
    if _WORD.fullmatch(code) is None:
        raise NotFound(f"there is no problem {code!r}")
    kind = kind_of(code)
    return _answer(
        _page(
            kind.title,
            f"<p>{escape(kind.meaning)}</p>\n<p>Status {kind.status}, code <code>{escape(code)}</code>.</p>\n"
            "<p><a href='/docs'>The API of wad</a></p>",
        )
    )


async def home(api: Api, exchange: Exchange) -> Answer:
    return _file(api, exchange, "index.html")


async def console(api: Api, exchange: Exchange) -> Answer:
    return _file(api, exchange, exchange.path["file"])


def _file(api: Api, exchange: Exchange, name: str) -> Answer:
    """A file of the console. A browser keeps it, and asks each time whether it is still the one: an upgrade shows at once."""
    file = api.pages.console.get(name)
    if file is None:
        raise NotFound(f"the console has no {name!r}")
    headers = {
        "Content-Security-Policy": CONSOLE_POLICY,
        "Cache-Control": "no-cache",
        "ETag": f'W/"{file.tag}"',
    }
    if exchange.request.if_none_match.contains_weak(file.tag):
        return Answer(b"", 304, headers, file.media_type)
    return Answer(file.body, headers=headers, media_type=file.media_type)


def _answer(body: bytes, media_type: str = HTML) -> Answer:
    return Answer(body, headers={"Content-Security-Policy": POLICY}, media_type=media_type)
