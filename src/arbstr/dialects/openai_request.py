"""Chat completion requests in the OpenAI dialect: what a caller sent, checked, and what a provider is sent.

What is read is checked, and what is sent on is re-serialised from what was checked: of duplicate keys the last one.
All other values travel as the bytes they came in, so that no number loses a digit on the way.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest

_Object = dict[str, msgspec.Raw]

MAX_MESSAGES = 50_000
MAX_VALUES = 1_000_000
"""Brackets and commas, which bound the values that a body decodes to, and so the time and the memory it takes."""
MAX_TOKENS = 2**31 - 1
MAX_CHOICES = 128
MAX_MODEL_NAME = 256
MAX_DIGITS = 4300
"""Digits at which a number is refused. With one more, most readers of JSON written in Python fail."""
IMAGE_BYTES = 4096
"""What an image counts for as input text, whatever its bytes: about 1,000 tokens, as vendors charge for a large one."""

_decode = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(_Object).decode
_decode_objects = msgspec.json.Decoder(list[_Object]).decode
_encode = msgspec.json.Encoder().encode

_LARGE = 64 * 1024
_TOO_DEEP = "The body is nested too deeply."
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_STRIDE = MAX_DIGITS // 10
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|\d+', re.DOTALL)
_INCLUDE_USAGE = msgspec.Raw(b'{"include_usage":true}')
_NULL = msgspec.Raw(b"null")
_TRUE = msgspec.Raw(b"true")


def parse_chat(body: bytes) -> ChatRequest:
    """The request in ``body``. Raises :class:`InvalidRequest`, naming what was found and what is expected.

    ``null`` in a field that is read counts as absent.
    """
    try:
        whole, fields = _read(body)
    except InvalidRequest:
        return _parse_with_lone_surrogates(body)
    return _request(whole, fields, size=len(body))


def _parse_with_lone_surrogates(body: bytes) -> ChatRequest:
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
    request = _request(whole, fields, size=len(body))
    sent = {key: msgspec.Raw(bytes(value).replace(mark.encode(), b"\\u")) for key, value in request.fields.items()}
    return msgspec.structs.replace(request, fields=sent)


def _request(whole: dict[str, Any], fields: _Object, *, size: int) -> ChatRequest:
    """The request of a body of ``size`` bytes: ``whole`` is what is read, ``fields`` what is sent."""
    model = _model(whole.get("model"))
    stream = _boolean(whole.get("stream"), "stream")
    options = whole.get("stream_options")
    if options is not None and type(options) is not dict:
        raise _wrong("stream_options", options, "an object")
    limit = _integer(whole.get("max_tokens"), "max_tokens", MAX_TOKENS)
    wider = _integer(whole.get("max_completion_tokens"), "max_completion_tokens", MAX_TOKENS)
    messages, input_bytes, last_user_text = _messages(fields.get("messages", _NULL), whole.get("messages"))
    fields["messages"] = messages
    for key in ("tools", "functions", "response_format"):
        if key in fields:
            input_bytes += len(memoryview(fields[key]))
    if size > _LARGE:  # the body is let go of: an answer can take minutes
        fields = {key: value.copy() for key, value in fields.items()}
    return ChatRequest(
        model=model,
        stream=stream,
        fields=fields,
        input_bytes=input_bytes,
        last_user_text=last_user_text,
        max_tokens=limit if wider is None else wider,
        n=_integer(whole.get("n"), "n", MAX_CHOICES) or 1,
        include_usage=stream
        and options is not None
        and _boolean(options.get("include_usage"), "stream_options.include_usage"),
    )


def encode_chat(request: ChatRequest, *, model: str, stream_options: bool = True) -> bytes:
    """The body to send upstream: ``model`` in place of the caller's, and, for a stream, the wish for usage.

    ``stream_options=False`` leaves that field out altogether, for providers that do not know it.
    """
    fields: dict[str, Any] = {**request.fields, "model": model}
    if not stream_options:
        fields.pop("stream_options", None)
    elif request.stream and not request.include_usage:
        fields["stream_options"] = _with_usage(fields.get("stream_options"))
    return _encode(fields)


def _with_usage(options: msgspec.Raw | None) -> msgspec.Raw | _Object:
    if options is None or options == _NULL:
        return _INCLUDE_USAGE
    try:
        return {**_decode_object(lenient.replace_lone_surrogates(bytes(options))), "include_usage": _TRUE}
    except RecursionError:  # nested as deeply as could be read with a shorter call stack
        return _INCLUDE_USAGE


def _read(body: bytes) -> tuple[dict[str, Any], _Object]:
    """The body twice: decoded to the last value, which is what checks it, and as the bytes of its fields."""
    if len(body) > MAX_VALUES and sum(body.count(byte) for byte in b"[{,") > MAX_VALUES:
        raise InvalidRequest(f"The body has more than {MAX_VALUES:,} values.")
    try:
        whole = _decode(body)
        if type(whole) is not dict:
            raise InvalidRequest(f"The body must be a JSON object, but is {_kind(whole)}.")
        if len(body) >= MAX_DIGITS and b"0" * 9 in body[::_STRIDE].translate(_DIGITS):
            _refuse_long_integers(body)
        return whole, _decode_object(body)
    except RecursionError:
        raise InvalidRequest(_TOO_DEEP) from None
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


def _messages(raw: msgspec.Raw, messages: object) -> tuple[msgspec.Raw, int, str]:
    """Check the messages. Returns them re-serialised, the UTF-8 bytes of their text, and the last user's text."""
    if type(messages) is not list or not messages:
        raise _wrong("messages", messages, "a list of at least one message")
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(f"messages has {len(messages):,} entries; at most {MAX_MESSAGES:,}.", param="messages")
    objects: list[dict[str, Any]] = _objects(raw, messages, "messages")
    size = 0
    last_user: object = None
    for index, (message, fields) in enumerate(zip(messages, objects, strict=True)):
        role = message.get("role")
        if type(role) is not str:
            raise _wrong(f"messages[{index}].role", role, "a string")
        content = message.get("content")
        size += len(role)
        if len(fields) > 2:
            size += sum(len(memoryview(value)) for key, value in fields.items() if key not in ("role", "content"))
        if type(content) is str:
            size += len(content) if content.isascii() else len(content.encode())
        elif type(content) is list:
            fields["content"], bytes_of_parts = _parts(fields["content"], content, f"messages[{index}].content")
            size += bytes_of_parts
        elif content is not None:
            raise _wrong(f"messages[{index}].content", content, "a string or a list of content parts")
        if role == "user":
            last_user = content
    return msgspec.Raw(_encode(objects)), size, _text(last_user)


def _parts(raw: msgspec.Raw, parts: list[Any], param: str) -> tuple[list[_Object], int]:
    """Content parts without duplicate keys, and the bytes that they count for."""
    objects = _objects(raw, parts, param)
    size = 0
    for part, fields in zip(parts, objects, strict=True):
        text = part.get("text")
        if type(text) is str:
            size += lenient.size(text)
        elif "image_url" in part:
            size += IMAGE_BYTES
        else:
            size += sum(len(memoryview(value)) for value in fields.values())
    return objects, size


def _objects(raw: msgspec.Raw, values: list[Any], param: str) -> list[Any]:
    try:
        return _decode_objects(raw)
    except RecursionError:  # the call stack is deeper here than where the body was read
        raise InvalidRequest(_TOO_DEEP) from None
    except msgspec.ValidationError:
        index = next(index for index, value in enumerate(values) if type(value) is not dict)
        raise _wrong(f"{param}[{index}]", values[index], "an object") from None


def _text(content: object) -> str:
    if type(content) is str:
        return content
    if type(content) is list:
        return "\n".join(text for part in content if (text := lenient.text(part.get("text"))))
    return ""


def _model(value: object) -> str:
    if type(value) is not str or not value:
        raise _wrong("model", value, "the name of a model")
    if len(value) > MAX_MODEL_NAME or not value.isprintable():
        raise InvalidRequest(
            f"model must have at most {MAX_MODEL_NAME} characters and no control characters.", param="model"
        )
    return value


def _boolean(value: object, param: str) -> bool:
    if value is None or type(value) is bool:
        return bool(value)
    raise _wrong(param, value, "true or false")


def _integer(value: object, param: str, most: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise _wrong(param, value, f"an integer from 1 to {most}")
    return value


def _wrong(param: str, value: object, expected: str) -> InvalidRequest:
    found = "missing" if value is None else _kind(value)
    return InvalidRequest(f"{param} must be {expected}, but is {found}.", param=param)


def _kind(value: object) -> str:
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
