"""Alerts: what makes two of them the same news."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from arbstr.domain.alert import Alert, AlertKind, NoAlerts, WebhookTarget, hour_of
from arbstr.domain.secret import Secret
from arbstr.ports import Alerts
from arbstr.testing import ListAlerts

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("at", "hour"),
    [
        (NOON - 0.001, "hour 2026-11-21T11:00Z"),
        (NOON, "hour 2026-11-21T12:00Z"),
        (NOON + 3599.999, "hour 2026-11-21T12:00Z"),
        (NOON + 3600, "hour 2026-11-21T13:00Z"),
        (0.0, "hour 1970-01-01T00:00Z"),
    ],
)
def test_an_hour_is_one_of_utc_from_its_first_moment_to_the_next(at: float, hour: str) -> None:
    """Whatever the machine's own time zone."""
    assert hour_of(at) == hour


def test_what_happens_again_within_the_hour_is_the_same_news() -> None:
    """Words and details may differ; another hour, another subject or another kind is other news."""
    first = Alert.this_hour(AlertKind.CIRCUIT_OPENED, "alpha", "alpha is left alone", at=NOON, failures=3)
    again = Alert.this_hour(AlertKind.CIRCUIT_OPENED, "alpha", "alpha is left alone again", at=NOON + 60)
    others = [
        Alert.this_hour(AlertKind.CIRCUIT_OPENED, "alpha", "alpha is left alone", at=NOON + 3600),
        Alert.this_hour(AlertKind.CIRCUIT_OPENED, "beta", "beta is left alone", at=NOON),
        Alert.this_hour(AlertKind.PROVIDER_KEY_OUT, "alpha", "alpha refuses its key", at=NOON),
    ]

    assert again.cause == first.cause == ("circuit_opened", "alpha", "hour 2026-11-21T12:00Z")
    assert len({first.cause, *(other.cause for other in others)}) == 4


def test_a_target_does_not_show_its_secrets() -> None:
    """Its URL is one of them: who knows a chat's webhook can write there."""
    target = WebhookTarget("alerts[0]", Secret("https://hooks.example/T0/canary"), Secret("canary-0123456789"))

    assert "hooks.example/T0/canary" not in repr(target)
    assert "canary-0123456789" not in repr(target)


def test_alerts_may_be_kept_or_left_untold() -> None:
    """Both fakes take whatever comes."""
    kept = ListAlerts()
    listeners: list[Alerts] = [kept, NoAlerts()]
    alert = Alert.this_hour(AlertKind.UNPRICED_MODEL, "gpt-9", "gpt-9 has no price", at=NOON)

    for listener in listeners:
        listener.raise_alert(alert)
        listener.raise_alert(alert)

    assert kept.raised == [alert, alert]
