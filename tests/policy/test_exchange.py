"""What a dollar is worth: numbers out of answers, and what several of them agree on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.policy.exchange import LEAST, MOST, SATS_PER_BTC, Reading, agreed, number_at, sats_per_usd

NOW = 1_800_000_000.0
AGE = 600.0

_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text("0123456789.eE-_ n", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab01"), inner, max_size=3),
    max_leaves=10,
)
_PATHS = st.lists(st.sampled_from(["a", "b", "0", "1", "-1", "²", "", "9" * 5000]), min_size=1, max_size=3).map(
    ".".join
)
_RATES = st.decimals(LEAST, MOST, places=6)


# A number in JSON.


@pytest.mark.parametrize(
    ("document", "path", "number"),
    [
        ({"data": {"amount": "97012.345"}}, "data.amount", "97012.345"),
        ({"USD": 97012}, "USD", "97012"),
        ({"result": {"XXBTZUSD": {"c": ["97012.1", "0.5"]}}}, "result.XXBTZUSD.c.0", "97012.1"),
        ([[1.5]], "0.0", "1.5"),
        ({"0": {"1": Decimal("2.50")}}, "0.1", "2.50"),
        ({"a": " 7 "}, "a", "7"),
        ({"": 1}, "", "1"),
        ({"a": -1}, "a", "-1"),
    ],
)
def test_a_number_is_found_by_names_and_indexes(document: object, path: str, number: str) -> None:
    """Whether it is written as a number or as a text, and with every digit."""
    assert number_at(document, path) == Decimal(number)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"a": 1}, "b"),
        ({"a": 1}, "a.b"),
        ({"a": [1]}, "a.1"),
        ({"a": [1]}, "a.-1"),
        ({"a": [1]}, "a.²"),
        ({"a": [1]}, "a."),
        ([], "0"),
        (None, "a"),
        ("text", "0"),
    ],
)
def test_where_there_is_nothing_the_path_is_named(document: object, path: str) -> None:
    """What the answer holds instead is not repeated."""
    with pytest.raises(ValueError, match="there is no "):
        number_at(document, path)


@pytest.mark.parametrize(
    "value", [None, True, False, "", "much", "nan", "inf", "-Infinity", float("nan"), float("inf"), [], {}, [1], "1,5"]
)
def test_what_is_no_number_is_none(value: object) -> None:
    """A boolean is not 1, and neither is a list of one."""
    with pytest.raises(ValueError, match="'a' is no number"):
        number_at({"a": value}, "a")


@given(_JSON, _PATHS)
def test_any_json_has_a_number_there_or_not(document: object, path: str) -> None:
    """Nothing but ValueError is ever raised, and what is found is finite."""
    try:
        found = number_at(document, path)
    except ValueError:
        return

    assert found.is_finite()


# A number as a rate.


def test_a_rate_is_satoshis_for_a_dollar() -> None:
    """A bitcoin for 100,000 dollars is 1,000 satoshis for one; said as such it is taken as it is."""
    assert sats_per_usd(Decimal(100_000), "usd_per_btc") == 1000
    assert sats_per_usd(Decimal(1000), "sats_per_usd") == 1000


@given(_RATES)
def test_both_ways_to_say_it_mean_the_same(rate: Decimal) -> None:
    """To the last digit that a decimal has."""
    said = SATS_PER_BTC / rate

    assert sats_per_usd(rate, "sats_per_usd") == rate
    assert abs(sats_per_usd(said, "usd_per_btc") - rate) <= rate * Decimal("1e-20")


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        *((value, unit) for value in ("0", "-0", "-1", "-1e9") for unit in ("usd_per_btc", "sats_per_usd")),
        ("0.0009", "sats_per_usd"),
        ("1000000001", "sats_per_usd"),
        ("0.09", "usd_per_btc"),
        ("100000000001", "usd_per_btc"),
        *((value, unit) for value in ("1e-999999", "1e999999") for unit in ("usd_per_btc", "sats_per_usd")),
    ],
)
def test_what_can_be_no_rate_is_refused(value: str, unit: str) -> None:
    """A source that says 0, or the price in another unit, is wrong and not an opportunity; the line stays short."""
    with pytest.raises(ValueError, match="can be no rate") as caught:
        sats_per_usd(Decimal(value), unit)

    assert len(str(caught.value)) < 60


@pytest.mark.parametrize(
    ("value", "unit", "rate"),
    [
        ("0.001", "sats_per_usd", LEAST),
        ("1000000000", "sats_per_usd", MOST),
        ("0.1", "usd_per_btc", MOST),
        ("100000000000", "usd_per_btc", LEAST),
    ],
)
def test_the_ends_are_rates(value: str, unit: str, rate: Decimal) -> None:
    """Least and most are both still taken."""
    assert sats_per_usd(Decimal(value), unit) == rate


@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(["usd_per_btc", "sats_per_usd"]))
def test_any_number_is_a_rate_within_the_bounds_or_none(value: Decimal, unit: str) -> None:
    """Whatever its size, it is an answer or a ValueError."""
    try:
        rate = sats_per_usd(value, unit)
    except ValueError:
        return

    assert LEAST <= rate <= MOST


# Several of them.


def readings(*rates: float | Decimal, age: float = 0.0) -> list[Reading]:
    return [Reading(Decimal(rate), NOW - age) for rate in rates]


@pytest.mark.parametrize(
    ("rates", "agreed_on"),
    [((1000,), 1000), ((1000, 1010), 1005), ((1010, 990, 1000), 1000), ((1, 1000, 1002, 10**9), 1001)],
)
def test_the_median_holds(rates: tuple[int, ...], agreed_on: int) -> None:
    """The middle one, or the mean of the two in the middle, whatever their order."""
    rate = agreed(readings(*rates), NOW, AGE)

    assert rate is not None
    assert rate.micro_sats_per_usd == agreed_on * 10**6
    assert rate.source == f"median of {len(rates)} source{'s' * (len(rates) > 1)}"


@given(_RATES, _RATES, _RATES)
def test_one_that_has_gone_mad_does_not_decide(first: Decimal, second: Decimal, mad: Decimal) -> None:
    """Between two that are sane, the third moves it no further than to one of them."""
    rate = agreed(readings(first, mad, second), NOW, AGE)

    assert rate is not None
    low, high = sorted((first, second))
    assert low * 10**6 <= rate.micro_sats_per_usd <= high * 10**6


@pytest.mark.parametrize(
    ("age", "counts"), [(0, True), (AGE, True), (AGE + 0.001, False), (-AGE, True), (-AGE - 1, False)]
)
def test_a_reading_counts_until_it_is_too_old(age: float, counts: bool) -> None:
    """Both ways: after a clock was set back, a reading from the future does not hold until then."""
    found = agreed([*readings(1000, 1000, age=age)], NOW, AGE)

    assert (found is not None) is counts


def test_only_fresh_ones_are_asked() -> None:
    """Old ones do not hold the median where it was; the age is that of the oldest that counts."""
    rate = agreed([*readings(1, 1, 1, age=601), *readings(1000, age=500), *readings(1002, age=10)], NOW, AGE)

    assert rate is not None
    assert (rate.micro_sats_per_usd, rate.source, rate.at) == (1001 * 10**6, "median of 2 sources", NOW - 500)


def test_without_a_reading_there_is_no_rate() -> None:
    """Nothing is guessed."""
    assert agreed([], NOW, AGE) is None
    assert agreed(readings(1000, age=10_000), NOW, AGE) is None


@given(st.lists(st.tuples(_RATES, st.floats(-1000, 1000)), max_size=6))
def test_what_is_agreed_on_is_between_what_was_said(said: list[tuple[Decimal, float]]) -> None:
    """And as old as something that was said; it is none only if nothing is fresh."""
    heard = [Reading(rate, NOW - age) for rate, age in said]
    fresh = [reading for reading in heard if abs(NOW - reading.at) <= AGE]

    rate = agreed(heard, NOW, AGE)

    assert (rate is None) == (not fresh)
    if rate is not None:
        rates = [reading.sats_per_usd for reading in fresh]
        assert min(rates) * 10**6 - 1 <= rate.micro_sats_per_usd <= max(rates) * 10**6 + 1
        assert rate.at in {reading.at for reading in fresh}
