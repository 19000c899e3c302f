"""Request bodies, read with limits: what every caller's dialect begins with.

What is read is checked, and what is sent on is re-serialised from what was checked: of duplicate keys the last one.
All other values travel as the bytes they came in, so that no number loses a digit on the way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest

Fields = dict[str, msgspec.Raw]
"""An object whose values are their bytes."""

MAX_VALUES = 1_000_000
"""Brackets and commas, which bound the values that a body decodes to, and so the time and the memory it takes."""
MAX_TOKENS = 2**31 - 1
MAX_MODEL_NAME = 256
MAX_DIGITS = 4300
"""Digits at which a number is refused. With one more, most readers of JSON written in Python fail."""
TOO_DEEP = "The body is nested too deeply."

_decode = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(Fields).decode
_decode_objects = msgspec.json.Decoder(list[Fields]).decode

_LARGE = 64 * 1024
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_STRIDE = MAX_DIGITS // 10
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|\d+', re.DOTALL)

Make = Callable[[dict[str, Any], Fields], ChatRequest]
"""The request of a body: the first is what is read of it, the second what is sent on."""


def parse(body: bytes, make: Make) -> ChatRequest:
    """The request in ``body``, as ``make`` reads it. Raises :class:`InvalidRequest`, naming what was found."""
    try:
        whole, fields = _read(body)
    except InvalidRequest:
        return _parse_with_lone_surrogates(body, make)
    return _made(make(whole, fields), size=len(body))


def _parse_with_lone_surrogates(body: bytes, make: Make) -> ChatRequest:
    """They are no text, but callers' strings have them: they are read as U+FFFD, and sent as they came.

    Only to be called while the error is handled that such a body raises: where there are none, it is raised again.
    """
    readable = lenient.replace_lone_surrogates(body)
    if readable == body:
        raise  # noqa: PLE0704
    mark = hashlib.blake2b(body, digest_size=8).hexdigest()  # a word that is not in the body
    whole, _ = _read(readable)
    _, fields = _read(lenient.replace_lone_surrogates(body, mark.encode()))
    if mark in "".join(fields):
        raise InvalidRequest("The name of a field has a surrogate without its other half.")
    request = _made(make(whole, fields), size=len(body))
    sent = {key: msgspec.Raw(bytes(value).replace(mark.encode(), b"\\u")) for key, value in request.fields.items()}
    return msgspec.structs.replace(request, fields=sent)


def _made(request: ChatRequest, *, size: int) -> ChatRequest:
    """``request``, without its hold on a large body: an answer can take minutes."""
    if size <= _LARGE:
        return request
    return msgspec.structs.replace(request, fields={key: value.copy() for key, value in request.fields.items()})


def _read(body: bytes) -> tuple[dict[str, Any], Fields]:
    """The body twice: decoded to the last value, which is what checks it, and as the bytes of its fields."""
    if len(body) > MAX_VALUES and sum(body.count(byte) for byte in b"[{,") > MAX_VALUES:
        raise InvalidRequest(f"The body has more than {MAX_VALUES:,} values.")
    try:
        whole = _decode(body)
        if type(whole) is not dict:
            raise InvalidRequest(f"The body must be a JSON object, but is {kind(whole)}.")
        if len(body) >= MAX_DIGITS and b"0" * 9 in body[::_STRIDE].translate(_DIGITS):
            _refuse_long_integers(body)
        return whole, _decode_object(body)
    except RecursionError:
        raise InvalidRequest(TOO_DEEP) from None
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not valid UTF-8.") from error
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The body has a number that is too large: {error}") from error
    except msgspec.DecodeError as error:
        if not body.strip(b" \t\r\n"):
            raise InvalidRequest("The body is empty; a JSON object is expected.") from None
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error


def _refuse_long_integers(body: bytes) -> None:
    """Look at each number outside of strings; only called where many digits seem to stand in a row."""
    for match in _TOKEN.finditer(body):
        if match.end() - match.start() >= MAX_DIGITS and body[match.start()] != 34:  # '"'
            raise InvalidRequest(f"The body has a number of {MAX_DIGITS:,} digits or more.")


def objects(raw: msgspec.Raw, values: list[Any], param: str) -> list[Any]:
    """The objects that ``raw`` lists, each with its values as bytes; ``values`` is the same list, decoded."""
    try:
        return _decode_objects(raw)
    except RecursionError:  # the call stack is deeper here than where the body was read
        raise InvalidRequest(TOO_DEEP) from None
    except msgspec.ValidationError:
        index = next(index for index, value in enumerate(values) if type(value) is not dict)
        raise wrong(f"{param}[{index}]", values[index], "an object") from None


def model_name(value: object) -> str:
    """``value`` as the name of a model."""
    if type(value) is not str or not value:
        raise wrong("model", value, "the name of a model")
    if len(value) > MAX_MODEL_NAME or not value.isprintable():
        raise InvalidRequest(
            f"model must have at most {MAX_MODEL_NAME} characters and no control characters.", param="model"
        )
    return value


def boolean(value: object, param: str) -> bool:
    """``value`` as true or false; absent is false."""
    if value is None or type(value) is bool:
        return bool(value)
    raise wrong(param, value, "true or false")


def integer(value: object, param: str, most: int) -> int | None:
    """``value`` as an integer from 1 to ``most``; absent is None."""
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise wrong(param, value, f"an integer from 1 to {most}")
    return value


def wrong(param: str, value: object, expected: str) -> InvalidRequest:
    """``value`` in ``param`` is not what is ``expected``."""
    found = "missing" if value is None else kind(value)
    return InvalidRequest(f"{param} must be {expected}, but is {found}.", param=param)


def kind(value: object) -> str:
    """What ``value`` is, for a message: its kind, and a short string or number itself."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case str():
            return f"the string {value!r}" if len(value) <= 32 else "a string"
        case int() | float():
            return f"the number {value}" if abs(value) < 10**15 else "a very large number"
        case dict():
            return "an object"
        case _:
            return "a list" if value else "an empty list"
