"""How a line looks: JSON for machines, text for people."""

from __future__ import annotations

import functools
import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Fields = dict[str, Any]
Renderer = Callable[[Fields], bytes]
Redact = Callable[[str], str]

LONGEST_TEXT = 1000
"""Characters of one value; what is beyond is cut. Model names and error texts come from outside."""

_DEEPEST = 4
_STACK = 5
_PLAIN = re.compile(r"[\w./:@%+,*-]+", re.ASCII)


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds: ``2026-11-20T19:30:00.125Z``."""
    whole = int(seconds)
    return f"{_to_the_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


def to_the_microsecond(milliseconds: float) -> float:
    """Three decimal places are plenty; a quarter of the cost of ``round``."""
    return int(milliseconds * 1000 + 0.5) / 1000


@functools.lru_cache(maxsize=16)
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


_encode = msgspec.json.Encoder(enc_hook=str).encode


def json_line(fields: Fields) -> bytes:
    """One JSON object and a line feed."""
    try:
        return _encode(fields) + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which JSON text cannot carry as UTF-8
        return _encode(clean(fields, str)) + b"\n"


def text_line(fields: Fields) -> bytes:
    """``timestamp level event key=value …``: values with spaces or anything odd are quoted as JSON strings."""
    rest = dict(fields)
    head = f"{rest.pop('timestamp')} {rest.pop('level'):<7} {_one_line(str(rest.pop('event')))}"
    pairs = [f" {key}={_text(value)}" for key, value in rest.items() if value is not None]
    return (head + "".join(pairs) + "\n").encode("utf-8", "backslashreplace")


def renderer(format: str) -> Renderer:
    """The renderer of ``[logging] format``: ``json`` or ``text``."""
    return {"json": json_line, "text": text_line}[format]


def _one_line(text: str) -> str:
    return text if text.isprintable() else " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _text(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value):
            return value
        return _encode(_one_line(_without_surrogates(value))).decode()
    return _encode(clean(value, str)).decode()


def shorten(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def clean(value: Any, redact: Redact, depth: int = 0) -> Any:
    """``value`` as plain JSON: bounded, secrets masked by their own ``str``, known ones by ``redact``.

    Exceptions are summarised, unknown types become their ``str``. Never raises.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, BaseException):
        value = summary(value)
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {str(clean(key, redact, _DEEPEST)): clean(each, redact, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(each, redact, depth + 1) for each in value]
    try:
        text = str(value)
    except Exception:  # a broken __str__ is no reason to lose the line
        text = f"<{type(value).__name__}>"
    return _without_surrogates(shorten(redact(text)))


def summary(error: BaseException) -> Fields:
    """An exception in one field: its type, its message, the last frames, and what caused it."""
    fields: Fields = {"type": type(error).__name__, "message": _message(error), "stack": _stack(error)}
    cause = error.__cause__ or error.__context__
    if cause is not None:
        fields["cause"] = f"{type(cause).__name__}: {_message(cause)}"
    return fields


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _stack(error: BaseException) -> list[str]:
    """``package/module.py:line function`` for the innermost frames, the place of the error last."""
    frames = [
        f"{'/'.join(frame.f_code.co_filename.split('/')[-3:])}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return frames[-_STACK:]
