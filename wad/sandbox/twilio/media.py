"""What came with a message: listed, fetched by way of a signed URL, deleted."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from quart import Blueprint, Response, request

from wad.sandbox.twilio.accounts import Media, Record
from wad.sandbox.twilio.api import Answer, Api, nothing
from wad.sandbox.twilio.errors import TwilioError
from wad.sandbox.twilio.resources import API, media_resource, paged

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

_LIVES: Final = 300  # seconds that a signed URL is good for


def media_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("twilio_media", __name__)
    api = Api(sandbox)
    twilio = sandbox.twilio
    below = f"/{API}/Accounts/<account_sid>/Messages/<sid>"

    @routes.get(f"{below}/Media.json")
    async def media_list(account_sid: str, sid: str) -> Response:
        async def read() -> tuple[int, Answer]:
            record = api.record(api.account(account_sid), sid)
            items = [media_resource(record, media) for media in record.media]
            return 200, paged("media_list", items, dict(request.args), uri=request.path)

        return await api.perform("media.url", account_sid, read)

    @routes.route(f"{below}/Media/<media_sid>", methods=["GET", "DELETE"])
    @routes.route(f"{below}/Media/<media_sid>.json", methods=["GET"])
    async def media(account_sid: str, sid: str, media_sid: str) -> Response:
        """The file itself: it lies elsewhere, behind a URL that is signed and lives five minutes."""

        async def touch() -> tuple[int, Answer] | Response:
            account = api.account(account_sid)
            record = api.record(account, sid)
            found = _media_of(record, media_sid)
            if request.method == "DELETE":
                record.media.remove(found)
                return nothing()
            if request.path.endswith(".json"):
                return 200, media_resource(record, found)
            expires = int(sandbox.network.now()) + _LIVES
            mark = _mark(account_sid, sid, media_sid, expires)
            url = f"/twiliocdn/{account_sid}/{sid}/{media_sid}?Expires={expires}&Signature={mark}"
            return Response(b"", 307, {"Location": request.host_url.rstrip("/") + url})

        operation = "media.delete" if request.method == "DELETE" else "media.url"
        return await api.perform(operation, account_sid, touch)

    @routes.get("/twiliocdn/<account_sid>/<sid>/<media_sid>")
    async def download(account_sid: str, sid: str, media_sid: str) -> Response:
        async def fetch() -> Response:
            given = request.args.get("Expires", "")
            expires = int(given) if given.isdigit() else 0
            right = _mark(account_sid, sid, media_sid, expires)
            if (
                "Authorization" in request.headers
            ):  # it is a bucket of files, which takes one proof and not two
                return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
            if not hmac.compare_digest(request.args.get("Signature", "").encode(), right.encode()):
                return _xml(403, "SignatureDoesNotMatch", "The signature does not match")
            if expires < sandbox.network.now():
                return _xml(403, "AccessDenied", "Request has expired")
            found = _media_of(api.record(twilio.accounts.by_sid[account_sid], sid), media_sid)
            return Response(found.data, 200, content_type=found.mime_type)

        return await api.perform("media.download", account_sid, fetch)

    def _mark(*parts: object) -> str:
        return hmac.new(sandbox.url_secret, "/".join(map(str, parts)).encode(), "sha256").hexdigest()[:32]

    return routes


def _media_of(record: Record, media_sid: str) -> Media:
    found = next((media for media in record.media if media.sid == media_sid), None)
    if found is None:
        raise TwilioError(20404, f"The requested resource {request.path} was not found")
    return found


def _xml(status: int, code: str, message: str) -> Response:
    """As the bucket writes its errors."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(body, status, content_type="application/xml")
