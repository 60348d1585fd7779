"""The Graph API: who calls, what fault is due, what the network says, and all of it into the ledger."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
import trio
from quart import Blueprint, Response, g, request
from werkzeug.routing import BaseConverter

from wad.sandbox.errors import GraphError, unknown_object
from wad.sandbox.faults import Error, RequestFault
from wad.sandbox.network import Number
from wad.sandbox.spoiled import spoiled, struck

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

Answer: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[..., Awaitable[Response]]
Act: TypeAlias = Callable[[], Awaitable[Answer | Response]]

NEWEST: Final = (26, 0)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class VersionConverter(BaseConverter):
    """`v26.0` in front of a path; a path without it means the app's oldest version."""

    regex = r"v\d{1,3}\.\d"


class Graph:
    """What all operations share."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.network = sandbox.network

    async def perform(self, operation: str, number_id: str | None, act: Act) -> Response:
        """Run *act* between what the fault scripts do before and after it."""
        fault = self._sandbox.faults.for_request(operation, number_id, method=request.method)
        return await self.perform_under(fault, operation, number_id, act, {})

    async def perform_under(
        self, fault: RequestFault | None, operation: str, number_id: str | None, act: Act, about: Answer
    ) -> Response:
        """The same where the caller has asked for the fault, and has more to say *about* the call."""
        sandbox = self._sandbox
        entry: dict[str, Any] = {
            "operation": operation,
            "phoneNumberId": number_id,
            "method": request.method,
            "fault": fault.__struct_config__.tag if fault is not None else None,
            **about,
        }
        if sandbox.settings.latency:
            await trio.sleep(sandbox.settings.latency)
        if fault is not None and getattr(fault, "after", "before") == "before":
            spoilt = await self._before(fault, entry)
            if spoilt is not None:
                return spoilt
        try:
            self._check_version()
            answer = await act()
        except GraphError as error:
            return self._refusal(error, entry)
        if operation not in ("messages", "marketing"):  # `Traffic.send` writes those down
            self._record(entry, 200)
        if fault is not None and getattr(fault, "after", "before") == "accept":
            spoilt = await spoiled(fault)
            if spoilt is not None:
                return spoilt
        return answered(200, answer) if isinstance(answer, dict) else answer

    async def _before(self, fault: RequestFault, entry: dict[str, Any]) -> Response | None:
        def refuse(scripted: Error, headers: dict[str, str]) -> Response:
            error = GraphError(
                scripted.code,
                scripted.details,
                message=scripted.message,
                http=scripted.http,
                subcode=scripted.subcode,
                transient=scripted.transient,
                headers=headers,
            )
            return self._refusal(error, entry)

        return await struck(fault, refuse=refuse, record=lambda status: self._record(entry, status))

    def _record(self, entry: dict[str, Any], status: int | None, error: GraphError | None = None) -> None:
        if error is not None:
            entry |= {"code": error.code, "message": error.message, "details": error.details}
        self._sandbox.ledger.write("call", self.network.now(), {**entry, "status": status})

    def _refusal(self, error: GraphError, entry: dict[str, Any]) -> Response:
        self._record(entry, error.http, error)
        return answered(error.http, error.body(), error.headers)

    # --- who calls --------------------------------------------------------------------------------

    def token(self) -> str:
        """The caller's token, checked: somebody gave it out, and the proof (if any) belongs to it."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        token = credentials if scheme in ("Bearer", "OAuth") else request.args.get("access_token", "")
        if not token:
            raise GraphError(104)
        numbers = self.network.numbers_of(token)
        if not numbers:
            raise GraphError(190)
        self._check_proof(token, self.network.app_of(numbers[0]).app_secret)
        return token

    def number(self, number_id: str) -> Number:
        """The number, if the caller's token may act for it."""
        token = self.token()
        number = self.network.numbers.get(number_id)
        if number is None or token not in number.access_tokens:
            raise unknown_object(number_id, request.method)
        if number.deleted:
            raise GraphError(33)
        return number

    def _check_proof(self, token: str, app_secret: str) -> None:
        proof = request.args.get("appsecret_proof") or g.get("appsecret_proof")
        if proof is None:
            if self._sandbox.settings.require_proof:
                raise GraphError(
                    100,
                    "",
                    message="API calls from the server require an appsecret_proof argument",
                    type="GraphMethodException",
                )
            return
        right = hmac.new(app_secret.encode(), token.encode(), "sha256").hexdigest()
        if not hmac.compare_digest(str(proof).encode(), right.encode()):
            raise GraphError(
                100,
                "",
                message="Invalid appsecret_proof provided in the API argument",
                type="GraphMethodException",
            )

    def _check_version(self) -> None:
        version = (request.view_args or {}).get("version")
        if version is not None and tuple(int(part) for part in version[1:].split(".")) > NEWEST:
            raise GraphError(2500, message=f"Unknown path components: /{version}")


def answered(status: int, body: Answer, headers: dict[str, str] | None = None) -> Response:
    return Response(
        _encode(body),
        status,
        {"facebook-api-version": "v26.0", **(headers or {})},
        content_type="application/json; charset=UTF-8",
    )


async def parameters() -> dict[str, Any]:
    """The call's parameters, from the query and from a JSON or form body. What cannot be parsed is as absent."""
    found: dict[str, Any] = dict(request.args)
    mimetype = request.mimetype
    if mimetype == "application/json":
        try:
            body = _decode(await request.get_data())
        except msgspec.DecodeError:
            body = None
        if isinstance(body, dict):
            found |= body
    elif mimetype == "application/x-www-form-urlencoded":
        for name, value in (await request.form).items():
            try:
                found[name] = _decode(value) if value[:1] in "{[" else value
            except msgspec.DecodeError:
                found[name] = value
    if "appsecret_proof" in found:
        g.appsecret_proof = found.pop("appsecret_proof")  # for `_check_proof`
    return found


def both(routes: Blueprint, path: str, methods: list[str]) -> Callable[[Handler], Handler]:
    """Register a handler with a version in front of its path, and without."""

    def register(handler: Handler) -> Handler:
        name = handler.__name__

        async def versioned(version: str, **arguments: str) -> Response:  # noqa: ARG001  `_check_version` reads it
            return await handler(**arguments)

        routes.add_url_rule(f"/<version:version>{path}", name, versioned, methods=methods)
        routes.add_url_rule(path, f"{name}_unversioned", handler, methods=methods)
        return handler

    return register
