"""The ways in: `create_sandbox` for a test's own process, `serve_sandbox` for a socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import trio
from quart import Response
from quart_trio import QuartTrio

from wad.sandbox.accounts import account_routes
from wad.sandbox.apps import app_routes
from wad.sandbox.chatpage import page_routes
from wad.sandbox.control import control_routes
from wad.sandbox.dialog360 import behind_dialog360, dialog360_routes
from wad.sandbox.graph import VersionConverter, answered
from wad.sandbox.groups import group_routes
from wad.sandbox.management import management_routes
from wad.sandbox.media import LARGEST
from wad.sandbox.messaging import messaging_routes
from wad.sandbox.numbers import number_routes
from wad.sandbox.objects import object_routes
from wad.sandbox.sandbox import Config, Sandbox
from wad.sandbox.scripting import scripting_routes
from wad.sandbox.server import serve
from wad.sandbox.twilio.control import twilio_routes
from wad.sandbox.twilio.media import media_routes
from wad.sandbox.twilio.messages import message_routes
from wad.sandbox.twilio.others import other_routes
from wad.sandbox.web.control import web_routes
from wad.sandbox.wire import breakable

_ROUTES = (
    messaging_routes,
    object_routes,
    number_routes,
    group_routes,
    account_routes,
    app_routes,
    dialog360_routes,
    control_routes,
    scripting_routes,
    management_routes,
    web_routes,
    message_routes,
    media_routes,
    other_routes,
    twilio_routes,
    page_routes,
)


def create_sandbox(
    config: Config | None = None,
    *,
    client: httpx.AsyncClient | None = None,
    clock: Callable[[], float] = time.time,
) -> Sandbox:
    """A sandbox with its application (`sandbox.app`); start `sandbox.run` for webhooks to leave.

    *client* posts the webhooks: give one with an in-memory transport to stay off the network.
    """
    sandbox = Sandbox(config or Config(), client=client, clock=clock)
    app = QuartTrio("wad.sandbox", static_folder=None)
    app.url_map.converters["version"] = VersionConverter
    app.config["MAX_CONTENT_LENGTH"] = LARGEST + 1024 * 1024
    app.config["RESPONSE_TIMEOUT"] = None  # a scripted answer may take its time
    app.config["BODY_TIMEOUT"] = 60
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for routes in _ROUTES:
        app.register_blueprint(routes(sandbox))

    @app.errorhandler(404)
    async def unknown(_error: Any) -> Response:
        message = "Unknown path components: this sandbox does not know the path"
        return answered(400, {"error": {"message": message, "type": "OAuthException", "code": 2500}})

    sandbox.app = breakable(behind_dialog360(sandbox, app))
    return sandbox


async def serve_sandbox(
    bind: str = "127.0.0.1:0",
    *,
    config: Config | None = None,
    sandbox: Sandbox | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a sandbox until cancelled. `url = await nursery.start(serve_sandbox)`; port 0 takes a free one.

    Pass a *sandbox* of your own to look into it meanwhile.
    """
    sandbox = sandbox or create_sandbox(config)
    async with trio.open_nursery() as nursery:
        await nursery.start(sandbox.run)
        url = await nursery.start(serve, sandbox.app, bind)
        task_status.started(url)
