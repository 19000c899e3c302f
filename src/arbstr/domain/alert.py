"""Something that an operator should hear of, and where it is sent."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

import msgspec

from arbstr.domain.secret import Secret

Cause = tuple[str, str, str]
"""Kind, subject and window: what is told once."""


class AlertKind(enum.Enum):
    BUDGET_THRESHOLD = "budget_threshold"
    """An account has spent the configured share of its budget."""
    BUDGET_EXHAUSTED = "budget_exhausted"
    """An account has nothing left in a window: a request was refused, or let pass with a warning."""
    BUDGET_OVERRUN = "budget_overrun"
    """A request cost more than had been reserved for it."""
    PROVIDER_KEY_OUT = "provider_key_out"
    """A provider refuses its key, or says that its credit is gone."""
    CIRCUIT_OPENED = "circuit_opened"
    """A provider failed too often in a row, and is left alone."""
    UNPRICED_MODEL = "unpriced_model"
    """A model was asked for whose price is not known."""


class Alert(msgspec.Struct, frozen=True):
    """One thing to tell. Nothing in it is secret."""

    kind: AlertKind
    subject: str
    """Whom it is about: the name of an account, a provider or a model."""
    window: str
    """What bounds its repetition: a budget's window, else :func:`hour_of` when it happened."""
    summary: str
    """One sentence for people."""
    at: float
    """When it happened, in seconds since the epoch."""
    details: dict[str, Any] = {}
    """More for machines: values that can be written as JSON."""

    @classmethod
    def this_hour(cls, kind: AlertKind, subject: str, summary: str, *, at: float, **details: Any) -> Alert:
        """One without a window of its own: told once an hour."""
        return cls(kind, subject, hour_of(at), summary, at, details)

    @property
    def cause(self) -> Cause:
        """Two alerts of one cause are the same news."""
        return self.kind.value, self.subject, self.window


class NoAlerts:
    """Tells nobody."""

    def raise_alert(self, alert: Alert) -> None:
        pass


def hour_of(at: float) -> str:
    """The hour of UTC in which ``at`` (seconds since the epoch) lies: ``hour 2026-11-21T12:00Z``."""
    return f"hour {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H}:00Z"


class AlertCounts(msgspec.Struct, frozen=True):
    """How sending fares, since the start; one alert to two targets counts twice."""

    sent: int
    failed: int
    """Given up: the target refused them, or could not be reached for too long."""
    dropped: int
    """Never tried to the end: too many waited already, or the process ended."""
    waiting: int
    """Still to be sent."""


class WebhookTarget(msgspec.Struct, frozen=True):
    """Somebody's HTTP server, to which alerts are posted as JSON."""

    name: str
    """How it is called in log lines: where it stands in the configuration, as ``alerts[0]``."""
    url: Secret
    """``https`` or ``http``. It may have a token in it."""
    secret: Secret | None = None
    """What they are signed with; None: they are not."""


class SlackTarget(msgspec.Struct, frozen=True):
    """An incoming webhook of Slack, or of who takes the same."""

    name: str
    url: Secret
    """Whoever knows it can post."""


class MailTls(enum.Enum):
    """When a conversation with a mail server is encrypted."""

    STARTTLS = "starttls"
    """Before anything is sent that matters; where the server does not offer it, nothing is."""
    IMPLICIT = "implicit"
    """From its first byte."""
    NONE = "none"


class EmailTarget(msgspec.Struct, frozen=True):
    """Mailboxes, by way of one SMTP server."""

    name: str
    host: str
    port: int
    sender: str
    """``ops@example.com`` or ``Name <ops@example.com>``."""
    recipients: tuple[str, ...]
    """Likewise, at least one."""
    username: str | None = None
    """With it there is a password."""
    password: Secret | None = None
    tls: MailTls = MailTls.STARTTLS


class AppriseTarget(msgspec.Struct, frozen=True):
    """Whatever apprise knows how to reach."""

    name: str
    url: Secret
    """In apprise's notation: ``tgram://…``, ``ntfys://…``."""


Target = WebhookTarget | SlackTarget | EmailTarget | AppriseTarget
