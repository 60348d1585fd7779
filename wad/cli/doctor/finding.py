"""What a check found: fine, worth a look, or in the way; and what to do about it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    check: str
    level: Level
    detail: str
    next_step: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"check": self.check, "level": self.level, "detail": self.detail, "next": self.next_step}
