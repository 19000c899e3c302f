"""How a caller's limits stand, as headers: ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}``.

Names and forms are OpenAI's, so that its clients read them.
"""

from __future__ import annotations

import math
from functools import lru_cache

from arbstr.policy.limits import Gauge, View

Header = tuple[bytes, bytes]


def rate_limit_headers(view: View) -> list[Header]:
    """Three headers for each limit that the caller has, and none for one that it has not."""
    headers: list[Header] = []
    if view.requests is not None:
        headers += _gauge(view.requests, REQUESTS)
    if view.tokens is not None:
        headers += _gauge(view.tokens, TOKENS)
    return headers


def _gauge(gauge: Gauge, names: tuple[bytes, bytes, bytes]) -> tuple[Header, Header, Header]:
    limit, remaining, reset = names
    return (limit, _number(gauge.limit)), (remaining, b"%d" % gauge.remaining), (reset, duration(gauge.reset))


REQUESTS = (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests")
TOKENS = (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens")


def duration(seconds: float) -> bytes:
    """A duration as OpenAI writes it: ``20ms``, ``1s``, ``6m0s``, ``1h0m5s``.

    Rounded up, below a second to milliseconds and above it to seconds: whoever waits as long has waited long enough.
    """
    return _seconds(math.ceil(seconds)) if seconds > 1 else _milliseconds(math.ceil(seconds * 1000))


@lru_cache(maxsize=1024)
def _number(whole: int) -> bytes:
    return b"%d" % whole


@lru_cache(maxsize=4096)
def _seconds(whole: int) -> bytes:
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, seconds)
    return b"%dm%ds" % (minutes, seconds) if minutes else b"%ds" % seconds


@lru_cache(maxsize=1024)
def _milliseconds(whole: int) -> bytes:
    if whole == 0:
        return b"0s"
    return b"1s" if whole == 1000 else b"%dms" % whole
