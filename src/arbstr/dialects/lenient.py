"""JSON as providers really send it: read as far as it can be, for what is observed and never for what is relayed.

msgspec refuses broken UTF-8 and lone surrogate escapes (``"\\ud800"``), which a model that was cut inside an emoji does
send, and ``-Infinity``, which servers written in Python send among log probabilities. What it refuses is read again by
the standard library, with U+FFFD in place of what is no text.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

MOST_BACKSLASHES = 100_000
"""Up to which lone surrogates are looked for, because of the time it takes: text with more of them is left as it is."""

_SURROGATE = re.compile(
    rb"\\(?<!\\\\)(?:\\\\)*+"  # an odd number of backslashes; from the first on, or many would take quadratic time
    rb"(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
"""The escape of a surrogate, or of two that are a pair; the group is one without its other half."""


def read(data: bytes) -> Any:
    """The value of ``data``. Raises ValueError, whatever is wrong with it."""
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        pass
    try:
        text = replace_lone_surrogates(data).decode("utf-8", "replace")
        return json.loads(text.removeprefix("\ufeff"), strict=False)
    except RecursionError as error:
        raise ValueError(str(error)) from error


def replace_lone_surrogates(data: bytes, mark: bytes | None = None) -> bytes:
    """``data`` with U+FFFD's escape for the escape of each lone surrogate, or with ``mark`` for its ``\\u`` alone."""
    if (rb"\ud" not in data and rb"\uD" not in data) or data.count(b"\\") > MOST_BACKSLASHES:
        return data

    def replaced(match: re.Match[bytes]) -> bytes:
        if not match[1]:
            return match[0]
        before = match[0][: match.start(1) - match.start() - 1]
        return before + (rb"\ufffd" if mark is None else mark + match[1][1:])

    return _SURROGATE.sub(replaced, data)


def read_or_none(data: bytes) -> Any:
    """The value of ``data``, or None where it cannot be read."""
    try:
        return read(data)
    except ValueError:
        return None


def text(value: object) -> str | None:
    """``value`` if it is a string with something in it."""
    return value if isinstance(value, str) and value else None


def size(value: str) -> int:
    """The UTF-8 bytes of ``value``."""
    return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
