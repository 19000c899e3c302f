from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arbstr.dialects.sse import DONE, Event, EventSplitter, EventTooLarge, comment, event


def split(*pieces: bytes, limit: int = 1024) -> list[Event]:
    splitter = EventSplitter(limit=limit)
    return [found for piece in pieces for found in splitter.feed(piece)] + splitter.finish()


def byte_by_byte(stream: bytes) -> list[Event]:
    return split(*(stream[index : index + 1] for index in range(len(stream))))


def told(events: list[Event]) -> list[tuple[bytes, bytes | None]]:
    """What a client is told: the events with data, or a name."""
    return [(found.name, found.data) for found in events if found.data is not None or found.name]


def by_the_book(stream: bytes) -> list[tuple[bytes, bytes | None]]:
    """The whole stream at once, as the standard says, with an unfinished last event let through."""
    found: list[tuple[bytes, bytes | None]] = []
    name, values = b"", list[bytes]()
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in [*lines, b""]:
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not line:
            if values or name:
                found.append((name, b"\n".join(values) if values else None))
            name, values = b"", []
        elif field == b"data":
            values.append(value)
        elif field == b"event":
            name = value
    return found


FIELDS = [b"data", b"data:", b"data: ", b"event: e", b"id: 1", b":", b": c", b"x", b'{"a":1}', b" "]
LINE_ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"]
NO_LINE_ENDS = [b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"\x85", b"\x0b", b"\xff", b"\x00"]
STREAMS = st.lists(st.sampled_from([*FIELDS, *LINE_ENDS, *NO_LINE_ENDS]), max_size=24).map(b"".join)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
def test_every_kind_of_line_end_ends_lines_and_events(end: bytes) -> None:
    """LF, CR and CRLF are the same, cut anywhere."""
    stream = b"data: 1" + end + end + b"event: e" + end + b"data: 2" + end + end

    assert told(split(stream)) == told(byte_by_byte(stream)) == [(b"", b"1"), (b"e", b"2")]


def test_line_ends_may_be_mixed() -> None:
    """A stream that passed through several hands is still read."""
    stream = b"data: 1\r\n\ndata: 2\r\rdata: 3\n\r\ndata: 4\n\r"

    assert told(split(stream)) == [(b"", b"1"), (b"", b"2"), (b"", b"3"), (b"", b"4")]


def test_a_trailing_cr_ends_the_event_at_once() -> None:
    """Nobody waits for a LF that may never come; when it does, it is handed on and says nothing."""
    splitter = EventSplitter()

    first = splitter.feed(b"data: 1\r\n\r")
    second = splitter.feed(b"\ndata: 2\r\n\r")
    third = splitter.feed(b"\n")

    assert first == [Event(b"data: 1\r\n\r", b"1")]
    assert second == [Event(b"\n"), Event(b"data: 2\r\n\r", b"2")]
    assert third == [Event(b"\n")]
    assert splitter.finish() == []


def test_a_crlf_that_is_cut_ends_one_line_and_not_two() -> None:
    """The LF of a CRLF is no blank line, even when it comes alone."""
    assert told(split(b"data: 1\r", b"\n", b"data: 2\r", b"\ndata: 3\r\n\r\n")) == [(b"", b"1\n2\n3")]


@pytest.mark.parametrize(
    ("block", "data"),
    [
        (b"data:x", b"x"),
        (b"data:  x", b" x"),
        (b"data", b""),
        (b"data:", b""),
        (b"data\ndata", b"\n"),
        (b"data: a\ndata: b", b"a\nb"),
        (b"data: a\nid: 7\nretry: 10\n: c\ndata: b", b"a\nb"),
        (b"data: a\ndatax: b\nData: c", b"a"),
        (b"data: a:b: c", b"a:b: c"),
        (b"\xef\xbb\xbfdata: x", b"x"),
        (b"id: 1", None),
        (b": data: x", None),
        (b" data: x", None),
    ],
)
def test_fields_are_read_by_the_standard(block: bytes, data: bytes | None) -> None:
    """One space after the colon is dropped, several data lines are joined, other fields are none of ours."""
    stream = block + b"\n\n"

    assert [found.data for found in split(stream)] == [data]
    assert [found.data for found in byte_by_byte(stream) if found.raw != b"\n"] == [data]


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1d", "\x1e", "\0"])
def test_only_cr_and_lf_end_a_line(char: str) -> None:
    """What text calls a line end is none in a stream of events."""
    data = f"a{char}b".encode()

    assert split(event(data)) == [Event(event(data), data)]
    assert told(byte_by_byte(event(data))) == [(b"", data)]


def test_a_bom_counts_only_at_the_very_beginning() -> None:
    """A later one is part of a field's name, as the standard has it."""
    bom = b"\xef\xbb\xbf"

    assert told(byte_by_byte(bom + b"data: 1\n\n" + bom + b"data: 2\n\n")) == [(b"", b"1")]


def test_the_last_event_needs_no_blank_line() -> None:
    """It is given the line ends that it lacks, so that what is sent after it does not run into it."""
    assert split(b"data: 1\n\ndata: 2")[-1] == Event(b"data: 2\n\n", b"2")
    assert split(b"data: 2\n")[-1] == Event(b"data: 2\n\n", b"2")
    assert split(b"data: 2\r")[-1] == Event(b"data: 2\r\n\n", b"2")
    assert split(b"") == []


def test_comments_are_handed_on_without_a_blank_line() -> None:
    """A keep-alive is a sign of life, and is not kept back until something happens."""
    splitter = EventSplitter()

    assert splitter.feed(b": ping\n") == [Event(b": ping\n")]
    assert splitter.feed(b": pi") == []
    assert splitter.feed(b"ng\ndata: 1\n") == []
    assert splitter.feed(b": ping\n\n") == [Event(b": ping\ndata: 1\n: ping\n\n", b"1")]


def test_several_events_in_one_piece_are_told_apart() -> None:
    """Providers send as many as are ready."""
    assert split(b"data: 1\n\ndata: 2\n\n: c\n\ndata: 3\n\nda", b"ta: 4\n\n") == [
        Event(b"data: 1\n\n", b"1"),
        Event(b"data: 2\n\n", b"2"),
        Event(b": c\n\n"),
        Event(b"data: 3\n\n", b"3"),
        Event(b"data: 4\n\n", b"4"),
    ]


def test_named_events_are_told_apart_in_one_piece_as_in_many() -> None:
    """The name is the event's own, whether it came alone, with others, or byte by byte."""
    stream = b"event: a\ndata: 1\n\ndata: 2\n\nevent: b\ndata: {}\n\nevent:  c \ndata:  3\n\n"

    pieces = split(*(part + b"\n\n" for part in stream[:-2].split(b"\n\n")))

    assert told(split(stream)) == told(pieces) == told(byte_by_byte(stream)) == by_the_book(stream)
    assert [found.name for found in split(stream)] == [b"a", b"", b"b", b" c "]


def test_an_event_of_many_megabytes_comes_in_small_pieces() -> None:
    """A base64 image is one line; were each piece to search it all again, this test would take minutes."""
    data = b"x" * (15 * 1024 * 1024)
    stream = event(data)

    found = split(*(stream[at : at + 1024] for at in range(0, len(stream), 1024)), limit=16 * 1024 * 1024)

    assert [(one.raw, one.data) for one in found] == [(stream, data)]


def test_many_short_lines_of_one_kind_take_linear_time() -> None:
    """Looking for the line end that never comes is done once for each piece, not once for each line."""
    stream = b"data: x\r\r" * 100_000

    assert len(split(stream)) == 100_000


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_a_line_without_an_end_is_too_large(size: int) -> None:
    """Memory is bounded however the bytes come; what was complete before is still handed on."""
    splitter = EventSplitter(limit=100)
    stream = event(b"1") + b"data: " + b"x" * 400
    found: list[Event] = []

    def feed() -> None:
        for at in range(0, len(stream) + size, size):
            found.extend(splitter.feed(stream[at : at + size]))
        splitter.finish()

    with pytest.raises(EventTooLarge):
        feed()
    assert [one.data for one in found] == [b"1"]


@pytest.mark.parametrize("size", [7, 4096])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_complete_event_may_be_too_large_too(size: int, end: bytes) -> None:
    """The limit is the event's size, whether or not its end has come."""
    largest, larger = b"data: " + b"x" * 90 + end, b"data: " + b"x" * 95 + end

    assert len(split(*(largest[at : at + size] for at in range(0, 110, size)), limit=len(largest))) == 1
    with pytest.raises(EventTooLarge):
        split(*(larger[at : at + size] for at in range(0, 110, size)), limit=len(largest))
    with pytest.raises(EventTooLarge):
        split(largest + larger, b"", limit=len(largest))


@settings(max_examples=300)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 120), max_size=8))
@example(stream=b"data: 1\r\n\r\n", cuts=[8, 10])
def test_cutting_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    """However the bytes are cut, the events are those of the standard, and their bytes those that came."""
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]

    found = split(*pieces)

    assert told(found) == told(byte_by_byte(stream)) == by_the_book(stream)
    joined = b"".join(one.raw for one in found)
    assert joined[: len(stream)] == stream
    assert joined[len(stream) :] in (b"", b"\n", b"\n\n")


def test_what_is_written_is_read_back() -> None:
    """Our own events and comments are events and comments."""
    assert split(event(b"{}")) == [Event(b"data: {}\n\n", b"{}")]
    assert split(event(b"{}", name=b"error")) == [Event(b"event: error\ndata: {}\n\n", b"{}", b"error")]
    assert split(comment(b"hello")) == [Event(b": hello\n\n")]
    assert split(DONE) == [Event(b"data: [DONE]\n\n", b"[DONE]")]
