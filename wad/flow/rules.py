"""The built-in answers: a YAML file of rules, for a newcomer without a flow service of his own.

    rules:
      - match: {text: {contains: [hola, buenas]}}
        replies: [{text: "¡Hola {name}! ¿En qué te ayudo?"}]
    default: [{text: "Gracias, te contestamos pronto."}]

The first rule that matches answers. Texts are compared without case and accents, since nobody types those on a phone.
Regular expressions are RE2's, which take linear time: a customer's message cannot make one run for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wad.errors import FieldError, InvalidRequest
from wad.flow.texts import MAX_TEXT, compiled, fold, plain, trim, words
from wad.models import InboundMessage, InboxItem
from wad.validation import Model, checked

_MAX_NAME: Final = 60  # of what is put in a reply

#: What nobody expects a general answer to: a thumb under a message, and what WhatsApp itself has to say.
_NO_DEFAULT: Final = frozenset({"reaction", "poll_vote", "system", "unsupported", "edit", "revoke"})

_PLACEHOLDER: Final = re.compile(r"( ?)\{(\w+)\}")
_PLACEHOLDERS: Final = ("name", "text")

_TYPES: Final = (
    *("text", "image", "audio", "video", "document", "sticker", "location", "contacts", "reaction"),
    *("interactive", "button", "order", "poll", "poll_vote", "system", "edit", "revoke", "unsupported"),
)


# --- the file -------------------------------------------------------------------------------------


def _listed(value: Any) -> Any:
    """One stands for a list of one, and a number, as in `exact: 1`, for its digits."""
    values = value if isinstance(value, list) else [value]
    return [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in values]


Texts: TypeAlias = Annotated[
    list[Annotated[str, Field(min_length=1)]], BeforeValidator(_listed), Field(min_length=1)
]


def _compiled(patterns: list[str]) -> list[str]:
    wrong = []
    for pattern in patterns:
        try:
            compiled(pattern)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    return patterns


def _has_words(texts: list[str]) -> list[str]:
    for text in texts:
        if not words(fold(text)).strip():
            raise ValueError(f"{text!r} has no letter and no digit: use contains")
    return texts


def _are_types(types: list[str]) -> list[str]:
    if unknown := [kind for kind in types if kind not in _TYPES]:
        raise ValueError(f"{', '.join(unknown)}: no such type; there are {', '.join(_TYPES)}")
    return types


class Text(Model):
    """What the text has to be like: one of all that is listed here is enough."""

    exact: Texts | None = None
    contains: Texts | None = None
    word: Annotated[Texts, AfterValidator(_has_words)] | None = None
    regex: Annotated[Texts, AfterValidator(_compiled)] | None = None

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.exact is self.contains is self.word is self.regex is None:
            raise ValueError("needs one of exact, contains, word and regex")
        return self

    @cached_property
    def _test(self) -> Callable[[str], bool]:
        exact = {trim(fold(text)) for text in self.exact or ()}
        contained = [fold(text) for text in self.contains or ()]
        whole = [words(fold(text)) for text in self.word or ()]
        searches = [compiled(pattern).search for pattern in self.regex or ()]

        def test(text: str) -> bool:
            folded = fold(text)
            return (
                trim(folded) in exact
                or any(part in folded for part in contained)
                or any(word in words(folded) for word in whole)
                or any(search(plain(text)) for search in searches)
            )

        return test

    def fits(self, text: str) -> bool:
        return self._test(text)


class Match(Model):
    """What a message has to be like: all that is said here."""

    text: Text | None = None  # what was written, the caption of a file, the title of what was tapped
    id: Texts | None = None  # of the button or list row that was tapped
    type: Annotated[Texts, AfterValidator(_are_types)] | None = None  # of what was sent: text, image...
    chat: Literal["person", "group", "any"] = "person"
    provider: Texts | None = None  # of the session that it came to

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.text is None and self.id is None and self.type is None:
            raise ValueError("needs text, id or type; what answers everything else is the file's default")
        return self

    def fits(self, message: InboundMessage, provider: str) -> bool:
        if not self.is_for(provider):
            return False
        if self.chat not in ("any", message.chat_kind):
            return False
        if self.type is not None and message.content["type"] not in self.type:
            return False
        text, tapped = _said(message)
        if self.id is not None and tapped not in self.id:
            return False
        return self.text is None or (text is not None and self.text.fits(text))

    def is_for(self, provider: str) -> bool:
        return self.provider is None or provider in self.provider


class Rule(Model):
    name: str | None = None  # for whoever reads the file
    match: Match
    replies: list[dict[str, Any]]  # none: keep silent


class RulesFile(Model):
    rules: list[Rule] | None = None
    default: list[dict[str, Any]] | None = None


class Rules:
    """The rules of a file. They never change: read the file anew to have others."""

    def __init__(self, file: RulesFile) -> None:
        self._rules = file.rules or []
        self._default = file.default or []

    def __repr__(self) -> str:
        return f"<Rules {len(self._rules)}, {'with' if self._default else 'without'} a default>"

    @classmethod
    def load(cls, path: Path, check_reply: Callable[[object], object]) -> Self:
        """Read *path*. Raises InvalidRequest with every error in it, and OSError where it cannot be read."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"), check_reply)
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{path} is not UTF-8: {error}", code="invalid_rules") from None
        except InvalidRequest as error:
            raise InvalidRequest(f"{path}: {error.detail}", error.errors, code="invalid_rules") from None

    @classmethod
    def parse(cls, text: str, check_reply: Callable[[object], object]) -> Self:
        """*check_reply* raises InvalidRequest for a reply that cannot be sent."""
        try:
            loaded = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader, told to read `no` as a word
        except yaml.YAMLError as error:
            raise InvalidRequest(f"is not YAML: {error}", code="invalid_rules") from None
        written = {} if loaded is None else loaded
        return cls(checked(RulesFile, written, list(_reply_errors(written, check_reply))))

    def answer(self, item: InboxItem) -> list[dict[str, Any]]:
        """The replies to *item*: send bodies without sessionId and to. None for what is not a message."""
        if not isinstance(item.event, InboundMessage):
            return []
        message = item.event
        for rule in self._rules:
            if rule.match.fits(message, item.provider):
                return _filled_in(rule.replies, message)
        if message.chat_kind == "group" or message.content["type"] in _NO_DEFAULT:
            return []
        return _filled_in(self._default, message)

    def unsendable(
        self, provider: str, check: Callable[[Mapping[str, Any]], Iterable[FieldError]]
    ) -> Iterator[FieldError]:
        """What *provider* cannot send of the replies that may be its sessions', with each one's place in the file.

        *check* tells what is wrong with one: a file is good that has replies for other providers too.
        """
        places = [
            (f"/rules/{index}/replies", rule.replies)
            for index, rule in enumerate(self._rules)
            if rule.match.is_for(provider)
        ]
        for place, replies in [*places, ("/default", self._default)]:
            for index, reply in enumerate(replies):
                for error in check(reply):
                    yield FieldError(f"{place}/{index}{error.pointer}", error.detail)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans: in a list of what customers say, `no` is a word. And a key that comes twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(
                "in an object", node.start_mark, f"the key {twice!r} comes twice"
            )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _reply_errors(written: object, check_reply: Callable[[object], object]) -> Iterator[FieldError]:
    """What is wrong with the replies of a file as it was written, whatever else may be wrong with it."""
    if not isinstance(written, Mapping):
        return
    rules = written.get("rules")
    places = [("/default", written.get("default"))]
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if isinstance(rule, Mapping):
            places.append((f"/rules/{index}/replies", rule.get("replies")))
    for place, replies in places:
        for index, reply in enumerate(replies if isinstance(replies, list) else []):
            if not isinstance(reply, Mapping):
                continue  # the model says so
            try:
                check_reply(reply)
            except InvalidRequest as error:
                for each in error.errors or [FieldError("", error.detail)]:
                    yield FieldError(f"{place}/{index}{each.pointer}", each.detail)
            for pointer, text in _strings(reply, f"{place}/{index}"):
                for _, name in _PLACEHOLDER.findall(text):
                    if name not in _PLACEHOLDERS:
                        yield FieldError(pointer, f"{{{name}}} is not known; there are {{name}} and {{text}}")


def _strings(value: object, pointer: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield pointer, value
        case Mapping():
            for key, each in value.items():
                yield from _strings(each, f"{pointer}/{key}")
        case list():
            for index, each in enumerate(value):
                yield from _strings(each, f"{pointer}/{index}")


# --- messages ------------------------------------------------------------------------------------


def _said(message: InboundMessage) -> tuple[str | None, str | None]:
    """What *message* says in words, and the id of the button or row that it was tapped on."""
    kind = message.content["type"]
    content = message.content.get(kind)
    if not isinstance(content, Mapping):
        return None, None
    match kind:
        case "text":
            said, tapped = content.get("body"), None
        case "interactive":  # the answer lies in an object named after its type
            answer = next((each for each in content.values() if isinstance(each, Mapping)), {})
            said, tapped = answer.get("title"), answer.get("id")
        case "button":  # a template's quick reply
            said, tapped = content.get("text"), content.get("payload")
        case _:
            said, tapped = content.get("caption"), None
    return said if isinstance(said, str) else None, tapped if isinstance(tapped, str) else None


def _filled_in(replies: list[dict[str, Any]], message: InboundMessage) -> list[dict[str, Any]]:
    """*replies* with the placeholders of their texts filled in. What a customer wrote is not looked through again."""
    values = {
        "name": (message.sender.name or "")[:_MAX_NAME],
        "text": (_said(message)[0] or "")[:MAX_TEXT],
    }

    def put(found: re.Match[str]) -> str:
        space, name = found.groups()
        if name not in values:
            return found[0]
        return f"{space}{values[name]}" if values[name] else ""  # `Hola {name}!` without one is `Hola!`

    def fill(value: Any) -> Any:
        match value:
            case str():
                return _PLACEHOLDER.sub(put, value)
            case dict():
                return {key: fill(each) for key, each in value.items()}
            case list():
                return [fill(each) for each in value]
            case _:
                return value

    return [fill(reply) for reply in replies]
