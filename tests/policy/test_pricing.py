from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.money import Cost, MicroSats, Rates, sats, sats_text
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage
from arbstr.policy.pricing import OutputMean, cost_of, expected_tokens


def rates(input: str, output: str, fee: str = "0") -> Rates:
    return Rates.per_thousand(input=Decimal(input), output=Decimal(output), base_fee=Decimal(fee))


def request(*, input_bytes: int = 400, max_tokens: int | None = None, n: int = 1) -> ChatRequest:
    return ChatRequest("m", False, {}, input_bytes, "", max_tokens, n)


def test_the_contracts_example() -> None:
    """(100 × 10 + 200 × 30) / 1000 + 1 = 8 satoshis."""
    assert cost_of(Usage(100, 200), rates("10", "30", "1"), None) == Cost(MicroSats(8_000_000), None)


def test_sub_satoshi_digits_are_kept() -> None:
    """7 tokens at 0.15 and 11 at 0.6 satoshis per thousand: 0.00765 satoshis."""
    cost = cost_of(Usage(7, 11), rates("0.15", "0.6"), None)

    assert cost.sats is not None
    assert sats_text(cost.sats) == "0.00765"


@given(
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.decimals(0, 10**6, places=6),
    st.decimals(0, 10**6, places=6),
    st.decimals(0, 10**4, places=3),
)
def test_the_cost_is_the_formula_rounded_once(
    tokens_in: int, tokens_out: int, input_rate: Decimal, output_rate: Decimal, fee: Decimal
) -> None:
    """Against exact decimal arithmetic, within half a microsatoshi."""
    exact = (tokens_in * input_rate + tokens_out * output_rate) / 1000 + fee

    cost = cost_of(Usage(tokens_in, tokens_out), rates(str(input_rate), str(output_rate), str(fee)), None)

    assert cost.sats is not None
    assert abs(Decimal(cost.sats) / 10**6 - exact) <= Decimal("0.0000005")


@given(st.integers(0, 10**18))
def test_amounts_print_exactly(amount: int) -> None:
    """The text, read back as a decimal, is the amount; no exponent, no trailing zeros."""
    text = sats_text(MicroSats(amount))

    assert Decimal(text) * 10**6 == amount
    assert "e" not in text.lower()
    assert "." not in text or not text.endswith("0")


def test_amounts_as_json_numbers() -> None:
    """The border where floats are allowed."""
    assert sats(MicroSats(450_001)) == 0.450001


def test_512_output_tokens_are_expected_until_ten_answers_were_seen() -> None:
    """Then the mean of what was seen."""
    mean = OutputMean()
    for _ in range(9):
        mean.add(100)
    assert mean.expected() == 512

    mean.add(200)

    assert mean.expected() == 110


def test_expected_output_is_bounded_by_max_tokens_and_multiplied_by_n() -> None:
    """A caller who takes at most 50 tokens pays for at most 50 of each choice."""
    assert expected_tokens(request(), 512) == (100, 512)
    assert expected_tokens(request(max_tokens=50), 512) == (100, 50)
    assert expected_tokens(request(max_tokens=9000, n=3), 512) == (100, 1536)
