"""Which flow a session has, and one delivery to it: a URL, the built-in rules, or nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wad.flow.client import Answered, FlowClient, Outcome
from wad.flow.rules import Rules
from wad.models import InboundMessage, InboxItem, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowDefaults:
    """The configuration's word: what a session without its own `flowUrl` has."""

    url: str | None = None
    secret: str | None = field(default=None, repr=False)
    events: frozenset[str] = frozenset()


class Flows:
    """Answers for every session of the process."""

    def __init__(
        self, defaults: FlowDefaults, client: FlowClient | None = None, rules: Rules | None = None
    ) -> None:
        self.client = client
        self._defaults = defaults
        self._rules = rules

    @property
    def rules(self) -> Rules | None:
        return self._rules

    def replace(self, defaults: FlowDefaults, rules: Rules | None) -> None:
        """Other defaults and rules from now on."""
        self._defaults = defaults
        self._rules = rules

    def wants(self, session: Session, event_type: str) -> bool:
        """Whether the session's flow is to hear of *event_type*. Rules answer messages, and hear nothing else."""
        url = self._url(session)
        if event_type == "message.received":
            return not session.settings.flow_disabled and (url is not None or self._rules is not None)
        return url is not None and not session.settings.flow_disabled and event_type in self._defaults.events

    def by_rules(self, session: Session) -> bool:
        """Whether the built-in rules answer for the session."""
        return self._url(session) is None and self._rules is not None

    async def deliver(self, session: Session, item: InboxItem) -> Outcome:
        """One attempt. Never raises for what the flow does."""
        url = self._url(session)
        if url is not None and self.client is not None:
            own = session.settings.flow_url is not None
            secret = session.settings.flow_secret or (None if own else self._defaults.secret)
            return await self.client.deliver(item, url=url, secret=secret, trusted=not own)
        replies: list[dict[str, Any]] = []
        if self._rules is not None and isinstance(item.event, InboundMessage):
            replies = self._rules.answer(item)
        return Answered(replies)

    def _url(self, session: Session) -> str | None:
        return session.settings.flow_url or self._defaults.url
