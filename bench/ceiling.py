"""The ceiling: a gateway that promises nothing. A bare Quart-Trio handler that passes each message on with httpx.

No token, no validation, no store, no retry, no order, no metrics: what the frameworks under wad cost by themselves.

- `await`: the handler answers 202 once Graph has answered. Its callers are its backpressure.
- `background`: the handler answers 202 at once and the call goes on in a task, as wad's does.
"""

from __future__ import annotations

import argparse
import logging
import uuid
from typing import Any

import httpx
import hypercorn
import trio
from hypercorn.trio import serve
from quart import request
from quart_trio import QuartTrio


def create_app(upstream: str, client: httpx.AsyncClient, background: trio.Nursery | None) -> QuartTrio:
    app = QuartTrio("ceiling")
    room = trio.CapacityLimiter(64)  # httpx slows down with every request that waits for a connection

    async def pass_on(message_id: str, asked: dict[str, Any]) -> str:
        answer = await client.post(
            f"{upstream}/v26.0/1/messages",
            json={
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                "to": asked["to"],
                "type": "text",
                "text": asked["text"],
                "biz_opaque_callback_data": message_id,
            },
            headers={"Authorization": "Bearer x"},
        )
        return str(answer.raise_for_status().json()["messages"][0]["id"])

    async def later(message_id: str, asked: dict[str, Any]) -> None:
        async with room:
            await pass_on(message_id, asked)

    @app.post("/api/whatsapp/send")
    async def send() -> tuple[dict[str, Any], int]:
        asked = await request.get_json()
        message_id = f"msg_{uuid.uuid4().hex}"
        if background is None:
            provider_id = await pass_on(message_id, asked)
            return {"messageId": message_id, "status": "accepted", "providerMessageId": provider_id}, 202
        background.start_soon(later, message_id, asked)
        return {"messageId": message_id, "status": "queued"}, 202

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


async def main(port: int, upstream: str, variant: str) -> None:
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = None
    async with httpx.AsyncClient(timeout=30) as client, trio.open_nursery() as nursery:
        app = create_app(upstream, client, nursery if variant == "background" else None)
        await serve(app, config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--variant", choices=("await", "background"), required=True)
    asked = parser.parse_args()
    logging.disable(logging.INFO)  # httpx logs a line for every request
    trio.run(main, asked.port, asked.upstream, asked.variant)
