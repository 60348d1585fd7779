"""`python -m wad.sandbox`: a simulated network with its numbers ready, and what a gateway needs to know of it."""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path

import trio

from wad.sandbox import READY, READY_DIALOG360, READY_SENDER, Config, WebConfig, create_sandbox, serve_sandbox
from wad.sandbox.web.emulator import Emulator, next_port


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="wad sandbox", description=__doc__)
    parser.add_argument(
        "--bind", default="127.0.0.1:8081", metavar="HOST:PORT", help="where to listen (port 0: any)"
    )
    parser.add_argument(
        "--ledger", type=Path, metavar="FILE", help="append what happens to this file, a JSON line each"
    )
    parser.add_argument("--empty", action="store_true", help="start without the ready number and customers")
    parser.add_argument("--allow-remote", action="store_true", help="let webhooks leave this machine")
    parser.add_argument("--no-web", action="store_true", help="leave WhatsApp Web out, which takes Node")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where its certificate and media are kept (temporary)"
    )
    given = parser.parse_args(arguments)
    web = None if given.no_web else WebConfig(bind=next_port(given.bind), directory=given.data_dir)
    config = Config(ledger=given.ledger, ready=not given.empty, allow_remote=given.allow_remote, web=web)
    try:
        trio.run(run, given.bind, config)
    except* OSError as errors:
        sys.exit(f"wad sandbox: cannot listen on {given.bind} or write the ledger: {errors.exceptions[0]}")


async def run(bind: str, config: Config) -> None:
    """Serve until told to stop. Signals are received: a KeyboardInterrupt could end in hypercorn's log."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            sandbox = create_sandbox(config)
            url: str = await nursery.start(partial(serve_sandbox, bind, sandbox=sandbox))
            sys.stdout.write(welcome(url, ready=config.ready))
            if sandbox.web is not None:
                sys.stdout.write(web_welcome(sandbox.web.emulator))
            sys.stdout.flush()
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


def welcome(url: str, *, ready: bool) -> str:
    lines = [f"Sandbox of the WhatsApp network: {url}", ""]
    if ready:
        lines += [
            "  chat page        " + url + "/",
            "  base URL         " + url + "    (providers.cloud_api.base_url)",
            f"  phone number id  {READY.phone_number_id}    ({READY.display_phone_number})",
            f"  access token     {READY.access_token}",
            f"  app secret       {READY.app_secret}",
            f"  verify token     {READY.verify_token}",
            "",
            "  Send its webhooks somewhere:",
            f"    curl -X POST {url}/_sandbox/numbers -H 'Content-Type: application/json' \\",
            f"""      -d '{{"phoneNumberId": "{READY.phone_number_id}", "callbackUrl": "http://127.0.0.1:8080/webhooks/cloud_api"}}'""",
            "",
            f"  account          {READY.waba_id}    (a session of meta_business, with the same token)",
            f"  360dialog        {url}/360dialog    (providers.dialog360.base_url)",
            f"  API key          {READY_DIALOG360.api_key}",
            "",
            f"  Twilio           {url}    (providers.twilio.base_url)",
            f"  account SID      {READY_SENDER.account_sid}",
            f"  auth token       {READY_SENDER.auth_token}",
            f"  from             whatsapp:{READY_SENDER.number}",
            "",
        ]
    return "\n".join(lines) + "\n"


def web_welcome(emulator: Emulator) -> str:
    if emulator.access is None:
        return f"  WhatsApp Web is left out: {emulator.missing}\n\n"
    settings = emulator.access.settings()
    lines = [
        "  WhatsApp Web, under providers.baileys:",
        *(f"    {name}: {value}" for name, value in settings.items()),
    ]
    return "\n".join([*lines, ""]) + "\n"


if __name__ == "__main__":
    main()
