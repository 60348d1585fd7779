"""What a section of the configuration is, and what those of all providers have: for providers from elsewhere, too."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wad.config.values import BaseUrl, Count, Duration, Rate


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        return {} if value is None else value


class ProviderSection(Section):
    """What every provider has. Every key has a default: who does not use a provider does not configure it."""

    rate: Rate | None = 1  # sends a second of one number; None: what the provider tells of it, else 80
    burst: Annotated[Count, Field(ge=1)] = 1


class HttpProvider(ProviderSection):
    """What every provider with an HTTP API has."""

    base_url: BaseUrl
    timeout: Duration = 35  # one attempt, from the pool to the last byte of the answer
    rate: Rate | None = None
    burst: Annotated[Count, Field(ge=1)] = 10  # at once: more would put a second beyond its rate
    pair_interval: Duration = 6  # Meta: one message in 6 s to one recipient...
    pair_burst: Annotated[Count, Field(ge=1)] = 45  # ...with 45 ahead of time
