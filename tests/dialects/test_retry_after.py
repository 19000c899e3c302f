from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arbstr.dialects.retry_after import parse_retry_after, retry_after_of

NOW = 1_763_640_000.0
"""Thu, 20 Nov 2025 12:00:00 GMT."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("3600", 3600.0),
        ("1000000000", 3600.0),
        ("9" * 400, 3600.0),
        ("Thu, 20 Nov 2025 12:00:30 GMT", 30.0),
        ("Thursday, 20-Nov-25 12:00:30 GMT", 30.0),
        ("Thu Nov 20 12:00:30 2025", 30.0),
        ("Thu, 20 Nov 2025 13:00:30 +0100", 30.0),
        ("Thu, 20 Nov 2025 11:00:00 GMT", 0.0),
        ("Thu, 20 Nov 1025 11:00:00 GMT", 0.0),
        ("Thu, 20 Nov 2099 12:00:00 GMT", 3600.0),
    ],
)
def test_seconds_and_dates_are_read(value: str, seconds: float) -> None:
    """A date is told from now; what is past means at once, what is far away an hour."""
    assert parse_retry_after(value, now_epoch=NOW) == seconds


NUMBERS = ["-5", "+5", "inf", "-inf", "nan", "Infinity", "1e9", "0x10", "1_000", "٣", "1,5", "5s", "."]
DATES = ["Fri, 31 Dec 99999 23:59:59 GMT", "Thu, 99 Nov 2025 12:00:00 GMT", "x" * 17, "x" * 100_000, "soon"]


@pytest.mark.parametrize("value", [None, "", " ", *NUMBERS, *DATES])
def test_garbage_says_nothing(value: str | None) -> None:
    """What is neither a plain number nor a date is not believed, though ``float`` would take some of it."""
    assert parse_retry_after(value, now_epoch=NOW) is None


@given(st.text(max_size=60) | st.floats().map(str) | st.integers().map(str))
@example("Mon, 01 Jan 0000 00:00:00 GMT")
@example("Thu, 20 Nov 2025 12:00:00 +9999")
@example("Thu, 20 Nov 2025 12:00:00 -99999999999")
def test_a_wish_is_finite_and_bounded(value: str) -> None:
    """Whatever stands there."""
    seconds = parse_retry_after(value, now_epoch=NOW)

    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= 3600)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250.5"}, 0.2505),
        ({"retry-after-ms": "99999999999"}, 3600.0),
        ({"retry-after": "2", "retry-after-ms": "-1"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "nan"}, 2.0),
        ({"retry-after-ms": ""}, None),
    ],
)
def test_milliseconds_are_finer(headers: dict[str, str], seconds: float | None) -> None:
    """``retry-after-ms`` is taken where it can be read."""
    assert retry_after_of(headers, now_epoch=NOW) == seconds
