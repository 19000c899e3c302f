"""Values as they stand in a table for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from arbstr.cli.table import NOTHING

_LONGEST = 120
"""Characters of a text in one cell."""


def text(value: object) -> str:
    """A text that somebody else has chosen, as one printable line: it must neither move the cursor nor colour what
    follows. What cannot be printed is shown as ``\\x1b``; what is too long is cut."""
    if value is None or value == "":
        return NOTHING
    found = "".join(each if each.isprintable() else _escaped(each) for each in str(value)[: _LONGEST + 1])
    return found if len(found) <= _LONGEST else f"{found[: _LONGEST - 1]}…"


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def amount(value: float | None) -> str:
    """An amount of money with what digits matter: six after the point at most, thousands set off."""
    if value is None:
        return NOTHING
    digits = f"{value:,.6f}"
    return digits.rstrip("0").rstrip(".")


def count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def milliseconds(value: float | None) -> str:
    """A duration: ``85 ms``, ``2.31 s``."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def share(part: int, whole: int) -> str:
    """A part in percent, or nothing of nothing."""
    return NOTHING if not whole else f"{100 * part / whole:.1f}%"


def moment(value: str | None) -> str:
    """A time of the log (RFC 3339 in UTC) to the second: ``2026-11-21 13:30:05Z``."""
    try:
        return f"{datetime.fromisoformat(value or '').astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    except ValueError:
        return text(value)
