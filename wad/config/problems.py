"""What is wrong with a configuration, said for the person who wrote it: where, and what is allowed there."""

from __future__ import annotations

import copy
import difflib
import typing
from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wad.errors import WadError


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong. `path` is a key (`auth.tokens[1].scope`), a file or an environment variable."""

    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class ConfigError(WadError):
    """The configuration cannot be used. `problems` is all of it, not only the first."""

    code = "bad_config"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


def written(loc: Sequence[str | int]) -> str:
    """A place in the tree as people write it: `auth.tokens[1].scope`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def explained(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Every error of pydantic in our words. None of them repeats a value that may be a secret."""
    return [
        Problem(written(each["loc"]), _detail(each, model))
        for each in error.errors(include_url=False, include_input=False)
    ]


def _detail(error: ErrorDetails, model: type[BaseModel]) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return _unknown(error["loc"], model)
        case "missing":
            return "is required"
        case "value_error":
            return str(context["error"])
        case "literal_error" | "enum":
            return f"should be {context['expected']}".replace("'", "")
        case "string_type":
            return "should be text; put a number or yes/no in quotes"
        case "int_type" | "int_parsing" | "int_from_float" | "float_type" | "float_parsing":
            return "should be a number" if "float_" in error["type"] else "should be a whole number"
        case "dict_type":
            return "should be a section with names of your own, such as {tienda-1: ...}"
        case "model_type" | "model_attributes_type":
            return f"should be a section with the keys {', '.join(_keys(model, error['loc']))}"
        case "tuple_type" | "frozen_set_type":
            return "should be a list, such as [a, b]"
        case "greater_than_equal" | "greater_than":
            least = context.get("ge", context.get("gt"))
            return f"should be {'at least' if 'ge' in context else 'more than'} {least:g}"
        case "string_pattern_mismatch":
            return f"should match {context['pattern']}"
        case _:
            return error["msg"][:1].lower() + error["msg"][1:]


def _unknown(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    *parents, key = loc
    known = _keys(model, parents)
    near = difflib.get_close_matches(str(key), known, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"unknown key; {meant}known here: {', '.join(known)}"


def _keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys that may stand at *loc*."""
    here: Any = model
    for part in loc:
        if typing.get_origin(here) is dict:
            here = typing.get_args(here)[1]  # a name of the user's own
        elif isinstance(part, str):
            here = _section(here).model_fields[part].annotation
    return list(_section(here).model_fields)


def _section(annotation: Any) -> type[BaseModel]:
    """The section behind an annotation: itself, or the one in `tuple[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(_section(inner) for inner in typing.get_args(annotation))


def without(tree: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """*tree* without the values that *error* names, so that the rest can still be checked as a whole."""
    left = copy.deepcopy(tree)
    # Backwards, so that taking an item out of a list does not move those that go after it.
    for loc in sorted({_culprit(each["loc"]) for each in error.errors()}, reverse=True):
        _remove(left, loc)
    return left


def _culprit(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """What has to go: of a list, the whole item, and once, however much of it is wrong."""
    first_index = next((at for at, part in enumerate(loc) if isinstance(part, int)), len(loc))
    return loc[: first_index + 1]


def _remove(node: Any, loc: Sequence[str | int]) -> None:
    """Remove the value at *loc*; where there is none (it is required, or a default is at fault), its section."""
    first, *rest = loc
    if not _holds(node, first):
        return  # it went with its section
    if rest and _holds(node[first], rest[0]):
        _remove(node[first], rest)
    else:
        del node[first]


def _holds(node: Any, part: str | int) -> bool:
    return part < len(node) if isinstance(part, int) else isinstance(node, dict) and part in node
