from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.openai.usage import MOST_TOKENS, merge_usage, read_usage
from arbstr.domain.usage import Usage


def test_cached_and_reasoning_tokens_are_inside() -> None:
    """As OpenAI counts them; a total that disagrees is ignored."""
    usage = read_usage(
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 99,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }
    )

    assert usage == Usage(10, 5, 4, 3)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "12",
        7,
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": -1, "total_tokens": 9},
        {"prompt_tokens": "5", "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 5.5},
        {"prompt_tokens": 5, "completion_tokens": float("inf")},
        {"prompt_tokens": 5, "completion_tokens": float("nan")},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 10**12, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": MOST_TOKENS + 1},
        {"prompt_tokens": 5, "completion_tokens": None, "total_tokens": 9},
        {"prompt_tokens": 5, "total_tokens": 4},
        {"total_tokens": 5},
    ],
)
def test_unusable_numbers_are_no_usage(value: Any) -> None:
    """Whoever needs tokens then estimates them; a guess in the provider's name is worse."""
    assert read_usage(value) is None


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 0}, Usage(5, 0)),
        ({"prompt_tokens": 0, "completion_tokens": 5}, Usage(0, 5)),
        ({"prompt_tokens": 5.0, "completion_tokens": 2}, Usage(5, 2)),
        ({"prompt_tokens": 5, "total_tokens": 7}, Usage(5, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, Usage(5, 2, 4)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 2, 5)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": "x"}}, Usage(5, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": [3]}, Usage(5, 2)),
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 3}},
            Usage(5, 2, 0, 2),
        ),
    ],
)
def test_odd_numbers_are_clamped(value: Any, usage: Usage) -> None:
    """Details never exceed what they are part of, and nonsense in them spoils nothing."""
    assert read_usage(value) == usage


@pytest.mark.parametrize(
    ("details", "cached", "written"),
    [
        ({"cached_tokens": 60, "cache_write_tokens": 30}, 60, 30),
        ({"cached_tokens": 0, "cache_creation_tokens": 30}, 0, 30),
        ({"cached_tokens": 60, "cache_write_tokens": 90}, 60, 40),
        ({"cache_write_tokens": "x"}, 0, 0),
    ],
)
def test_tokens_written_to_a_cache(details: Any, cached: int, written: int) -> None:
    """By OpenRouter's name and by LiteLLM's, and never more than is left beside those that were read from it."""
    usage = read_usage({"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": details})

    assert usage == Usage(100, 5, cached, cache_write_tokens=written)


@pytest.mark.parametrize(("total", "output"), [(135, 103), (41, 9), (136, 9), (None, 9)])
def test_reasoning_that_is_charged_beside_the_answer(total: int | None, output: int) -> None:
    """xAI leaves it out of ``completion_tokens``, and its total says so; no other total moves anything."""
    counts: dict[str, Any] = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": total}
    usage = read_usage({**counts, "completion_tokens_details": {"reasoning_tokens": 94}})

    assert usage == Usage(32, output, reasoning_tokens=min(94, output))


@pytest.mark.parametrize(
    ("more", "usage"),
    [
        ({"cached_tokens": 60}, Usage(100, 5, 60)),
        ({"num_cached_tokens": 60}, Usage(100, 5, 60)),
        ({"cached_tokens": "x", "num_cached_tokens": 60}, Usage(100, 5, 60)),
        ({"prompt_tokens_details": {"cached_tokens": 50}, "cached_tokens": 60}, Usage(100, 5, 50)),
        # LiteLLM repeats its details by Anthropic's names: they are in the prompt, as its total says.
        (
            {
                "total_tokens": 105,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 30},
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 30,
            },
            Usage(100, 5, 60, cache_write_tokens=30),
        ),
        (
            {"total_tokens": 195, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30},
            Usage(190, 5, 60, cache_write_tokens=30),
        ),
    ],
)
def test_cached_tokens_by_other_names(more: dict[str, Any], usage: Usage) -> None:
    """Each vendor has its own; what OpenAI calls them goes first."""
    assert read_usage({"prompt_tokens": 100, "completion_tokens": 5, **more}) == usage


@pytest.mark.parametrize(
    ("kept", "hour"),
    [
        ({"cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 10}}, 20),
        ({"cache_creation": {"ephemeral_1h_input_tokens": 99}}, 30),
        ({"cache_creation": None}, 0),
        ({"cache_creation": [20]}, 0),
    ],
)
def test_tokens_written_for_an_hour(kept: dict[str, Any], hour: int) -> None:
    """As OpenRouter names them beside the details, and others among them; never more than were written."""
    counts: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 5}
    details = {"cache_write_tokens": 30}
    inner = {("cache_creation_token_details" if hour == 20 else name): value for name, value in kept.items()}
    expected = Usage(100, 5, cache_write_tokens=30, cache_write_1h_tokens=hour)

    assert read_usage({**counts, "prompt_tokens_details": details, **kept}) == expected
    assert read_usage({**counts, "prompt_tokens_details": {**details, **inner}}) == expected


def test_a_total_counts_for_thoughts_only_at_gemini() -> None:
    """And there only where they are not counted by their name."""
    counts = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}
    named = {**counts, "completion_tokens_details": {"reasoning_tokens": 405}}

    assert read_usage(counts) == read_usage(counts, model="gpt-4o") == read_usage(counts, model=7) == Usage(20, 198)
    assert read_usage(counts, model="models/Gemini-2.5-pro") == Usage(20, 603, reasoning_tokens=405)
    assert read_usage(named, model="gemini-2.5-pro") == Usage(20, 603, reasoning_tokens=405)
    assert read_usage({**counts, "total_tokens": 218}, model="gemini-2.5-pro") == Usage(20, 198)


def test_reports_are_merged_and_never_summed() -> None:
    """The last value wins, unless it forgets what an earlier one knew."""
    first, second = Usage(10, 1), Usage(10, 5, 3, 2)

    assert merge_usage(None, first) == first
    assert merge_usage(first, None) == first
    assert merge_usage(None, None) is None
    assert merge_usage(first, second) == second
    assert merge_usage(second, first) == second
    assert merge_usage(second, second) == second
    assert merge_usage(Usage(10, 0), Usage(0, 7)) == Usage(10, 7)


def test_what_is_merged_stays_within_the_input() -> None:
    """No token was both read from a cache and written to one, whichever report said what."""
    read = Usage(100, 1, 80, cache_write_tokens=20, cache_write_1h_tokens=20)
    written = Usage(100, 2, 20, cache_write_tokens=80, cache_write_1h_tokens=10)

    merged = merge_usage(read, written)

    assert merged == Usage(100, 2, 80, cache_write_tokens=20, cache_write_1h_tokens=20)


def test_counts_of_a_provider_beat_estimates() -> None:
    """In either order, and whichever is larger."""
    counted, estimated = Usage(10, 5), Usage(99, 99, estimated=True)

    assert merge_usage(counted, estimated) == merge_usage(estimated, counted) == counted
    assert merge_usage(estimated, Usage(1, 100, estimated=True)) == Usage(99, 100, estimated=True)


NUMBERS = st.none() | st.integers(-3, 40) | st.integers() | st.floats() | st.text(max_size=2) | st.booleans()


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": NUMBERS,
            "completion_tokens": NUMBERS,
            "total_tokens": NUMBERS,
            "prompt_tokens_details": st.none() | st.fixed_dictionaries({"cached_tokens": NUMBERS}),
            "completion_tokens_details": st.none() | st.fixed_dictionaries({"reasoning_tokens": NUMBERS}),
        },
    )
)
def test_usage_is_always_plausible(value: dict[str, Any]) -> None:
    """Whatever a provider reports."""
    usage = read_usage(value)

    if usage is not None:
        assert 0 <= usage.cached_input_tokens <= usage.input_tokens <= MOST_TOKENS
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens <= MOST_TOKENS
        assert all(type(count) is int for count in (usage.input_tokens, usage.output_tokens))
