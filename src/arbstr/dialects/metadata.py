"""What this gateway adds to a stream: its trailing metadata, and the cost in the usage chunk."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from arbstr.dialects import sse
from arbstr.domain.events import Frame

_Object = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(_Object).decode
_encode = msgspec.json.encode


def metadata_comment(fields: Mapping[str, object]) -> bytes:
    """``: arbstr {…}``: a comment, on which no client chokes."""
    return sse.comment(b"arbstr " + _encode(dict(fields)))


def metadata_event(fields: Mapping[str, object]) -> bytes:
    """``data: {…}``: for clients that read it."""
    return sse.event(_encode(dict(fields)))


def cost_fields(cost_sats: float | None, cost_usd: float | None) -> dict[str, float]:
    """What a usage object is given beside its tokens: what is known."""
    fields = {"cost_sats": cost_sats, "cost_usd": cost_usd}
    return {name: value for name, value in fields.items() if value is not None}


def with_cost(frame: Frame, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
    """The bytes of an event that reports usage, with ``cost_sats`` and ``cost_usd``, where given, in its usage object.

    The values of all other fields stay as their bytes. An event without a usage object is returned as it is.
    """
    try:
        fields = _decode(frame.data)
        usage = _decode(fields["usage"])
    except (KeyError, ValueError, RecursionError):
        return frame.raw
    usage |= {name: msgspec.Raw(_encode(value)) for name, value in cost_fields(cost_sats, cost_usd).items()}
    fields["usage"] = msgspec.Raw(_encode(usage))
    data = _encode(fields)
    if frame.data in frame.raw:
        return frame.raw.replace(frame.data, data, 1)
    return sse.event(data.replace(b"\n", b" "))  # it came in several lines, between the tokens of its JSON
