"""What a request costs by the catalogue is what genai-prices says that it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.catalogue import shipped
from arbstr.catalogue.lookup import Listing, Seller
from arbstr.domain.money import Rates
from arbstr.domain.usage import Usage
from tests.catalogue.judge import PROVIDERS, exact, model_of, pico
from tests.catalogue.shipped import sellers

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

SELLERS: dict[str, Seller] = sellers()
PRICED = [
    (key, model.id)
    for key, seller in SELLERS.items()
    for model in seller.models
    if seller.listing(model, NOW) is not None
]
WITH_BATCHES = [(key, id) for key, id in PRICED if model_of(key, id).price_variants]
CHANGING = [(key, id) for key, id in PRICED if isinstance(model_of(key, id).prices, list)]
FAMOUS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.4"),
    ("openai", "text-embedding-3-small"),
    ("anthropic", "claude-haiku-4-5"),
    ("google", "gemini-2.5-pro"),
    ("deepseek", "deepseek-v4-flash"),
    ("perplexity", "sonar"),
    ("openrouter", "perplexity/sonar-deep-research"),
    ("openrouter", "google/gemini-2.5-flash"),
    ("aws", "regional.anthropic.claude-haiku-4-5-20251001-v1:0"),
]


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    sizes = st.one_of(st.integers(0, 3_000), st.integers(0, 600_000), st.sampled_from([200_000, 200_001, 272_001]))
    cached, written, plain = draw(sizes), draw(sizes), draw(sizes)
    output = draw(st.integers(0, 100_000))
    return Usage(
        input_tokens=cached + written + plain,
        output_tokens=output,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=draw(st.integers(0, written)),
        reasoning_tokens=draw(st.integers(0, output)),
    )


instants = st.datetimes(datetime(2025, 1, 1), datetime(2027, 3, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


def charged(rates: Rates, usage: Usage) -> int:
    return rates.charge(
        usage.input_tokens,
        usage.output_tokens,
        cached=usage.cached_input_tokens,
        cache_write=usage.cache_write_tokens,
        cache_write_1h=usage.cache_write_1h_tokens,
        reasoning=usage.reasoning_tokens,
    )


def listing(key: str, id: str, at: datetime) -> Listing | None:
    seller = SELLERS[key]
    return seller.listing(next(model for model in seller.models if model.id == id), at)


def check(key: str, id: str, usage: Usage, at: datetime) -> None:
    found, model = listing(key, id, at), model_of(key, id)
    if found is None:
        return
    rounding = 0 if exact(model, at) else usage.input_tokens + usage.output_tokens
    assert abs(charged(found.rates, usage) - pico(key, model, usage, at)) <= rounding
    expected = pico(key, model, usage, at, batch=True)
    assert abs(charged(found.batch or found.rates, usage) - expected) <= rounding


@pytest.mark.parametrize(("key", "id"), FAMOUS)
@given(usage=usages())
@settings(max_examples=50)
def test_well_known_models_cost_what_the_judge_says(key: str, id: str, usage: Usage) -> None:
    """Input, output, cached and written tokens, reasoning, tiers and the fee for a request: to the last digit."""
    assert (key, id) in PRICED

    check(key, id, usage, NOW)


@given(which=st.sampled_from(PRICED), usage=usages())
@settings(max_examples=300)
def test_any_model_costs_what_the_judge_says(which: tuple[str, str], usage: Usage) -> None:
    """So does any other model of any provider, as an answer and in a batch."""
    check(*which, usage, NOW)


@given(which=st.sampled_from(WITH_BATCHES), usage=usages(), at=instants)
@settings(max_examples=200)
def test_batches_cost_what_the_judge_says(which: tuple[str, str], usage: Usage, at: datetime) -> None:
    """At any time, before and after a batch had a price of its own."""
    check(*which, usage, at)


@given(which=st.sampled_from(CHANGING), usage=usages(), at=instants)
@settings(max_examples=300)
def test_prices_of_any_time_are_the_judge_s(which: tuple[str, str], usage: Usage, at: datetime) -> None:
    """A price counts from its day on, and at its hours."""
    check(*which, usage, at)


@given(which=st.sampled_from(CHANGING), at=instants, share=st.floats(0, 1))
@settings(max_examples=300)
def test_a_price_holds_until_it_says(which: tuple[str, str], at: datetime, share: float) -> None:
    """Up to that instant it is the same, and at it another; without one it never changes."""
    found = listing(*which, at)
    if found is None:
        return
    until = found.until
    end = until or at + timedelta(days=1000)

    within = listing(*which, min(at + share * (end - at), end - timedelta.resolution))

    assert within is not None
    assert (within.rates, within.also) == (found.rates, found.also)
    if until is not None:
        after = listing(*which, until)
        assert after is None or (after.rates, after.also) != (found.rates, found.also)


def test_every_model_of_the_judge_is_in_the_catalogue() -> None:
    """None was lost when the file was compiled, and each has its context window."""
    ours = {(key, model.id): model.context_window for key, seller in SELLERS.items() for model in seller.models}

    assert ours == {
        (provider.id, model.id): model.context_window for provider in PROVIDERS.values() for model in provider.models
    }
    assert shipped().compiled_from.startswith("genai-prices ")
