"""What people write is checked whole: every bad field, as a JSON pointer, with what is allowed there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from wad.errors import FieldError, InvalidRequest

M = TypeVar("M", bound="Model")


class Model(BaseModel):
    """An object that people write: camelCase, no field that is not known, no type taken for another.

    `null` stands for a field that is left out, wherever one may be left out.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=False, allow_inf_nan=False
    )


def shaped(pattern: str, hint: str, **schema: Any) -> tuple[AfterValidator, WithJsonSchema]:
    """For `Annotated[str, *shaped(...)]`: a text that is wholly *pattern*; *hint* says it in words."""
    matches = re.compile(pattern).fullmatch

    def check(text: str) -> str:
        if matches(text) is None:
            raise ValueError(hint)
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^({pattern})$", **schema})


def _as_int(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is a whole one, and some clients write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: For `Annotated[int, Field(ge=0), WHOLE]`, in the last place: bounds show in the schema only inside of it.
WHOLE: Final = BeforeValidator(_as_int)


def checked(model: type[M], value: object, more: Iterable[FieldError] = ()) -> M:
    """*value* as a *model*; raises InvalidRequest with every bad field, those of *more* among them.

    *more* is for rules about the whole, which pydantic asks only once every field is right.
    """
    errors = list(more)
    try:
        checked = model.model_validate(value)
    except ValidationError as error:
        raise invalid(merge(errors, field_errors(model, value, error))) from None
    if errors:
        raise invalid(errors)
    return checked


def invalid(errors: Sequence[FieldError]) -> InvalidRequest:
    first, *rest = errors
    text = f"{first.pointer or '/'}: {first.detail}"
    if rest:
        text += f" (and {len(rest)} more)"
    return InvalidRequest(text, list(errors))


def merge(errors: Iterable[FieldError], more: Iterable[FieldError]) -> list[FieldError]:
    """One error a field: the first one said about it."""
    found: dict[str, FieldError] = {}
    for error in (*errors, *more):
        found.setdefault(error.pointer, error)
    return list(found.values())


def field_errors(model: type[BaseModel], value: object, error: ValidationError) -> list[FieldError]:
    """Pydantic's errors about *value*, in our words."""
    found = []
    for each in error.errors(include_url=False, include_input=False):
        path = path_in(value, each["loc"], missing=each["type"] == "missing")
        found.append(FieldError(pointer(path), _detail(model, each["type"], each["msg"], each)))
    return merge(found, ())


def pointer(path: Iterable[str | int]) -> str:
    """RFC 6901."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def path_in(value: object, loc: Sequence[str | int], *, missing: bool) -> list[str | int]:
    """The keys of *loc* that lead through *value*, without the names pydantic adds for members of a union.

    Only a *missing* field may end the way with a key that is not there.
    """
    path: list[str | int] = []
    here = value
    for position, key in enumerate(loc):
        absent = missing and position == len(loc) - 1
        match key, here:
            case int(), list():
                here = here[key]
            case str(), Mapping() if key in here:
                here = here[key]
            case str(), Mapping() if absent:
                here = None
            case _:
                continue
        path.append(key)
    return path


def _detail(model: type[BaseModel], kind: str, message: str, error: Mapping[str, Any]) -> str:
    match kind:
        case "missing":
            return "is required"
        case "extra_forbidden":
            allowed = allowed_fields(model, error["loc"][:-1])
            return (
                f"is not a known field; allowed: {', '.join(allowed)}" if allowed else "is not a known field"
            )
        case "union_tag_invalid":
            return f"must be one of {error['ctx']['expected_tags']}"
        case "union_tag_not_found":
            return f"needs {error['ctx']['discriminator']} to tell what it is"
        case "literal_error" | "enum":
            return f"must be {error['ctx']['expected']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be an object"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return re.sub(r"^[A-Z][a-z]+ should", "should", message).replace(" after validation", "")


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def allowed_fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The names of the fields of the object at *loc*, as pydantic counts its steps."""
    schema = _schema(model)
    node = _resolved(schema, schema)
    for key in loc:
        if isinstance(key, int):
            node = node.get("items", {})
        elif key in node.get("properties", {}):
            node = node["properties"][key]
        elif key in node.get("discriminator", {}).get("mapping", {}):
            node = {"$ref": node["discriminator"]["mapping"][key]}
        node = _resolved(schema, node)
    return sorted(node.get("properties", {}))


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """*node* without its reference, and without the `null` (or the short form) that may stand for it."""
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif options := [
            each
            for each in (*node.get("anyOf", ()), *node.get("oneOf", ()))
            if "discriminator" not in node and each.keys() & {"$ref", "items", "discriminator"}
        ]:
            node = options[0]
        else:
            return node
