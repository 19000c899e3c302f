"""How long a provider asks us to wait."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST = 3600.0
"""Seconds. A longer wish is taken for this; whoever waits has a bound of its own."""

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{0,15})?|\.\d{1,15}", re.ASCII)


def parse_retry_after(value: str | None, *, now_epoch: float) -> float | None:
    """Seconds to wait, finite and in 0 … 3,600, from a ``Retry-After`` value; None where it says nothing usable.

    Seconds (fractions included, as some send them) and HTTP-dates are read; a date that is past means 0. ``float()``
    alone would take ``inf``, ``nan``, ``-5`` and ``1e3``.
    """
    value = (value or "").strip()
    if _NUMBER.fullmatch(value):
        return min(float(value), LONGEST)
    if re.fullmatch(r"\d{16,}", value, re.ASCII):
        return LONGEST
    if not 16 <= len(value) <= 64:
        return None
    try:
        date = parsedate_to_datetime(value)
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_epoch
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), LONGEST) if math.isfinite(seconds) else None


def retry_after_of(headers: Mapping[str, str], *, now_epoch: float) -> float | None:
    """The wish in an answer's headers, whose names are lower-case: ``retry-after-ms`` first, being the finer one."""
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return min(float(milliseconds) / 1000, LONGEST)
    return parse_retry_after(headers.get("retry-after"), now_epoch=now_epoch)
