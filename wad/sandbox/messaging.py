"""`/messages` and `/media`: what a gateway uses all day."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from wad.sandbox.errors import GraphError, required
from wad.sandbox.graph import Answer, Graph, both, parameters
from wad.sandbox.ids import digits_of
from wad.sandbox.media import UPLOADED_LIVES, URL_LIVES, Media, bare, check_upload, url_hash
from wad.sandbox.shape import only
from wad.sandbox.validate import wrong_product

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


def messaging_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("messaging", __name__)
    graph = Graph(sandbox)
    network = sandbox.network

    @both(routes, "/<number_id>/<any(messages, marketing_messages):edge>", ["POST"])
    async def messages(number_id: str, edge: str) -> Response:
        body = await parameters()
        marketing = edge == "marketing_messages"
        operation = "marketing" if marketing else "messages"
        if "status" in body and not marketing:

            async def read() -> Answer:
                return sandbox.traffic.mark_read(graph.number(number_id), body)

            return await graph.perform("read", number_id, read)

        to, recipient, kind = body.get("to"), body.get("recipient"), body.get("type")
        who = [name for name in (to, recipient) if isinstance(name, str)]
        who += [digits_of(name) for name in who[:1]]
        fault = sandbox.faults.for_request(operation, number_id, who, kind if isinstance(kind, str) else None)

        async def send() -> Answer:
            return await sandbox.traffic.send(graph.number(number_id), body, fault, marketing=marketing)

        about = {
            "to": to if to is not None else recipient,
            "type": kind,
            "callbackData": body.get("biz_opaque_callback_data"),
        }
        return await graph.perform_under(fault, operation, number_id, send, about)

    @both(routes, "/<number_id>/media", ["POST"])
    async def upload(number_id: str) -> Response:
        form, files = await request.form, await request.files

        async def store() -> Answer:
            number = graph.number(number_id)
            only(dict(form), {"messaging_product", "type"})
            if form.get("messaging_product") != "whatsapp":
                raise wrong_product(form.get("messaging_product"))
            file = files.get("file")
            if file is None:
                raise required("file")
            mime_type = form.get("type") or file.mimetype
            data = file.read()
            check_upload(mime_type, data, sniff=sandbox.settings.sniff_media)
            if file.mimetype not in ("", "application/octet-stream", bare(mime_type)):
                raise GraphError(131053, f"The file is of type {file.mimetype}, and type says {mime_type}.")
            media = Media(
                media_id=sandbox.new_media_id(),
                phone_number_id=number.phone_number_id,
                mime_type=mime_type,
                data=data,
                expires=network.now() + UPLOADED_LIVES,
                filename=file.filename,
            )
            network.media[media.media_id] = media
            return {"id": media.media_id}

        return await graph.perform("media.upload", number_id, store)

    @routes.get("/whatsapp_business/attachments/")
    async def download() -> Response:
        """The URL that `GET /{MEDIA_ID}` gave: five minutes long, and with the token."""
        media_id = request.args.get("mid", "")
        media = network.media.get(media_id)

        async def fetch() -> Answer | Response:
            graph.token()
            given = request.args.get("ext", "")
            expires = int(given) if given.isdigit() else 0
            right = url_hash(sandbox.url_secret, media_id, expires)
            if not hmac.compare_digest(request.args.get("hash", "").encode(), right.encode()):
                raise GraphError(100, "", message="URL signature mismatch", http=403)
            if media is None or expires < network.now() or media.expires <= network.now():
                raise GraphError(100, "", message="URL signature expired", http=404)
            return Response(media.data, 200, content_type=media.mime_type)

        number_id = media.phone_number_id if media is not None else None
        return await graph.perform("media.download", number_id, fetch)

    return routes


def media_info(sandbox: Sandbox, media: Media, base_url: str) -> Answer:
    expires = int(sandbox.network.now() + URL_LIVES)
    mark = url_hash(sandbox.url_secret, media.media_id, expires)
    return {
        "messaging_product": "whatsapp",
        "url": f"{base_url}/whatsapp_business/attachments/?mid={media.media_id}&ext={expires}&hash={mark}",
        "mime_type": media.mime_type,
        "sha256": media.sha256_hex,
        "file_size": len(media.data),
        "id": media.media_id,
    }
