"""Twilio's REST API: who calls, what fault is due, what the account says, and all of it into the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
import trio
from quart import Response, request

from wad.sandbox.faults import Error, RequestFault
from wad.sandbox.spoiled import spoiled, struck
from wad.sandbox.twilio.accounts import Account, Record, new_sid
from wad.sandbox.twilio.errors import TwilioError

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

Answer: TypeAlias = dict[str, Any]
Act: TypeAlias = Callable[[], Awaitable[tuple[int, Answer] | Response]]

_FORM: Final = "application/x-www-form-urlencoded"
_encode = msgspec.json.Encoder().encode


class Api:
    """What all of Twilio's operations share."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._accounts = sandbox.twilio.accounts

    async def perform(
        self,
        operation: str,
        number_id: str | None,
        act: Act,
        *,
        newer: bool = False,
    ) -> Response:
        """Run *act* between what the fault scripts do before and after it. *newer* hosts write errors otherwise."""
        fault = self._sandbox.faults.for_request(operation, number_id, method=request.method)
        return await self.perform_under(fault, operation, number_id, act, {}, newer=newer)

    async def perform_under(
        self,
        fault: RequestFault | None,
        operation: str,
        number_id: str | None,
        act: Act,
        about: Answer,
        *,
        newer: bool = False,
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
            spoilt = await self._before(fault, entry, newer=newer)
            if spoilt is not None:
                return spoilt
        try:
            done = await act()
        except TwilioError as error:
            return self._refusal(error, entry, newer=newer)
        answer = done if isinstance(done, Response) else answered(*done)
        if operation != "messages":
            self._record(entry, answer.status_code)
        if fault is not None and getattr(fault, "after", "before") == "accept":
            spoilt = await spoiled(fault)
            if spoilt is not None:
                return spoilt
        return answer

    async def _before(self, fault: RequestFault, entry: dict[str, Any], *, newer: bool) -> Response | None:
        def refuse(scripted: Error, headers: dict[str, str]) -> Response:
            message = scripted.message or scripted.details
            error = TwilioError(scripted.code, message, http=scripted.http, headers=headers)
            return self._refusal(error, entry, newer=newer)

        return await struck(fault, refuse=refuse, record=lambda status: self._record(entry, status))

    def _record(self, entry: dict[str, Any], status: int | None, error: TwilioError | None = None) -> None:
        if error is not None:
            entry |= {"code": error.code, "message": error.message, "details": error.more_info}
        self._sandbox.ledger.write("call", self._sandbox.network.now(), {**entry, "status": status})

    def _refusal(self, error: TwilioError, entry: dict[str, Any], *, newer: bool) -> Response:
        self._record(entry, error.http, error)
        if newer:
            return answered(error.http, error.problem(request.path), error.headers, kind="problem+json")
        return answered(error.http, error.body(), error.headers)

    def account(self, sid: str | None = None) -> Account:
        """Whose credentials these are, if they are anybody's; *sid* is the account that the path names."""
        given = request.authorization
        account = None
        if given is not None and given.type == "basic":
            account = self._accounts.of_credentials(given.username or "", given.password or "")
        if account is None:
            raise TwilioError(20003, headers={"WWW-Authenticate": 'Basic realm="Twilio API"'})
        if sid is not None and account.sid != sid:
            raise TwilioError(20404, f"The requested resource {request.path} was not found")
        if account.status != "active":
            raise TwilioError(20005)
        return account

    def record(self, account: Account, sid: str) -> Record:
        record = account.records.get(sid)
        if record is None:
            raise TwilioError(20404, f"The requested resource {request.path} was not found")
        return record


def answered(
    status: int, body: Answer, headers: dict[str, str] | None = None, *, kind: str = "json"
) -> Response:
    return Response(
        _encode(body),
        status,
        {"Twilio-Request-Id": new_sid("RQ"), "X-Home-Region": "us1", **(headers or {})},
        content_type=f"application/{kind}",
    )


def nothing() -> Response:
    return Response(b"", 204, {"Twilio-Request-Id": new_sid("RQ")})


async def pairs() -> list[tuple[str, str]]:
    """The form as it came: blank values and repeated names with it."""
    if request.mimetype != _FORM:
        raise TwilioError(20415)
    return list((await request.form).items(multi=True))
