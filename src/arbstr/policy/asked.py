"""What a request asked for, as it was kept with its decision: the part of :func:`arbstr.policy.decision.compact` by
which the same request can be decided again."""

from __future__ import annotations

import msgspec

from arbstr.domain.decision import Matched
from arbstr.domain.request import Needs


class Asked(msgspec.Struct, frozen=True):
    """As in :class:`~arbstr.domain.decision.Decision`."""

    input_bytes: int
    max_tokens: int | None = None
    n: int = 1
    needs: Needs = Needs()
    matched: Matched | None = None


class _Kept(msgspec.Struct, frozen=True):
    m: Matched | None
    q: tuple[int, int | None, int, list[str]]


_decode = msgspec.json.Decoder(_Kept).decode

_NO_NEEDS = Needs()


def asked(record: str | bytes | None) -> Asked | None:
    """What ``record`` keeps of the request; None for no record, or one that cannot be read."""
    if record is None:
        return None
    try:
        kept = _decode(record)
        input_bytes, max_tokens, n, names = kept.q
        needs = Needs(**dict.fromkeys(names, True)) if names else _NO_NEEDS
    except (ValueError, TypeError):  # a name that is no need, too
        return None
    return Asked(input_bytes, max_tokens, n, needs, kept.m)
