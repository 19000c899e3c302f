"""Stretches of time that people ask about: the last week, or from one RFC 3339 instant to another."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from arbstr.domain.errors import InvalidRequest

PRESETS = {"last_1h": 3600, "last_24h": 86_400, "last_7d": 7 * 86_400, "last_30d": 30 * 86_400}
"""What ``range`` can be, in seconds."""
DEFAULT = "last_7d"

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
"""What lies beyond these was not meant. Seconds since the epoch."""

_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:[Zz]|([+\- ])(\d\d:\d\d))", re.ASCII
)  # a space before the offset is a plus that came through a URL as it was
_EXPECTED = "expected RFC 3339 with an offset, such as 2026-11-21T00:00:00Z, between the years 2000 and 2100"


class Span(msgspec.Struct, frozen=True):
    """From ``since``, included, to ``until``, excluded: seconds since the epoch, None where it is open."""

    since: float | None
    until: float | None


def span(
    preset: str | None = None,
    since: str | None = None,
    until: str | None = None,
    *,
    now: float,
    default: str | None = DEFAULT,
) -> Span:
    """What was asked for in words: one of PRESETS, or instants.

    Without ``until`` it is until now. Without ``since`` it is as long as ``default``, and begins with the log where
    there is no default; without any word and default it is open at both ends. Raises InvalidRequest, whose param is
    ``range``, ``since`` or ``until``.
    """
    if preset is not None:
        if since is not None or until is not None:
            raise InvalidRequest("range cannot be combined with since and until", param="range")
        if preset not in PRESETS:
            raise InvalidRequest(f"range is {preset[:40]!r}, expected one of {', '.join(PRESETS)}", param="range")
        return Span(now - PRESETS[preset], now)
    begins, ends = _given(since, "since"), _given(until, "until")
    if begins is None and ends is None and default is None:
        return Span(None, None)
    if ends is None:
        ends = now
    if begins is None and default is not None:
        begins = ends - PRESETS[default]
    if begins is not None and begins > ends:
        later = "until" if until is not None else "now"
        raise InvalidRequest(f"since is later than {later}, expected an instant before it", param="since")
    return Span(begins, ends)


def instant(text: str) -> float:
    """Seconds since the epoch. Raises ValueError that says what was expected."""
    match = _INSTANT.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        day, clock, sign, offset = match.groups()
        zone = "+00:00" if offset is None else ("-" if sign == "-" else "+") + offset
        seconds = datetime.fromisoformat(f"{day}T{clock}{zone}").timestamp()
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no such instant, {_EXPECTED}") from None
    if not EARLIEST <= seconds <= LATEST:
        raise ValueError(f"{text[:40]!r} is out of range, {_EXPECTED}")
    return seconds


def instant_text(seconds: float) -> str:
    """RFC 3339 in UTC, to the microsecond where it is no whole second."""
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    fraction = f".{microseconds:06d}" if microseconds else ""
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def _given(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        return instant(text)
    except ValueError as error:
        raise InvalidRequest(f"{name}: {error}", param=name) from None
