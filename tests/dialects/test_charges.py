from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.anthropic import read_usage as read_anthropic
from arbstr.dialects.charges import charge_beside, read_charge
from arbstr.dialects.chat import ChatProvider
from arbstr.dialects.openai import merge_usage
from arbstr.dialects.openai import read_usage as read_chat
from arbstr.dialects.responses.usage import read_usage as read_responses
from arbstr.domain.money import Currency
from arbstr.domain.usage import Charge, Usage
from tests.dialects.vendors import fed


def dollars(nano: int) -> Charge:
    return Charge(nano, Currency.USD)


def sats(micro: int) -> Charge:
    return Charge(micro, Currency.SATS)


@pytest.mark.parametrize(
    ("usage", "charge"),
    [
        # OpenRouter's usage accounting: credits are dollars.
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, dollars(950_000_000)),
        ({"cost": 0.00014, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.00014}}, dollars(140_000)),
        ({"cost": 0, "is_byok": False}, dollars(0)),
        # With the operator's own key: its fee of 5 %, and what the vendor bills beside it.
        (
            {"cost": 0.95, "is_byok": True, "cost_details": {"upstream_inference_cost": 19}},
            dollars(19_950_000_000),
        ),
        (
            {"cost": 0.95, "is_byok": True, "cost_details": {"upstream_inference_cost": None}},
            dollars(950_000_000),
        ),
        # xAI: 10,000,000,000 ticks are a dollar.
        ({"cost_in_usd_ticks": 318_319_000}, dollars(31_831_900)),
        # Perplexity.
        (
            {"cost": {"input_tokens_cost": 0.00001, "output_tokens_cost": 0.0024, "total_cost": 0.00741}},
            dollars(7410000),
        ),
        # Routstr, which is paid in satoshis; the fraction of the last one is cut off.
        ({"cost": 0.0042, "cost_sats": 5, "remaining_balance_msats": 998}, sats(5_000_000)),
        ({"sats_cost": 5}, sats(5_000_000)),
        ({"cost": 0.0004, "cost_sats": 0}, dollars(400_000)),
        # This gateway.
        ({"cost_sats": 12.000001, "cost_usd": 0.5}, sats(12_000_001)),
        ({"cost_sats": 0}, sats(0)),
    ],
)
def test_charges(usage: dict[str, Any], charge: Charge) -> None:
    """In the smallest units of the currency in which the provider is paid."""
    assert read_charge(usage) == charge


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"cost": None},
        {"cost": "0.95"},
        {"cost": -1},
        {"cost": True},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"cost": 10**9},
        {"cost": 10**400},
        {"cost": {}},
        {"cost": []},
        {"cost_sats": None},
        {"cost_sats": 10**12},
        {"cost_in_usd_ticks": "1"},
    ],
)
def test_what_cannot_be_true_is_no_charge(usage: dict[str, Any]) -> None:
    """Then the answer costs what its tokens come to."""
    assert read_charge(usage) is None


def test_a_charge_beside_the_usage() -> None:
    """Routstr's own unit, which its ``usage`` has without the fraction."""
    assert charge_beside({"base_msats": 0, "total_msats": 412}) == sats(412_000)
    assert charge_beside({"total_msats": None}) is None
    assert charge_beside({"total_msats": -1}) is None
    assert charge_beside(0.5) is None


@pytest.mark.parametrize("cost", [{"total_msats": 412}, {}, 3])
def test_answers_of_a_routstr_node(cost: Any) -> None:
    """Whole and streamed, the exact charge counts, and the rounded one where there is no other."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.0004, "cost_sats": 3}
    answer = {"choices": [{"message": {"content": "x"}}], "usage": usage, "cost": cost}
    chunk = b"data: " + json.dumps({"choices": [], "usage": usage, "cost": cost}).encode() + b"\n\n"

    found = [ChatProvider().parse_whole(json.dumps(answer).encode(), events=False)]
    found += fed(ChatProvider().decoder(events=False), chunk)

    expected = sats(412_000) if cost == {"total_msats": 412} else sats(3_000_000)
    assert [frame.usage for frame in found] == [Usage(10, 5, reported_cost=expected)] * 2


def test_every_dialect_that_is_sold_with_a_charge_reads_it() -> None:
    """OpenRouter and Routstr sell all three."""
    chat = read_chat({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.5})
    responses = read_responses({"input_tokens": 10, "output_tokens": 5, "cost": 0.5})
    messages = read_anthropic({"input_tokens": 10, "output_tokens": 5, "cost": 0.5})

    assert chat == responses == messages == Usage(10, 5, reported_cost=dollars(500_000_000))


def test_charges_are_merged_and_never_summed() -> None:
    """They grow with the answer; the last currency is the one that counts."""
    first, second = Usage(10, 1, reported_cost=dollars(5)), Usage(10, 2, reported_cost=dollars(9))

    assert merge_usage(first, second) == merge_usage(second, first) == second
    assert merge_usage(first, Usage(10, 2)) == Usage(10, 2, reported_cost=dollars(5))
    assert merge_usage(Usage(10, 2), first) == Usage(10, 2, reported_cost=dollars(5))
    assert merge_usage(first, Usage(10, 1, reported_cost=sats(1))) == Usage(10, 1, reported_cost=sats(1))


AMOUNTS = st.none() | st.integers() | st.floats() | st.text(max_size=2) | st.booleans()
NESTED = AMOUNTS | st.dictionaries(st.sampled_from(["total_cost", "upstream_inference_cost", "total_msats"]), AMOUNTS)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "cost": NESTED,
            "cost_sats": NESTED,
            "cost_details": NESTED,
            "is_byok": st.booleans(),
            "cost_in_usd_ticks": AMOUNTS,
        },
    )
)
def test_a_charge_is_always_plausible(usage: dict[str, Any]) -> None:
    """Whatever a provider reports."""
    for charge in (read_charge(usage), charge_beside(usage.get("cost"))):
        assert charge is None or (type(charge.amount) is int and 0 <= charge.amount <= 10**16)
