"""The OpenAPI 3.1 document, made from the table of operations: what is served is what is described."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import wad
from wad.content import SendBody
from wad.http.operations import Access, Body, Operation, Result
from wad.http.problems import MEDIA_TYPE, Problem
from wad.http.schemas import BulkBody, NewSessionBody, SessionPatch

_REF: Final = "#/components/schemas/"
_STATUS: Final = {
    400: "The request cannot be read",
    401: "No token, or an unknown one; of a webhook, a bad signature",
    403: "The token may not do this",
    404: "No such thing, or not the token's to see",
    406: "Cannot be had in the form asked for",
    408: "The body did not arrive in time",
    409: "The state of things does not allow it",
    413: "The body is too large",
    415: "The body is of another media type",
    422: "Can be read, but not done as it stands; `errors` names every bad field",
    429: "Too much; Retry-After says when to come back",
    500: "A bug in wad",
    502: "The provider refused, or did not answer",
    503: "Not now; Retry-After says when to come back",
}
_INTRODUCTION: Final = """\
One daemon, many WhatsApp numbers. A 2xx means: it is on disk. Errors are RFC 9457 problems, with `code` for programs,
`detail` for people and, where fields are wrong, every one of them in `errors`. Times are RFC 3339 in UTC.
Lists answer `next`, the `cursor` of the next part."""


def document(operations: Iterable[Operation], providers: Sequence[str]) -> dict[str, Any]:
    """*providers* are the kinds that this process has."""
    operations = list(operations)
    bodies = [op.body.schema for op in operations if op.body and isinstance(op.body.schema, type)]
    taken = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF + "{model}")[1]
    types = [result.type for op in operations for result in op.answers.values() if _described(result)]
    schemas, given = msgspec.json.schema_components([*types, Problem], ref_template=_REF + "{name}")
    answers = {id(type_): schema for type_, schema in zip([*types, Problem], schemas, strict=True)}
    components = taken.get("$defs", {})
    if clash := components.keys() & given.keys():
        raise AssertionError(f"two schemas of one name: {clash}")
    for body in (NewSessionBody, SessionPatch):
        components[body.__name__]["properties"]["provider"] = {"type": "string", "enum": list(providers)}
    # Checked one by one, so that one which is refused leaves the others alone.
    components[BulkBody.__name__]["properties"]["messages"]["items"] = {"$ref": f"{_REF}{SendBody.__name__}"}
    paths: dict[str, Any] = {}
    for op in operations:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op, answers)
    return {
        "openapi": "3.1.0",
        "info": {"title": "wad", "version": wad.__version__, "description": _INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": components | given,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(result: Result) -> bool:
    is_struct = isinstance(result.type, type) and issubclass(result.type, msgspec.Struct)
    return is_struct or _is_union(result.type)


def _is_union(type_: Any) -> bool:
    return hasattr(type_, "__args__")


def _operation(op: Operation, schemas: Mapping[int, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": op.id,
        "tags": [op.tag],
        "summary": op.summary,
        "parameters": _parameters(op),
        "responses": {str(status): _answer(result, schemas) for status, result in sorted(op.answers.items())}
        | {str(status): _problem(status) for status in sorted(op.refusals - op.answers.keys())},
    }
    if op.access is Access.TOKEN:
        described["security"] = [{"token": []}]
    if op.body is not None:
        described["requestBody"] = {"required": True, "content": _content(op.body)}
    return described


def _content(body: Body) -> dict[str, Any]:
    if isinstance(body.schema, type) and issubclass(body.schema, BaseModel):
        return {each: {"schema": {"$ref": _REF + body.schema.__name__}} for each in body.media_types}
    return {each: {"schema": body.schema} for each in body.media_types}


def _parameters(op: Operation) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in op.path.split("/") if part.startswith("{")]
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in names
    ]
    if op.query is not None:
        described = op.query.model_json_schema()
        for name, schema in described["properties"].items():
            required = name in described.get("required", ())
            found.append({"name": name, "in": "query", "required": required, "schema": _given(schema)})
    for name, schema in op.headers.items():
        found.append({"name": name, "in": "header", "required": False, "schema": dict(schema)})
    return found


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """*schema* of a parameter that is there: a query has no way to say null."""
    shown = {key: value for key, value in schema.items() if key not in ("title", "anyOf", "default")}
    options = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if schema.get("default") not in (None, ""):
        shown["default"] = schema["default"]
    return shown | (options[0] if options else {})


def _answer(result: Result, schemas: Mapping[int, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": result.meaning}
    if result.headers:
        answer["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in result.headers.items()
        }
    match result.type:
        case _ if result.media_type is None:
            return answer
        case dict() as schema:
            pass
        case type() if result.type is str:
            schema = {"type": "string"}
        case type() if result.type is bytes:
            schema = {}
        case type() if result.type is dict:
            schema = {"type": "object"}
        case described:
            schema = schemas[id(described)]
    answer["content"] = {result.media_type: {"schema": schema}} | {
        other: {"schema": {}} for other in sorted(result.others)
    }
    return answer


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": _STATUS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}},
    }
