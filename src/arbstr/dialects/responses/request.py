"""Requests in the OpenAI Responses dialect: what a caller sent, checked, and what a provider of it is sent.

This gateway keeps no conversations: what refers to an earlier answer by its id is refused, for the next request may go
to a provider that has never seen it. ``store`` is passed on to a provider of this dialect, and otherwise says nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects import body, lenient
from arbstr.dialects.body import Fields, wrong
from arbstr.dialects.responses import seal as responses_seal
from arbstr.dialects.sizes import IMAGE_BYTES, part_bytes
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest

MAX_ITEMS = 50_000

_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")

_STATEFUL = {"previous_response_id": "responses", "conversation": "conversations"}
"""What refers to something that OpenAI would have stored."""

SEND_ITEMS = "send the earlier items themselves in input, as SDKs do where store is false"
"""What to do instead. The Vercel AI SDK and others refer to items by their ids unless they are told that."""


def parse_responses(raw: bytes) -> ChatRequest:
    """The request in ``raw``. Raises :class:`InvalidRequest`, naming what was found and what is expected.

    ``null`` in a field that is read counts as absent.
    """
    return body.parse(raw, _request)


def _request(whole: dict[str, Any], fields: Fields) -> ChatRequest:
    """``whole`` is what is read, ``fields`` what is sent."""
    model = body.model_name(whole.get("model"))
    for name, stored in _STATEFUL.items():
        if whole.get(name) is not None:
            raise InvalidRequest(f"{name} is not supported: this gateway stores no {stored}; {SEND_ITEMS}.", param=name)
    if body.boolean(whole.get("background"), "background"):
        raise InvalidRequest("background must be false: this gateway stores no responses.", param="background")
    stream = body.boolean(whole.get("stream"), "stream")
    instructions = whole.get("instructions")
    if instructions is not None and type(instructions) is not str:
        raise wrong("instructions", instructions, "a string")
    tools = whole.get("tools")
    if tools is not None and type(tools) is not list:
        raise wrong("tools", tools, "a list of tools")
    size, last_user_text = _input(whole.get("input"), fields, optional=whole.get("prompt") is not None)
    size += lenient.size(instructions or "")
    size += sum(len(memoryview(fields[key])) for key in ("tools", "text") if whole.get(key) is not None)
    return ChatRequest(
        model=model,
        stream=stream,
        fields=fields,
        input_bytes=size,
        last_user_text=last_user_text,
        max_tokens=body.integer(whole.get("max_output_tokens"), "max_output_tokens", body.MAX_TOKENS),
        include_usage=stream,
        dialect="responses",
    )


def encode_same(request: ChatRequest, *, model: str) -> bytes:
    """The body for a provider of this dialect: ``model`` in place of the caller's, all else as it came.

    Reasoning items that another vendor made in an earlier turn are left out: this one could not read them, and would
    refuse the request.
    """
    fields: dict[str, Any] = {**request.fields, "model": model}
    items = request.fields.get("input", _NULL)
    found = bytes(items)
    if responses_seal.FOREIGN.encode() in found or responses_seal.ITEM.encode() in found:
        fields["input"] = _without_foreign(items)
    return _encode(fields)


def _without_foreign(items: msgspec.Raw) -> msgspec.Raw | list[Fields]:
    values = lenient.read_or_none(bytes(items))
    if type(values) is not list:
        return items
    fields = body.objects(msgspec.Raw(lenient.replace_lone_surrogates(bytes(items))), values, "input")
    return [item for item, value in zip(fields, values, strict=True) if not responses_seal.is_foreign(value)]


def _input(value: object, fields: Fields, *, optional: bool) -> tuple[int, str]:
    """Check the input, and put it into ``fields`` re-serialised. Returns the UTF-8 bytes of its text, and the text of
    the last user's message."""
    if type(value) is str:
        return lenient.size(value), value
    if value is None and optional:
        return 0, ""
    if type(value) is not list:
        raise wrong("input", value, "a string or a list of input items")
    if len(value) > MAX_ITEMS:
        raise InvalidRequest(f"input has {len(value):,} items; at most {MAX_ITEMS:,}.", param="input")
    items: list[dict[str, Any]] = body.objects(fields["input"], value, "input")
    size = 0
    last_user: object = ""
    for index, (item, sent) in enumerate(zip(value, items, strict=True)):
        param = f"input[{index}]"
        if item_type(item, param) == "message":
            size += len(item["role"]) + _content(item, sent, "content", param)
            if item["role"] == "user":
                last_user = item["content"]
        elif type(item.get("output")) is dict:
            size += IMAGE_BYTES  # of the screen that a model works at
        elif "output" in item:
            size += _content(item, sent, "output", param)
        elif "result" in item:
            size += IMAGE_BYTES  # that a model has made
        else:
            size += sum(len(memoryview(raw)) for raw in sent.values())
    fields["input"] = msgspec.Raw(_encode(items))
    return size, content_text(last_user)


def item_type(item: dict[str, Any], param: str) -> str:
    """The type of an input item. One without is a message if it has a role, or else a reference."""
    found = item.get("type")
    if found is None:
        found = "message" if "role" in item else "item_reference"
    if type(found) is not str:
        raise wrong(f"{param}.type", found, "a string")
    if found == "message":
        if type(item.get("role")) is not str:
            raise wrong(f"{param}.role", item.get("role"), "a string")
        if type(item.get("content")) not in (str, list):
            raise wrong(f"{param}.content", item.get("content"), "a string or a list of content parts")
    return found


def _content(item: dict[str, Any], sent: dict[str, Any], name: str, param: str) -> int:
    """Put the parts of a content into ``sent`` without duplicate keys. Returns the bytes that they count for."""
    content = item[name]
    if type(content) is not list:
        return lenient.size(content) if type(content) is str else len(memoryview(sent[name]))
    size = 0
    sent[name] = body.objects(sent[name], content, f"{param}.{name}")
    for part, fields in zip(content, sent[name], strict=True):
        text = part.get("text")
        if type(text) is str:
            size += lenient.size(text)
        elif part.get("type") == "input_image":
            size += IMAGE_BYTES
        else:
            size += part_bytes(part, fields)
    return size


def content_text(content: object) -> str:
    """The text of a content: a string, or the text of its parts."""
    if type(content) is str:
        return content
    if type(content) is list:
        return "\n".join(text for part in content if (text := lenient.text(part.get("text"))))
    return ""
