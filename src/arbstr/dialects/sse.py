"""Server-sent events, cut out of bytes as they come.

The rules are those of the WHATWG HTML standard, section 9.2.6, with two differences that relaying asks for: every
byte is handed on (``raw``), and a last event that lacks its blank line is still an event. Bytes are never decoded,
so that neither U+2028 nor broken UTF-8 can end a line.
"""

from __future__ import annotations

import msgspec

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event, its line ends included, unless the splitter is told otherwise."""

_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event, or a line without an end, is larger than the limit. Nothing that follows can be read."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event, or the comments and blank lines between two."""

    raw: bytes
    """Exactly the bytes that were received, line ends included."""
    data: bytes | None = None
    """The values of the ``data`` fields, joined by LF; None where there is no such field."""
    name: bytes = b""
    """The value of the last ``event`` field."""


class EventSplitter:
    """Feed it bytes in any pieces; it returns events as soon as they are complete.

    An event ends with its blank line. A CR ends a line at once, without waiting for the LF that may follow; when that
    LF comes later it is handed on as an event of its own, without data. Comment lines are handed on at the end of the
    piece that completes them, blank line or not, since they are signs of life. So the data and the names do not depend
    on how the bytes are cut, and all ``raw`` joined are the bytes that were fed.

    The time is linear in the bytes fed, whatever the pieces: nothing is searched twice.
    """

    def __init__(self, *, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._line = 0
        """Where the unfinished line begins in the buffer; what is before it belongs to the same event."""
        self._scanned = 0
        """The unfinished line has no line end before this index."""
        self._fields = False
        """The unfinished event has a line that is not a comment."""
        self._after_cr = False
        """The last byte fed was a CR: a LF that comes next belongs to it."""
        self._begun = False
        self._overflow = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes. Raises :class:`EventTooLarge`, once all before it were returned."""
        # Nearly all pieces are whole events of one LF-terminated data line, named or not: these need no buffer.
        if not self._buffer and not self._after_cr and data[-2:] == b"\n\n" and b"\r" not in data:
            if data.find(b"\n") == len(data) - 2 and data[:6] == b"data: " and len(data) <= self._limit:
                self._begun = True
                return [Event(data, data[6:-2])]
            events: list[Event] = []
            for part in data[:-2].split(b"\n\n"):
                line = part.find(b"\n") + 1 if part[:7] == b"event: " else 0
                if part[line : line + 6] != b"data: " or part.find(b"\n", line) >= 0 or len(part) + 2 > self._limit:
                    break
                events.append(Event(part + b"\n\n", part[line + 6 :], part[7 : line - 1] if line else b""))
            else:
                self._begun = True
                return events
        return self._feed(data)

    def finish(self) -> list[Event]:
        """The last event, if the stream ended without its blank line; ``raw`` is given the line ends that it lacks.

        Raises :class:`EventTooLarge`.
        """
        if self._overflow:
            raise EventTooLarge(f"an event has more than {self._limit} bytes")
        if not self._buffer:
            return []
        block = bytes(self._buffer)
        self._buffer.clear()
        self._line = self._scanned = 0
        return [self._event(block, block + (b"\n" if block.endswith(b"\n") else b"\n\n"))]

    def _feed(self, data: bytes) -> list[Event]:
        if self._overflow:
            raise EventTooLarge(f"an event has more than {self._limit} bytes")
        events: list[Event] = []
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            if self._buffer:
                self._buffer += b"\n"
                self._line += 1
                self._scanned += 1
            else:
                events.append(Event(b"\n"))
            self._after_cr = False
        if data:
            self._after_cr = data[-1:] == b"\r"
            self._buffer += data
            self._cut(events)
        if len(self._buffer) > self._limit:
            self._overflow = True
        if self._overflow and not events:
            raise EventTooLarge(f"an event has more than {self._limit} bytes")
        return events

    def _cut(self, events: list[Event]) -> None:
        """Move the complete events from the buffer to ``events``."""
        buffer = self._buffer
        start, line, scan, size = 0, self._line, self._scanned, len(buffer)
        lf = cr = -1  # the next of each at or after `scan`; `size` stands for none
        while True:
            if lf < scan:
                lf = buffer.find(b"\n", scan)
                lf = size if lf < 0 else lf
            if cr < scan:
                cr = buffer.find(b"\r", scan)
                cr = size if cr < 0 else cr
            end = min(lf, cr)
            if end == size:
                break
            scan = end + 2 if lf == end + 1 < size else end + 1
            if end > line:
                self._fields = self._fields or buffer[line] != 58  # ":", a comment
                line = scan
                continue
            block = bytes(memoryview(buffer)[start:scan])
            if len(block) > self._limit:
                self._overflow = True
                break
            events.append(self._event(block, block))
            start = line = scan
            self._fields = False
        if line > start and not self._fields:
            block = bytes(memoryview(buffer)[start:line])
            events.append(self._event(block, block))
            start = line
        self._line, self._scanned = line - start, size - start
        del buffer[:start]

    def _event(self, block: bytes, raw: bytes) -> Event:
        if not self._begun:
            self._begun = True
            block = block.removeprefix(_BOM)
        values: list[bytes] = []
        name = b""
        for line in block.splitlines():  # of bytes: at LF, CR and CRLF only
            field, _, value = line.partition(b":")
            if field == b"data":
                values.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ")
        return Event(raw, b"\n".join(values) if values else None, name)


def event(data: bytes, *, name: bytes = b"") -> bytes:
    """``data``, which has no line ends, as one event."""
    return b"event: " + name + b"\ndata: " + data + b"\n\n" if name else b"data: " + data + b"\n\n"


def comment(text: bytes) -> bytes:
    """``text``, which has no line ends, as one comment."""
    return b": " + text + b"\n\n"


DONE = event(b"[DONE]")
"""The end of a stream in the OpenAI dialect."""
