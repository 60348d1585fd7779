"""The two rates, as properties: what they let through never exceeds what Meta allows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wad.sandbox.ids import as_wa_id, country_code, digits_of, is_plausible, new_wamid
from wad.sandbox.limits import PAIR_BURST, PAIR_GAP, PairLimit, Throughput

gaps = st.lists(st.floats(0, 30, allow_nan=False), max_size=200)


@given(gaps)
def test_a_pair_never_gets_ahead_by_more_than_a_burst(gaps: list[float]) -> None:
    """Over any span, one message in six seconds and one burst on credit."""
    limit, now = PairLimit(), 0.0
    taken: list[float] = []
    for gap in gaps:
        now += gap
        if limit.take("n", "c", now):
            taken.append(now)
    for first in range(len(taken)):
        span = taken[-1] - taken[first]
        assert len(taken) - first <= span / PAIR_GAP + PAIR_BURST + 1


def test_a_burst_of_twenty_takes_two_minutes_to_pay() -> None:
    """The example of Meta's own page."""
    limit = PairLimit()
    assert all(limit.take("n", "c", 0.0) for _ in range(20))
    assert not limit.take("n", "c", 7.0)
    assert not limit.take("n", "c", 119.9)
    assert limit.take("n", "c", 120.0)


def test_pairs_do_not_know_of_each_other() -> None:
    """Another customer, or another number, is another debt."""
    limit = PairLimit()
    assert all(limit.take("n", "c", 0.0) for _ in range(PAIR_BURST))
    assert not limit.take("n", "c", 0.0)
    assert limit.take("n", "d", 0.0)
    assert limit.take("m", "c", 0.0)


@given(gaps, st.floats(1, 100))
def test_throughput_is_never_exceeded(gaps: list[float], rate: float) -> None:
    """No more than the rate times the time, and one second's worth to begin with."""
    bucket, now, taken = Throughput(), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take("n", rate, now)
    assert taken <= rate * (now + 1) + 1e-6


@given(st.from_regex(r"\+[1-9][0-9]{7,13}", fullmatch=True))
def test_a_wamid_carries_its_number_and_is_new(phone: str) -> None:
    """However often it is asked for."""
    digits = digits_of(phone)
    assert len({new_wamid(digits, inbound=inbound) for inbound in (True, False) for _ in range(50)}) == 100


#: digits → (country code, possible, wa_id)
NUMBERS = {
    "15550100100": ("1", True, "15550100100"),
    "115550100100": ("1", False, "115550100100"),
    "525512345678": ("52", True, "5215512345678"),
    "5215512345678": ("52", True, "5215512345678"),
    "525215512345678": ("52", False, "525215512345678"),
    "593991234567": ("593", True, "593991234567"),
    "4915112345678": ("49", True, "4915112345678"),
}


def test_numbers_are_known_by_their_country() -> None:
    """Its code, how long they are, and what WhatsApp calls them."""
    found = {digits: (country_code(digits), is_plausible(digits), as_wa_id(digits)) for digits in NUMBERS}
    assert found == NUMBERS
