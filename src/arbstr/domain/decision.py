"""Why a request went where it went: what was known when that was decided."""

from __future__ import annotations

import enum

import msgspec

from arbstr.domain.request import Needs
from arbstr.domain.routing import Plan


class Matched(enum.Enum):
    """How a policy came to hold for a request."""

    HEADER = "header"
    KEYWORD = "keyword"
    KEY = "key"
    """The key that it was made with is held to it."""


class Decision(msgspec.Struct, frozen=True):
    """The plan, and what of the request it was made for: all that is needed to decide it again."""

    plan: Plan
    matched: Matched | None
    """None where no policy holds."""
    input_bytes: int
    max_tokens: int | None
    n: int
    needs: Needs
    """As far as they were looked at: where the capabilities of some model are known."""
