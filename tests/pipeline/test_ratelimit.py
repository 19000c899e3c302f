"""Limits as headers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.pipeline.ratelimit import duration, rate_limit_headers
from arbstr.policy.limits import NO_VIEW, Gauge, View


def test_both_limits() -> None:
    """Three headers for requests, three for tokens."""
    view = View(requests=Gauge(600, 599, 0.1), tokens=Gauge(1_000_000, 0, 360.0))

    assert list(rate_limit_headers(view)) == [
        (b"x-ratelimit-limit-requests", b"600"),
        (b"x-ratelimit-remaining-requests", b"599"),
        (b"x-ratelimit-reset-requests", b"100ms"),
        (b"x-ratelimit-limit-tokens", b"1000000"),
        (b"x-ratelimit-remaining-tokens", b"0"),
        (b"x-ratelimit-reset-tokens", b"6m0s"),
    ]


def test_a_limit_that_there_is_not() -> None:
    """It has no headers."""
    names = [name for name, _ in rate_limit_headers(View(tokens=Gauge(10, 10, 0.0)))]

    assert names == [b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"]
    assert list(rate_limit_headers(NO_VIEW)) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, b"0s"),
        (1e-9, b"1ms"),
        (0.02, b"20ms"),
        (0.9991, b"1s"),
        (1.0, b"1s"),
        (1.001, b"2s"),
        (59.2, b"1m0s"),
        (360.0, b"6m0s"),
        (3600.0, b"1h0m0s"),
        (100_000.0, b"27h46m40s"),
    ],
)
def test_durations(seconds: float, text: bytes) -> None:
    """As OpenAI writes them."""
    assert duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e9))
def test_a_duration_is_long_enough(seconds: float) -> None:
    """Whoever waits for as long as it says has waited long enough, and less than a second too long."""
    found = re.fullmatch(rb"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", duration(seconds))
    assert found is not None
    hours, minutes, whole, milliseconds = (int(part or 0) for part in found.groups())
    said = hours * 3600 + minutes * 60 + whole + milliseconds / 1000

    assert seconds <= said < seconds + 1
