"""What Meta tells of a number's rate, and whose limits a session shares."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from tests.providers.meta import APP_SECRET, WABA_ID, session
from wad.errors import Scope
from wad.providers.cloud_api import CloudApi
from wad.providers.meta.account import MetaConfig
from wad.providers.meta.numbers import number_of
from wad.providers.meta.probe import proof_of, rate_of
from wad.providers.pools import Pools

RATES = [
    pytest.param({"throughput": {"level": "STANDARD"}}, 80.0, id="standard"),
    pytest.param({"throughput": {"level": "HIGH"}}, 1000.0, id="upgraded"),
    pytest.param({"throughput": {"level": "STANDARD"}, "is_on_biz_app": True}, 20.0, id="beside the app"),
    pytest.param({"throughput": {"level": "HIGH"}, "is_on_biz_app": False}, 1000.0, id="not beside the app"),
    pytest.param({"throughput": {"level": "NOT_APPLICABLE"}}, None, id="it does not say"),
    pytest.param({"throughput": {"level": "TURBO"}}, None, id="a word that is new"),
    pytest.param({"throughput": 7}, None, id="an odd type"),
    pytest.param({}, None, id="an older API"),
]


@pytest.mark.parametrize(("record", "rate"), RATES)
def test_the_rate_that_meta_tells(record: dict[str, Any], rate: float | None) -> None:
    """In the proof of a number by itself, and of one of several; where Meta says nothing, nothing is guessed."""
    record = {"id": "1", "display_phone_number": "+52 55 1234 5678", **record}
    assert rate_of(record) == rate
    assert proof_of(record).rates == ({} if rate is None else {"": rate})
    assert number_of(record).rate == rate


async def test_an_account_and_an_app_are_shared_by_what_names_them() -> None:
    """The account by the id that it told, whichever kind reaches it; the app by its secret, which no name shows."""
    async with Pools() as pools, trio.open_nursery():
        kind = CloudApi(MetaConfig(), pools)
        alone = session()
        known = msgspec.structs.replace(alone, connection_data={"wabaId": WABA_ID})
        other = msgspec.structs.replace(session(appSecret="another"), connection_data={"wabaId": WABA_ID})
        assert Scope.ACCOUNT not in kind.shared(alone)
        assert kind.shared(known)[Scope.ACCOUNT] == kind.shared(other)[Scope.ACCOUNT]
        assert kind.shared(alone)[Scope.APP] == kind.shared(known)[Scope.APP]
        assert kind.shared(known)[Scope.APP] != kind.shared(other)[Scope.APP]
        assert APP_SECRET not in repr(kind.shared(known))
        assert Scope.APP not in kind.shared(session(appSecret=None))
