"""An alert as it is sent: cleaned of what must not travel, with an id, and in the words of those who read it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from arbstr.domain.alert import Alert

LONGEST = 1000
"""Characters of a text in an alert; what is longer ends in ``…``."""

Redact = Callable[[str], str]


class Notice(msgspec.Struct, frozen=True):
    """One alert on its way. All targets, and all tries, are given the same one."""

    id: str
    alert: Alert
    body: bytes
    """What a webhook is posted: JSON."""
    raised: float
    """When, on the monotonic clock."""

    @property
    def title(self) -> str:
        """``arbstr: circuit opened (alpha)``: one line."""
        return f"arbstr: {self.alert.kind.value.replace('_', ' ')} ({self.alert.subject})"

    @property
    def text(self) -> str:
        """The rest, for people, in lines without markup."""
        alert = self.alert
        rows = {"subject": alert.subject, "window": alert.window, "at": _instant(alert.at)}
        rows |= {name: value for name, value in alert.details.items() if value is not None}
        return "\n".join([alert.summary, "", *(f"{name}: {value}" for name, value in rows.items()), ""])


def notice_of(alert: Alert, *, id: str, raised: float, redact: Redact) -> Notice:
    """Raises whatever encoding it raises, where its details are not what they should be."""
    clean = Alert(
        alert.kind,
        subject=_line(alert.subject, redact),
        window=_line(alert.window, redact),
        summary=_line(alert.summary, redact),
        at=alert.at,
        details={name: _value(value, redact) for name, value in alert.details.items()},
    )
    fields = {
        "id": id,
        "event": clean.kind.value,
        "subject": clean.subject,
        "window": clean.window,
        "summary": clean.summary,
        "at": _instant(clean.at),
        "details": clean.details,
    }
    return Notice(id, clean, msgspec.json.encode(fields), raised)


def _value(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return _line(value, redact)
    if isinstance(value, dict):
        return {name: _value(inner, redact) for name, inner in value.items()}
    return [_value(inner, redact) for inner in value] if isinstance(value, list | tuple) else value


def _line(text: str, redact: Redact) -> str:
    """On one line, without characters that a terminal or a mail header would act on, and not too long."""
    line = " ".join("".join(char if char.isprintable() else " " for char in redact(text)).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
