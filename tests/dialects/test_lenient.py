from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects import lenient


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'"\xff\xfe"', "\ufffd\ufffd"),
        (b'"a\\ud800b"', "a\ufffdb"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"a\x00\nb"', "a\x00\nb"),
        (b"[-Infinity, 1e400]", [float("-inf"), float("inf")]),
        (b"\xef\xbb\xbf{}", {}),
        (b'\xff"', None),
    ],
)
def test_what_can_be_read_is_read(data: bytes, value: Any) -> None:
    """Broken text has U+FFFD in it; infinite numbers and raw control characters are let through."""
    assert lenient.read_or_none(data) == value


@pytest.mark.parametrize(
    "data", [b"", b"{", b"x", b'{"a": 1}}', b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b"9" * 5000]
)
def test_what_cannot_be_read_is_a_value_error(data: bytes) -> None:
    """Nesting beyond any stack and endless numbers included."""
    with pytest.raises(ValueError):
        lenient.read(data)
    assert lenient.read_or_none(data) is None


@given(st.binary(max_size=30) | st.text('{}[]",:\\ud8900\n', max_size=30).map(str.encode))
def test_nothing_else_is_raised(data: bytes) -> None:
    """Any bytes are a value or a ValueError, and strings can be encoded."""
    try:
        value = lenient.read(data)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False).encode()


def test_a_mark_keeps_a_surrogates_digits() -> None:
    """So that it can be put back."""
    data = b'"\\ud800 \\uDFFFx \\ud83d\\ude00 \\\\ud800"'

    marked = lenient.replace_lone_surrogates(data, b"<mark>")

    assert marked == b'"<mark>d800 <mark>DFFFx \\ud83d\\ude00 \\\\ud800"'
    assert marked.replace(b"<mark>", b"\\u") == data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\ud83d\ude00", r"\ud83d\ude00"),
        (r"\\ud83d\ude00", r"\\ud83d\ufffd"),
        (r"\\\ud83d\ude00", r"\\\ud83d\ude00"),
        (r"\\\\ud83d", r"\\\\ud83d"),
        (r"\\\uDBFF", r"\\\ufffd"),
        (r"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd"),
        (r"\ud83d\\ude00", r"\ufffd\\ude00"),
        (r"\ud7ff\ue000\ud80", r"\ud7ff\ue000\ud80"),
    ],
)
def test_backslashes_are_counted(text: str, expected: str) -> None:
    """An escaped one escapes nothing, and a pair is a character."""
    assert lenient.replace_lone_surrogates(text.encode()) == expected.encode()


def test_a_text_of_surrogates_alone_is_left_as_it_is() -> None:
    """Looking at millions of them would take seconds."""
    data = rb"\ud800" * (lenient.MOST_BACKSLASHES + 1)

    assert lenient.replace_lone_surrogates(data) is data
    assert lenient.read(b'"' + data + b'"') == "\ud800" * (lenient.MOST_BACKSLASHES + 1)
