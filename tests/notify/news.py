"""Alerts, and targets that follow a script, for tests."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from arbstr.domain.alert import Alert, AlertKind
from arbstr.notify.notice import Notice, notice_of
from arbstr.notify.sender import Undelivered

NOON = datetime(2026, 11, 21, 12, 34, 56, 789_000, tzinfo=UTC).timestamp()

Outcome = Exception | asyncio.Event | None


def opened(subject: str = "alpha", *, at: float = NOON, error: str = "connection refused") -> Alert:
    """A circuit that opened."""
    summary = f"provider {subject} failed 3 times in a row and is left alone: {error}"
    return Alert.this_hour(AlertKind.CIRCUIT_OPENED, subject, summary, at=at, failures=3, error=error)


def notice(alert: Alert | None = None, *, id: str = "0b7cb3a6-8bd5-4b6e-9f50-0f8d4a3a5d43") -> Notice:
    return notice_of(alert if alert is not None else opened(), id=id, raised=0.0, redact=str)


def passing(reason: str = "it was answered with 503") -> Undelivered:
    return Undelivered(reason, passing=True)


def final(reason: str = "it was answered with 404") -> Undelivered:
    return Undelivered(reason, passing=False)


class ScriptedSender:
    """Plays one outcome for each try, then succeeds: a failure, an event that is waited for, or success."""

    def __init__(self, *outcomes: Outcome, name: str = "alerts[0]") -> None:
        self.name = name
        self.outcomes = list(outcomes)
        self.tried: list[Notice] = []
        self.sent: list[Notice] = []

    @property
    def subjects(self) -> list[str]:
        return [notice.alert.subject for notice in self.sent]

    async def send(self, notice: Notice) -> None:
        self.tried.append(notice)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, asyncio.Event):
            await outcome.wait()
        elif outcome is not None:
            raise outcome
        self.sent.append(notice)
