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

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""Every escape, so that ``\\\\ud800`` is not taken for one; its group is a surrogate without its other half."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


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


def replace_lone_surrogates(data: bytes, replacement: bytes = rb"\ufffd") -> bytes:
    """``data`` with ``replacement`` for the escape of each lone surrogate.

    Any other replacement than U+FFFD's escape is a mark to find them by: it stands for ``\\u`` alone, and the four
    digits stay.
    """
    if not _SURROGATE.search(data):
        return data
    keep = replacement != rb"\ufffd"

    def replaced(match: re.Match[bytes]) -> bytes:
        if not match[1]:
            return match[0]
        return replacement + match[1][1:] if keep else replacement

    return _ESCAPE.sub(replaced, data)


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
