"""What of an alert leaves the process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.alert import Alert, AlertKind
from arbstr.notify.notice import LONGEST, notice_of
from tests.notify.news import NOON, notice, opened


def test_the_body_says_all_of_it() -> None:
    """In JSON, with the instant as people and machines read it."""
    body = json.loads(notice(opened()).body)

    assert body == {
        "id": "0b7cb3a6-8bd5-4b6e-9f50-0f8d4a3a5d43",
        "event": "circuit_opened",
        "subject": "alpha",
        "window": "hour 2026-11-21T12:00Z",
        "summary": "provider alpha failed 3 times in a row and is left alone: connection refused",
        "at": "2026-11-21T12:34:56.789Z",
        "details": {"failures": 3, "error": "connection refused"},
    }


def test_people_read_a_line_and_then_the_rest() -> None:
    """Details that are not known are not mentioned."""
    alert = Alert(
        AlertKind.BUDGET_EXHAUSTED,
        "gateway",
        "day 2026-11-21T00:00Z",
        "the gateway's budget for the day is used up: 5 usd of 5 usd spent",
        NOON,
        {"key_id": None, "period": "day", "spent": 5.0},
    )

    assert notice(alert).title == "arbstr: budget exhausted (gateway)"
    assert notice(alert).text == (
        "the gateway's budget for the day is used up: 5 usd of 5 usd spent\n"
        "\n"
        "subject: gateway\n"
        "window: day 2026-11-21T00:00Z\n"
        "at: 2026-11-21T12:34:56.789Z\n"
        "period: day\n"
        "spent: 5.0\n"
    )


def test_secrets_are_masked_wherever_they_stand() -> None:
    """In the subject, the summary, and in details at any depth."""
    alert = Alert(
        AlertKind.CIRCUIT_OPENED,
        "canary",
        "hour canary",
        "it said canary",
        NOON,
        {"error": "canary!", "more": {"list": ["canary", 1, None]}, "tuple": ("canary",)},
    )

    masked = notice_of(alert, id="1", raised=0.0, redact=lambda text: text.replace("canary", "***"))

    assert b"canary" not in masked.body
    assert "canary" not in masked.title + masked.text
    assert json.loads(masked.body)["details"] == {"error": "***!", "more": {"list": ["***", 1, None]}, "tuple": ["***"]}


@given(st.text())
def test_every_text_becomes_one_printable_line(text: str) -> None:
    """Whatever a provider says: no line ends, no escape sequences, no lone surrogates."""
    made = notice(opened(text, error=text))

    body: dict[str, Any] = json.loads(made.body)
    for line in (body["subject"], body["summary"], body["details"]["error"], made.title):
        assert line.isprintable()
        assert len(line) <= LONGEST + len("arbstr: circuit opened ()")


@pytest.mark.parametrize(("length", "kept"), [(LONGEST, "x" * LONGEST), (LONGEST + 1, "x" * (LONGEST - 1) + "…")])
def test_a_long_text_is_cut(length: int, kept: str) -> None:
    """And says so by its last character."""
    alert = Alert(AlertKind.CIRCUIT_OPENED, "alpha", "hour", "x" * length, NOON)

    assert notice(alert).alert.summary == kept
