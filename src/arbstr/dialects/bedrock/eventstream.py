"""AWS event streams, cut out of bytes as they come (media type ``application/vnd.amazon.eventstream``).

A message is a prelude (its length and that of its headers, as unsigned 32-bit big-endian integers, and their CRC-32),
the headers, the payload, and a CRC-32 of everything before it. From the event stream encoding of the AWS documentation.
"""

from __future__ import annotations

import functools
import struct
import zlib

import msgspec

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message, unless the splitter is told otherwise. AWS's own limit is 24 MiB of payload."""
MAX_HEADERS = 128 * 1024

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_OVERHEAD = _PRELUDE.size + _CRC.size
_LONGEST_CACHED = 512

Value = bool | int | bytes | str


class BadEventStream(ValueError):
    """The bytes are no event stream, or were damaged. Nothing that follows can be read."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message. ``raw`` is exactly what was received."""

    headers: dict[str, Value]
    """By name. Timestamps are milliseconds since the epoch. Not to be changed: equal headers share one dict."""
    payload: bytes
    raw: bytes

    def text(self, name: str) -> str:
        """The value of the header ``name`` if it is a string, else an empty one."""
        value = self.headers.get(name)
        return value if type(value) is str else ""


class MessageSplitter:
    """Feed it bytes in any pieces; it returns messages as soon as they are complete.

    The messages do not depend on how the bytes are cut. After an error the splitter raises it again.
    """

    def __init__(self, *, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._needed = _PRELUDE.size
        """The buffer holds no whole message, nor an unread prelude, before it has so many bytes."""
        self._error: BadEventStream | None = None

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes. Raises :class:`BadEventStream`, once all before it were returned."""
        if self._error is not None:
            raise self._error
        self._buffer += data
        if len(self._buffer) < self._needed:
            return []
        messages: list[Message] = []
        try:
            self._cut(messages)
        except BadEventStream as error:
            self._error = error
            if not messages:
                raise
        return messages

    def rest(self) -> bytes:
        """What is left of a message that was not completed: empty at a clean end. Raises :class:`BadEventStream`."""
        if self._error is not None:
            raise self._error
        return bytes(self._buffer)

    def _cut(self, messages: list[Message]) -> None:
        buffer = self._buffer
        start, size = 0, len(buffer)
        try:
            while True:
                self._needed = _PRELUDE.size
                if size - start < _PRELUDE.size:
                    return
                total, headers, crc = _PRELUDE.unpack_from(buffer, start)
                if zlib.crc32(buffer[start : start + 8]) != crc:
                    raise BadEventStream("the checksum of a prelude is wrong")
                if total > self._limit or headers > MAX_HEADERS:
                    raise BadEventStream(f"a message has {total} bytes, {headers} of them headers")
                if total < _OVERHEAD + headers:
                    raise BadEventStream("the lengths in a prelude contradict each other")
                self._needed = total
                if size - start < total:
                    return
                messages.append(_message(bytes(memoryview(buffer)[start : start + total]), headers))
                start += total
        finally:
            if start:
                del buffer[:start]


def _message(raw: bytes, headers: int) -> Message:
    if zlib.crc32(memoryview(raw)[:-4]) != _CRC.unpack_from(raw, len(raw) - 4)[0]:
        raise BadEventStream("the checksum of a message is wrong")
    end = _PRELUDE.size + headers
    block = raw[_PRELUDE.size : end]
    return Message(_read_cached(block) if headers <= _LONGEST_CACHED else _read(block), raw[end:-4], raw)


def _read(block: bytes) -> dict[str, Value]:
    """The headers of a message. Raises :class:`BadEventStream`."""
    found: dict[str, Value] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name, kind = block[at + 1 : name_end].decode(), block[name_end]
            value, at = _value(block, name_end + 1, kind)
            found[name] = value
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise BadEventStream("the headers of a message cannot be read") from error
    if at != len(block):
        raise BadEventStream("the headers of a message are cut short")
    return found


_read_cached = functools.lru_cache(maxsize=256)(_read)
"""The few kinds of messages that there are have the same headers each time."""

_BYTES, _STRING, _UUID = 6, 7, 9
_INTEGERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_INTEGERS[8] = _INTEGERS[5]  # a timestamp


def _value(block: bytes, at: int, kind: int) -> tuple[Value, int]:
    """The value of type ``kind`` that begins at ``at``, and where it ends."""
    if kind in (0, 1):
        return kind == 0, at
    if kind in (_BYTES, _STRING):
        at, end = at + 2, at + 2 + int.from_bytes(block[at : at + 2], "big")
        value = block[at:end]
        return (value if kind == _BYTES else value.decode()), end
    if kind == _UUID:
        return block[at : at + 16], at + 16
    if kind not in _INTEGERS:
        raise BadEventStream(f"a header has a value of the unknown type {kind}")
    number = _INTEGERS[kind]
    return number.unpack_from(block, at)[0], at + number.size
