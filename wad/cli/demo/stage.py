"""The demo's run: sandbox and daemon in one Trio program, the story, then staying up until Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Final

import click
import httpx
import trio

from wad import daemon, log
from wad.cli.configuration import with_secrets
from wad.cli.demo.phone import SESSION as PHONE_SESSION
from wad.cli.demo.phone import PhoneStory
from wad.cli.demo.place import free_port, settled, write_config
from wad.cli.demo.story import CUSTOMER, SESSION, Story
from wad.cli.show import fields, progress, show_json
from wad.cli.sse import EventLines
from wad.cli.tail import event_line
from wad.config import Config as DaemonConfig
from wad.config import load
from wad.config.first_start import ADMIN_TOKEN_FILE
from wad.sandbox.sandbox import Config
from wad.sandbox.serve import create_sandbox, serve_sandbox
from wad.sandbox.web.emulator import WebConfig

_SANDBOX_PORT: Final = 8081
_BASE: Final = "/api/whatsapp"


async def play(directory: Path, port: int, *, once: bool, as_json: bool) -> None:
    """Everything, from an empty directory to Ctrl-C. Whichever of the two ends first takes the other with it."""
    os.umask(0o077)  # all that a demo writes is its owner's alone
    with settled(directory):
        tell = partial(_tell, err=as_json)
        async with trio.open_nursery() as nursery:
            api_port = free_port(port, what="API")
            page_port = free_port(_SANDBOX_PORT, but=api_port, what="chat page")
            sandbox = create_sandbox(Config(web=WebConfig(directory=directory / "web")))
            page = await nursery.start(partial(serve_sandbox, f"127.0.0.1:{page_port}", sandbox=sandbox))
            tell("sandbox", f"a simulated WhatsApp runs at {page}")

            async with _client(page) as to_sandbox:
                state = (await to_sandbox.get("/_sandbox/state")).json()
                number, web = state["numbers"][0], state["web"]
                file = write_config(directory, port=api_port, graph_url=page, number=number, web=web)
                # Not the environment: what is meant for a real daemon has no business here.
                config, _ = with_secrets(load(file, {}), file)
                api = await nursery.start(partial(_serve, config, directory, nursery))
                tell("daemon", f"wad listens at {api}, its state in {directory}")
                token = config.auth.tokens[0].token.get_secret_value()
                async with _client(api + _BASE, token) as to_daemon:
                    await Story(to_daemon, to_sandbox, number, tell).play(f"{api}/webhooks/cloud_api")
                    if web["running"]:
                        await PhoneStory(to_daemon, to_sandbox, tell).play()
                    else:
                        progress(f"WhatsApp Web is left out: {web['missing']}")
                    places = _places(directory, api, page, web=web["running"])
                    if as_json:
                        show_json(
                            {
                                "session": SESSION,
                                "phoneSession": PHONE_SESSION if web["running"] else None,
                                **places,
                            }
                        )
                    elif not once:
                        _invite(places, api)
                    if once:
                        tell("", "it works")
                        signal.raise_signal(signal.SIGTERM)  # as an operator would
                    await _narrate(to_daemon)


async def _serve(
    config: DaemonConfig, directory: Path, nursery: trio.Nursery, *, task_status: trio.TaskStatus[str]
) -> None:
    """The daemon, until SIGTERM or Ctrl-C, which it takes care of itself; then the rest ends, too."""
    with (directory / "wad.log").open("a", encoding="utf-8") as stream:
        log.setup("info", "json", secrets=config.secret_values(), stream=stream)
        async with trio.open_nursery() as own:
            addresses = await own.start(daemon.serve, config)
            task_status.started(addresses[0])
    progress(f"stopped; the next `wad demo` goes on with what is in {directory}")
    nursery.cancel_scope.cancel()


def _client(url: str, token: str = "") -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False)


async def _narrate(to_daemon: httpx.AsyncClient) -> None:
    """Show what happens from now on, as `wad tail` would."""
    events = EventLines()
    async with to_daemon.stream("GET", "/events", timeout=None) as stream:
        async for line in stream.aiter_lines():
            if (event := events.take(line)) is not None:
                click.echo(event_line(event[1]))
    await trio.sleep_forever()  # the daemon ends the stream when it ends


def _places(directory: Path, api: str, page: str, *, web: bool) -> dict[str, str | None]:
    return {
        "chatPage": f"{page}/",
        "phonesPage": f"{page}/phones" if web else None,
        "console": f"{api}/",
        "api": f"{api}{_BASE}",
        "docs": f"{api}/docs",
        "metrics": f"{api}/metrics",
        "tokenFile": str(directory / ADMIN_TOKEN_FILE),
        "config": str(directory / "wad.yaml"),
        "rules": str(directory / "rules.yaml"),
        "log": str(directory / "wad.log"),
    }


def _invite(places: dict[str, str | None], api: str) -> None:
    click.echo(click.style("\nIt works, and stays up:\n", bold=True))
    fields(
        {
            "  chat page": f"{places['chatPage']}    write as a customer, and see what arrives",
            "  phones": places["phonesPage"] and f"{places['phonesPage']}    the same over WhatsApp Web",
            "  console": f"{places['console']}    the sessions and what happens; sign in with the token",
            "  API": f"{places['api']}    described at {places['docs']}",
            "  token": places["tokenFile"],
            "  metrics": places["metrics"],
            "  rules": f"{places['rules']}    what the shop answers; change it and start again",
            "  log": places["log"],
        }
    )
    wad = _command()
    click.echo(click.style("\nTry next, in another terminal:\n", bold=True))
    click.echo(f"  export WAD_URL={api} WAD_TOKEN=$(cat {places['tokenFile']})")
    click.echo(f"  {wad} sessions status {SESSION}")
    click.echo(f'  {wad} send {SESSION} {CUSTOMER} "¿Algo más?" --wait')
    click.echo(f"  {wad} tail {SESSION}")
    click.echo("\nCtrl-C stops it. What happens from now on:\n")


def _command() -> str:
    """How the person has to call `wad` from where they are: it is not on the PATH in a fresh checkout."""
    called = Path(sys.argv[0])
    found = shutil.which("wad")
    if called.name != "wad" or (found and Path(found).resolve() == called.resolve()):
        return "wad"
    try:
        return str(called.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(called)


def _tell(who: str, what: str, *, err: bool) -> None:
    click.echo(f"  {click.style(f'{who:8}', bold=True)}  {what}", err=err)
