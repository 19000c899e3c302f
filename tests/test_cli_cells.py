"""Values as they stand in tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.cli import cells


@given(st.text())
def test_any_text_is_one_printable_line(text: str) -> None:
    """Nothing in it moves the cursor, colours what follows or breaks the row; and it is bounded."""
    shown = cells.text(text)

    assert shown
    assert all(sign.isprintable() for sign in shown)
    assert len(shown) <= 120


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        ("", "–"),
        (502, "502"),
        ("gpt-4o", "gpt-4o"),
        ("ä 日本", "ä 日本"),
        ("a\x1b[2Jb\n", r"a\x1b[2Jb\n"),
        ("\u202egnp", r"\u202egnp"),
        ("x" * 121, "x" * 119 + "…"),
    ],
)
def test_texts(value: object, shown: str) -> None:
    """As they are, where that does no harm."""
    assert cells.text(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0, "0"), (12.5, "12.5"), (0.000001, "0.000001"), (1234567.25, "1,234,567.25"), (-3.0, "-3")],
)
def test_amounts(value: float | None, shown: str) -> None:
    """To the millionth, and no digit that says nothing."""
    assert cells.amount(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (float("inf"), "–"), (0.4, "0 ms"), (999.0, "999 ms"), (2310.0, "2.31 s")]
)
def test_durations(value: float | None, shown: str) -> None:
    """In what one reads them in."""
    assert cells.milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2026-11-21T13:30:05.999999Z", "2026-11-21 13:30:05Z"),
        ("2026-11-21T13:30:05+01:00", "2026-11-21 12:30:05Z"),
        ("no\ttime", r"no\ttime"),
        (None, "–"),
    ],
)
def test_times(value: str | None, shown: str) -> None:
    """To the second, in UTC; whatever else stands there is a text."""
    assert cells.moment(value) == shown


def test_counts_and_shares() -> None:
    """Thousands set off; of nothing there is no share."""
    assert (cells.count(None), cells.count(1234567)) == ("–", "1,234,567")
    assert (cells.share(1, 3), cells.share(0, 0)) == ("33.3%", "–")
