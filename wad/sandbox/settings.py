"""How the simulated network behaves: everything here can be changed while it runs (`PATCH /_sandbox/settings`)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many events one webhook POST carries, and how long the first of them waits for company.

    Meta sends up to 1,000 updates in one POST, of several numbers and accounts of the same app.
    """

    max: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    linger: Seconds = 0.0


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The defaults are Meta's rules, with delays a person at the chat page finds natural."""

    # What the recipient's phone does with a message, in order, seconds after the answer.
    statuses: dict[Literal["sent", "delivered", "read", "played"], Seconds] = msgspec.field(
        default_factory=lambda: {"sent": 0.05, "delivered": 0.2, "read": 0.6}
    )

    enforce_window: bool = True  # 131047 for anything but a template outside the customer's 24 hours
    strangers_on_whatsapp: bool = True  # a number nobody created is a customer once it is written to
    failures: Literal["webhook", "answer"] = "webhook"  # where 131026, 131047, 131053... are told
    pair_limit: bool = False  # 131056: 1 message in 6 s to one person, 45 on credit
    throughput: Annotated[float, msgspec.Meta(gt=0)] | None = None  # 130429: messages a second of one number
    template_review: Literal["approve", "reject", "none"] = "approve"  # of a template that is made or edited
    template_review_after: Seconds = 2.0  # Meta takes minutes, or a day
    template_sync: Seconds = (
        600.0  # 134101: for so long the Marketing Messages API does not know a new template
    )
    require_proof: bool = False  # the app's "Require App Secret" switch
    sniff_media: bool = True  # 131053 where an upload's bytes are not what its type says
    latency: Seconds = 0.0  # before every answer of the Graph API

    batch: Batch = Batch()
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32  # webhook POSTs in flight to one callback
    webhook_timeout: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    # Meta retries "with decreasing frequency" for 7 days; this is the same, compressed. The last repeats.
    retry_delays: Annotated[list[Seconds], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: [1, 2, 4, 8, 15, 30, 60]
    )
    give_up_after: Seconds = 7 * 86400.0
