"""The body of a request: bounded, counted while it is held, and decoded."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from arbstr.config.units import exact
from arbstr.dialects.body import TOO_DEEP, kind
from arbstr.domain.errors import CallerLeft, InvalidRequest, Overloaded, RequestTooLarge
from arbstr.edge.context import BodyBudget
from arbstr.edge.respond import Receive

_decode = msgspec.json.Decoder(float_hook=exact).decode


class Held:
    """What one request holds of the memory that there is for bodies. A context manager that gives it back."""

    __slots__ = ("_bodies", "_size")

    def __init__(self, bodies: BodyBudget) -> None:
        self._bodies = bodies
        self._size = 0

    def take(self, size: int) -> None:
        """Count ``size`` bytes more. Raises Overloaded."""
        if not self._bodies.take(size):
            raise Overloaded("the bodies of requests in flight fill this gateway's memory", retry_after=1.0)
        self._size += size

    def give_back(self) -> None:
        self._bodies.give_back(self._size)
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()


async def read(receive: Receive, headers: Mapping[bytes, bytes], held: Held, *, most: int, limit: str = "") -> bytes:
    """The body, decoded: nothing, or JSON as far as ``headers`` say.

    Raises InvalidRequest, RequestTooLarge before more than ``most`` bytes of it are held, where ``limit`` names the
    setting that says so, Overloaded, and CallerLeft.
    """
    content_type = headers.get(b"content-type", b"application/json")
    length = int(headers.get(b"content-length", b"1"))  # without one there may be anything
    if length and content_type != b"application/json" and not _is_json(content_type):
        shown = content_type[:80].decode("latin-1")
        raise InvalidRequest(f"the body is {shown!r}, expected Content-Type: application/json")
    if length > most:
        raise _too_large(most, limit)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft("the caller left before the answer was complete")
        part: bytes = message.get("body", b"")
        held.take(len(part))
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_large(most, limit)
        more = message.get("more_body", False)
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity":
        return body
    decoded = _decoded(body, encoding, most, limit)
    held.take(max(0, len(decoded) - len(body)))
    return decoded


def json_object(body: bytes) -> dict[str, Any]:
    """The object that ``body`` is, its fractions as Decimal. Raises InvalidRequest."""
    try:
        value = _decode(body)
    except RecursionError:
        raise InvalidRequest(TOO_DEEP) from None
    except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
        if not body.strip():
            raise InvalidRequest("The body is empty; a JSON object is expected.") from None
        raise InvalidRequest(f"The body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"The body must be a JSON object, but is {kind(value)}.")
    return value


def _is_json(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type == b"application/json" or media_type.endswith(b"+json")


def _too_large(most: int, limit: str) -> RequestTooLarge:
    named = f" ({limit})" if limit else ""
    return RequestTooLarge(f"the body is larger than {most} bytes, which is this gateway's limit{named}")


def _decoded(body: bytes, encoding: bytes, most: int, limit: str) -> bytes:
    """A compressed body, inflated to at most ``most`` bytes."""
    if encoding not in (b"gzip", b"deflate"):
        shown = encoding[:40].decode("latin-1")
        raise InvalidRequest(f"Content-Encoding {shown!r} is not supported, expected gzip, deflate or identity")
    inflater = zlib.decompressobj(wbits=47 if encoding == b"gzip" else 15)
    try:
        decoded = inflater.decompress(body, most + 1)
    except zlib.error:
        raise InvalidRequest(f"the body is not valid {encoding.decode()}") from None
    if len(decoded) > most:
        raise _too_large(most, limit)
    if not inflater.eof or inflater.unused_data:
        raise InvalidRequest(f"the body is not valid {encoding.decode()}: it is cut short, or something follows it")
    return decoded
