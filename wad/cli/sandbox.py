"""`wad sandbox`: a simulated WhatsApp network, for flow authors and tests."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wad.cli.command import command, json_option
from wad.cli.running import run
from wad.cli.show import fields, progress, show_json
from wad.cli.stop import Stop

if TYPE_CHECKING:
    import httpx

    from wad.sandbox.sandbox import Config

DEFAULT_BIND: Final = "127.0.0.1:8081"
_DATA_DIR: Final = Path("var/sandbox")
#: Where a wad is reached that nobody told otherwise.
_WAD: Final = "http://127.0.0.1:8080"
_SHAKE_EVERY: Final = 2.0  # seconds between attempts to reach a callback that is not there yet


def _address(_: click.Context, __: click.Parameter, value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"should be HOST:PORT, such as {DEFAULT_BIND}")
    return value


@command(
    examples="""
    wad sandbox
    wad sandbox --bind 127.0.0.1:9000 --callback http://127.0.0.1:8080/webhooks/cloud_api
    wad sandbox --no-web
    """
)
@click.option("--bind", default=DEFAULT_BIND, show_default=True, callback=_address, metavar="HOST:PORT",
              help="Where to listen; port 0 takes a free one.")  # fmt: skip
@click.option("--callback", metavar="URL", help="Where its webhooks go, as soon as that shakes hands.")
@click.option("--ledger", type=click.Path(path_type=Path), metavar="FILE",
              help="Write down all that happens, as JSON lines.")  # fmt: skip
@click.option("--allow-remote", is_flag=True, help="Let webhooks go beyond this machine.")
@click.option("--web/--no-web", default=True, show_default=True,
              help="WhatsApp Web as well, on the port after; it takes Node.")  # fmt: skip
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=_DATA_DIR, show_default=True,
              metavar="DIR", help="Where WhatsApp Web's certificate and media are kept.")  # fmt: skip
@json_option
def sandbox(
    *,
    bind: str,
    callback: str | None,
    ledger: Path | None,
    allow_remote: bool,
    web: bool,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Run a simulated WhatsApp, with a chat page.

    Meta's Graph API with business numbers, Twilio's API with a sender, 360dialog's with a number; customers who write to all of them; and WhatsApp Web, with phones that you hold. Nothing of it reaches the real WhatsApp. On the page you write as a customer, and see what arrives.
    """
    from wad.sandbox.sandbox import Config
    from wad.sandbox.web.emulator import WebConfig, next_port

    config = Config(
        ledger=ledger,
        allow_remote=allow_remote,
        web=WebConfig(bind=next_port(bind), directory=data_dir) if web else None,
    )
    run(partial(_main, bind, callback, config, as_json=as_json), bind=bind)


async def _main(bind: str, callback: str | None, config: Config, *, as_json: bool) -> None:
    import httpx
    import trio

    from wad import log
    from wad.sandbox.serve import create_sandbox, serve_sandbox

    log.setup("warning")
    try:
        running = create_sandbox(config)
    except OSError as error:
        raise Stop(os.EX_CANTCREAT, f"{config.ledger} cannot be written: {error.strerror}") from error
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(partial(serve_sandbox, bind, sandbox=running))
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as control:
                state = (await control.get("/_sandbox/state")).json()
                number = state["numbers"][0]
                _show(url, number, state["access"], state["web"], gateway=_origin(callback), as_json=as_json)
                if callback is not None:
                    nursery.start_soon(_call_back, control, number["phoneNumberId"], callback)
                await anext(aiter(signals))
                nursery.cancel_scope.cancel()


async def _call_back(control: httpx.AsyncClient, phone_number_id: str, url: str) -> None:
    """Point the number's webhooks to *url*, which may come up later than this does."""
    import trio

    spec = {"phoneNumberId": phone_number_id, "callbackUrl": url}
    told = False
    while not (answer := await control.post("/_sandbox/numbers", json=spec)).is_success:
        if not told:
            told = True
            progress(f"{url} does not shake hands yet, trying on: {answer.json()['error']}")
        await trio.sleep(_SHAKE_EVERY)
    progress(f"webhooks go to {url}")


def _origin(callback: str | None) -> str:
    """Where the gateway is that *callback* leads to; else where a wad listens by default."""
    if callback is None:
        return _WAD
    scheme, _, rest = callback.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _show(
    url: str,
    number: dict[str, Any],
    access: dict[str, Any],
    web: dict[str, Any] | None,
    *,
    gateway: str,
    as_json: bool,
) -> None:
    """Where it is, and what a *gateway* has to know of it. These are names, not secrets."""
    credentials = access["cloud_api"]["credentials"]
    if as_json:
        show_json({"url": url, "credentials": credentials, "access": access, "web": web})
        return
    fields(
        {
            "chat page": f"{url}/",
            "phones": f"{url}/phones" if web and web["running"] else None,
            "Graph API": url,
            "control": f"{url}/_sandbox/state",
            "number": f"{number['displayPhoneNumber']}, {number['verifiedName']}",
        }
    )
    click.echo(
        "\nto have a wad use it, in two other terminals:\n"
        f"  WAD_PROVIDERS__CLOUD_API__BASE_URL={url} wad serve\n" + _create("demo", "cloud_api", credentials)
    )
    others = {provider: its for provider, its in access.items() if provider != "cloud_api"}
    phones = web if web and web["running"] else None
    click.echo(
        "\nto have it use the other providers as well, this in its configuration:\n"
        f'  http: {{public_url: "{gateway}"}}   # Twilio signs it\n'
        "  providers:"
    )
    for provider, its in others.items():
        words = ", ".join(f"{name}: {json.dumps(value)}" for name, value in its["config"].items())
        click.echo(f"    {provider}: {{{words}}}")
    if phones:
        click.echo(
            "    baileys:\n"
            f"      web_socket_url: {phones['webSocketUrl']}\n"
            f"      noise_root_key: {phones['noiseRootKey']}\n"
            f"      extra_ca: {phones['extraCa']}"
        )
    click.echo("and a session of each that is wanted:")
    for provider, its in others.items():
        click.echo(_create(provider.replace("_", "-"), provider, its["credentials"]))
    click.echo(
        f"their webhooks go to {gateway}/webhooks/<provider>/<session>: say so on the chat page, Connect, for each number"
    )
    if phones:
        click.echo(
            "\nWhatsApp Web has no webhooks, but a code: paste its text (`qr`) on the page of the phones, Link a device\n"
            "  wad sessions create phone --provider baileys\n"
            "  wad qr phone --json"
        )
    elif web:
        progress(f"WhatsApp Web is left out: {web['missing']}")
    progress("Ctrl-C ends it; what it knows is gone then")


def _create(session_id: str, provider: str, credentials: dict[str, str]) -> str:
    options = " \\\n    ".join(f"--credential {name}={value}" for name, value in credentials.items())
    return f"  wad sessions create {session_id} --provider {provider} \\\n    {options}"
