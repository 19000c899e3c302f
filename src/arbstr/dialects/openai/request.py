"""Chat completion requests in the OpenAI dialect: what a caller sent, checked, and what a provider is sent.

What is read is checked, and what is sent on is re-serialised from what was checked: of duplicate keys the last one.
All other values travel as the bytes they came in, so that no number loses a digit on the way.
"""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects import body, lenient
from arbstr.dialects.body import MAX_VALUES, Fields
from arbstr.dialects.sizes import IMAGE_BYTES, part_bytes
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest

__all__ = ["MAX_CHOICES", "MAX_MESSAGES", "MAX_VALUES", "encode_chat", "parse_chat"]

MAX_MESSAGES = 50_000
MAX_CHOICES = 128

_decode_object = msgspec.json.Decoder(Fields).decode
_encode = msgspec.json.Encoder().encode

_INCLUDE_USAGE = msgspec.Raw(b'{"include_usage":true}')
_NULL = msgspec.Raw(b"null")
_TRUE = msgspec.Raw(b"true")


def parse_chat(raw: bytes) -> ChatRequest:
    """The request in ``raw``. Raises :class:`InvalidRequest`, naming what was found and what is expected.

    ``null`` in a field that is read counts as absent.
    """
    return body.parse(raw, _request)


def _request(whole: dict[str, Any], fields: Fields) -> ChatRequest:
    """``whole`` is what is read, ``fields`` what is sent."""
    model = body.model_name(whole.get("model"))
    stream = body.boolean(whole.get("stream"), "stream")
    options = whole.get("stream_options")
    if options is not None and type(options) is not dict:
        raise body.wrong("stream_options", options, "an object")
    limit = body.integer(whole.get("max_tokens"), "max_tokens", body.MAX_TOKENS)
    wider = body.integer(whole.get("max_completion_tokens"), "max_completion_tokens", body.MAX_TOKENS)
    messages, input_bytes, last_user_text = _messages(fields.get("messages", _NULL), whole.get("messages"))
    fields["messages"] = messages
    for key in ("tools", "functions", "response_format"):
        if key in fields:
            input_bytes += len(memoryview(fields[key]))
    return ChatRequest(
        model=model,
        stream=stream,
        fields=fields,
        input_bytes=input_bytes,
        last_user_text=last_user_text,
        max_tokens=wider if limit is None else max(limit, wider or 0),
        n=body.integer(whole.get("n"), "n", MAX_CHOICES) or 1,
        include_usage=stream
        and options is not None
        and body.boolean(options.get("include_usage"), "stream_options.include_usage"),
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


def _with_usage(options: msgspec.Raw | None) -> msgspec.Raw | Fields:
    if options is None or options == _NULL:
        return _INCLUDE_USAGE
    try:
        return {**_decode_object(lenient.replace_lone_surrogates(bytes(options))), "include_usage": _TRUE}
    except RecursionError:  # nested as deeply as could be read with a shorter call stack
        return _INCLUDE_USAGE


def _messages(raw: msgspec.Raw, messages: object) -> tuple[msgspec.Raw, int, str]:
    """Check the messages. Returns them re-serialised, the UTF-8 bytes of their text, and the last user's text."""
    if type(messages) is not list or not messages:
        raise body.wrong("messages", messages, "a list of at least one message")
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(f"messages has {len(messages):,} entries; at most {MAX_MESSAGES:,}.", param="messages")
    objects: list[dict[str, Any]] = body.objects(raw, messages, "messages")
    size = 0
    last_user: object = None
    for index, (message, fields) in enumerate(zip(messages, objects, strict=True)):
        role = message.get("role")
        if type(role) is not str:
            raise body.wrong(f"messages[{index}].role", role, "a string")
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
            raise body.wrong(f"messages[{index}].content", content, "a string or a list of content parts")
        if role == "user":
            last_user = content
    return msgspec.Raw(_encode(objects)), size, _text(last_user)


def _parts(raw: msgspec.Raw, parts: list[Any], param: str) -> tuple[list[Fields], int]:
    """Content parts without duplicate keys, and the bytes that they count for."""
    objects = body.objects(raw, parts, param)
    size = 0
    for part, fields in zip(parts, objects, strict=True):
        text = part.get("text")
        if type(text) is str:
            size += lenient.size(text)
        elif "image_url" in part:
            size += IMAGE_BYTES
        else:
            size += part_bytes(part, fields)
    return objects, size


def _text(content: object) -> str:
    if type(content) is str:
        return content
    if type(content) is list:
        return "\n".join(text for part in content if (text := lenient.text(part.get("text"))))
    return ""
