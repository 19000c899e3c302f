"""Ranges in words, and instants as RFC 3339 has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.errors import InvalidRequest
from arbstr.domain.span import EARLIEST, LATEST, Span, instant, instant_text, span

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, Span(NOW - 7 * DAY, NOW)),
        ({"default": None}, Span(None, None)),
        ({"preset": "last_1h"}, Span(NOW - 3600, NOW)),
        ({"preset": "last_24h", "default": None}, Span(NOW - DAY, NOW)),
        ({"preset": "last_30d"}, Span(NOW - 30 * DAY, NOW)),
        ({"since": "2026-11-21T00:00:00Z"}, Span(NOW - DAY / 2, NOW)),
        ({"until": "2026-11-21T00:00:00Z"}, Span(NOW - 7.5 * DAY, NOW - DAY / 2)),
        ({"until": "2026-11-21T00:00:00Z", "default": None}, Span(None, NOW - DAY / 2)),
        ({"since": "2026-11-20T12:00:00Z", "until": "2026-11-21T12:00:00Z"}, Span(NOW - DAY, NOW)),
        ({"since": "2026-11-21T12:00:00Z", "until": "2026-11-21T12:00:00Z"}, Span(NOW, NOW)),
        ({"since": "2026-11-20T12:00:00Z", "until": "2099-12-31T23:59:59Z"}, Span(NOW - DAY, LATEST - 1)),
    ],
)
def test_words_become_a_span(words: dict[str, str], expected: Span) -> None:
    """A preset ends now, and so does what has no end; what has no beginning is a week long, or open."""
    assert span(**words, now=NOW) == expected


@pytest.mark.parametrize(
    ("words", "param", "said"),
    [
        ({"preset": "last_9y"}, "range", "expected one of last_1h, last_24h, last_7d, last_30d"),
        ({"preset": ""}, "range", "expected one of"),
        ({"preset": "x" * 10_000}, "range", "'" + "x" * 40 + "'"),
        ({"preset": "last_1h", "since": "2026-11-21T00:00:00Z"}, "range", "cannot be combined"),
        ({"preset": "last_1h", "until": "2026-11-21T00:00:00Z"}, "range", "cannot be combined"),
        ({"since": "2026-11-22T00:00:00Z"}, "since", "later than now"),
        ({"since": "2026-11-20T00:00:01Z", "until": "2026-11-20T00:00:00Z"}, "since", "later than until"),
        ({"since": "yesterday"}, "since", "expected RFC 3339"),
        ({"until": "2026-13-01T00:00:00Z"}, "until", "expected RFC 3339"),
        ({"since": "0001-01-01T00:00:00Z"}, "since", "between the years 2000 and 2100"),
        ({"until": "9999-12-31T23:59:59Z"}, "until", "between the years 2000 and 2100"),
    ],
)
def test_other_words_are_refused(words: dict[str, str], param: str, said: str) -> None:
    """What is wrong is named, with what was expected."""
    with pytest.raises(InvalidRequest) as refused:
        span(**words, now=NOW)

    assert refused.value.param == param
    assert said in refused.value.message
    assert len(refused.value.message) < 250


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T12:00:00Z",
        "2026-11-21t12:00:00z",
        "2026-11-21 12:00:00Z",
        "2026-11-21T12:00:00.000Z",
        "2026-11-21T12:00:00.000000000Z",
        "2026-11-21T13:00:00+01:00",
        "2026-11-21T13:00:00 01:00",
        "2026-11-21T06:30:00-05:30",
        "2026-11-21T12:00:00-00:00",
    ],
)
def test_forms_of_one_instant(text: str) -> None:
    """Letters in either case, fractions, offsets, and a plus that a URL made a space."""
    assert instant(text) == NOW


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "now",
            "0",
            "1795262400",
            "2026-11-21",
            "2026-11-21T12:00:00",
            "2026-11-21T12:00Z",
            "20261121T120000Z",
        ),
        *("2026-W47-6T12:00:00Z", "2026-11-21T12:00:00Z ", "2026-11-21T12:00:00Z\n", "2026-02-30T00:00:00Z"),
        *("2026-11-21T24:00:01Z", "2026-11-21T12:60:00Z", "2026-11-21T12:00:00+24:00", "2026-11-21T12:00:00.Z"),
        *("2026-11-21T12:00:00,5Z", "२०२६-११-२१T12:00:00Z", "0000-00-00T00:00:00Z", "2026-11-21T12:00:00Z' OR '1'='1"),
        *("1999-12-31T23:59:59Z", "2100-01-01T00:00:01Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    """Dates without a time, times without an offset, days that do not exist, and years that were not meant."""
    with pytest.raises(ValueError, match="expected RFC 3339"):
        instant(text)


@given(
    st.datetimes(
        datetime(2000, 1, 3),
        datetime(2099, 12, 28),
        timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    )
)
def test_an_instant_comes_back_to_the_microsecond(moment: datetime) -> None:
    """Whatever its offset: read, written in UTC and read again."""
    seconds = instant(moment.isoformat())

    assert datetime.fromisoformat(instant_text(seconds)) == moment
    assert instant(instant_text(seconds)) == pytest.approx(seconds, abs=1e-6)


def test_both_ends_of_what_can_be_meant_are_instants() -> None:
    """The years 2000 to 2100, to the second."""
    assert instant("2000-01-01T00:00:00Z") == EARLIEST
    assert instant("2100-01-01T00:00:00Z") == LATEST
    assert instant_text(LATEST) == "2100-01-01T00:00:00Z"
