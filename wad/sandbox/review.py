"""What becomes of a template: Meta's reviewers look at it, people block it, Meta moves it to another category.

Each is told by webhook. The settings say what reviewers do by themselves; the control API lets anything happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from wad.sandbox.network import Account, Network
from wad.sandbox.settings import Settings
from wad.sandbox.templates import Template
from wad.sandbox.timers import Timers

#: Meta's own reasons: `message_template_status_update.reason`.
REASONS: Final = (
    *("ABUSIVE_CONTENT", "INVALID_FORMAT", "NONE", "PROMOTIONAL", "SCAM", "TAG_CONTENT_MISMATCH"),
)


class Review:
    def __init__(
        self,
        *,
        network: Network,
        timers: Timers,
        settings: Callable[[], Settings],
        tell: Callable[[str, str, dict[str, Any]], object],
    ) -> None:
        """*tell* makes a webhook event of an account: its id, the field and the value."""
        self._network = network
        self._timers = timers
        self._settings = settings
        self._tell = tell

    def ask(self, account: Account, template: Template) -> None:
        """Have the reviewers look at *template*, which is PENDING, when they get to it."""
        settings = self._settings()
        match settings.template_review:
            case "approve":
                status, reason = "APPROVED", "NONE"
            case "reject":
                status, reason = "REJECTED", "INVALID_FORMAT"
            case _:
                return

        def decide() -> None:
            current = account.templates.get((template.name, template.language))
            if current is template and template.status == "PENDING":
                self.decide(account, template, status, reason)

        self._timers.later(settings.template_review_after, decide)

    def decide(self, account: Account, template: Template, status: str, reason: str = "NONE") -> None:
        """Let *template* have this status, and tell so."""
        event = "UNPAUSED" if (template.status, status) == ("PAUSED", "APPROVED") else status
        template.status = status
        template.rejected_reason = reason if status == "REJECTED" else "NONE"
        value: dict[str, Any] = {"event": event, **_named(template), "reason": reason}
        value["message_template_category"] = template.category
        if status == "REJECTED":
            recommendation = "Change what the reason names, and send the template in again."
            value["rejection_info"] = {"reason": reason, "recommendation": recommendation}
        if status == "DISABLED":
            value["disable_info"] = {"disable_date": int(self._network.now())}
        if status == "PAUSED":
            description = "Your template has been paused because its quality is low."
            value["other_info"] = {"title": "FIRST_PAUSE", "description": description}
        self._tell(account.waba_id, "message_template_status_update", value)

    def rate(self, account: Account, template: Template, quality: str) -> None:
        """Let people think so of it."""
        before, template.quality = template.quality, quality
        value = {"previous_quality_score": before, "new_quality_score": quality, **_named(template)}
        self._tell(account.waba_id, "message_template_quality_update", value)

    def move(self, account: Account, template: Template, category: str) -> None:
        """Let Meta find that it is of another category."""
        before, template.category = template.category, category
        value = {**_named(template), "previous_category": before, "new_category": category}
        self._tell(account.waba_id, "template_category_update", value)


def _named(template: Template) -> dict[str, Any]:
    return {
        "message_template_id": int(template.template_id),
        "message_template_name": template.name,
        "message_template_language": template.language,
    }
