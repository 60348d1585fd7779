"""SIGHUP: what can change while sessions live."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from wad import settings
from wad.config import Config, ConfigError
from wad.content import parse_reply
from wad.errors import FieldError, InvalidRequest, NotSupported
from wad.flow.delivery import Flows
from wad.flow.rules import Rules
from wad.http.app import App
from wad.models import Address
from wad.notify import Notifier
from wad.providers.base import ProviderKind, check_send
from wad.supervisor.sessions import Sessions

log: Final = logging.getLogger("wad.daemon")
#: Whom rules answer: a person.
_SOMEBODY: Final = Address(phone="+5215512345678")


class Reloading:
    """SIGHUP: take up what can change while sessions live. That is all or nothing; the rest wants a restart."""

    def __init__(self, read: Callable[[], Config] | None, flows: Flows, notifier: Notifier) -> None:
        self._read = read
        self._flows = flows
        self._notifier = notifier
        self.app: App | None = None  # both while they are there
        self.sessions: Sessions | None = None

    def __call__(self) -> None:
        self._notifier.reloading()
        try:
            if self._read is not None:
                self._take_up(self._read())
                log.info("reloaded")
        except (ConfigError, InvalidRequest, OSError) as error:
            log.error("not_reloaded", extra={"error": error})  # noqa: TRY400  the text says it all
        self._notifier.ready("reloaded")

    def _take_up(self, config: Config) -> None:
        self._flows.replace(settings.flow_defaults(config), settings.rules(config))
        if self.app is not None:
            self.app.admit_only(config.auth.tokens)
        if self.sessions is not None:
            self.sessions.share(settings.policies(config))
            check_rules(self._flows.rules, self.sessions)


def check_rules(rules: Rules | None, sessions: Sessions) -> None:
    """Say which replies the sessions there are cannot send: the file alone does not tell whose they will be."""
    if rules is None:
        return
    for name, kind in sessions.kinds_in_use.items():
        for error in rules.unsendable(name, partial(_unsendable, kind)):
            log.warning(
                "reply_unsendable", extra={"provider": name, "detail": f"{error.pointer}: {error.detail}"}
            )


def _unsendable(kind: ProviderKind, reply: Mapping[str, Any]) -> list[FieldError]:
    asked = parse_reply(reply)
    try:
        return check_send(kind, _SOMEBODY, asked.content, quotes=asked.reply_to is not None)
    except NotSupported as error:
        return [FieldError("", error.detail)]
