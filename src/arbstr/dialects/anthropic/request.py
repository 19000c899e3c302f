"""Requests of the Messages API: what a caller sent, checked, and sent on to a provider of the same dialect.

What is read is checked, and what is sent on is re-serialised from what was checked: of duplicate keys the last one.
All other values travel as the bytes they came in.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from arbstr.dialects import body, lenient
from arbstr.dialects.body import Fields
from arbstr.dialects.sizes import IMAGE_BYTES, file_bytes
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import estimated_tokens

MAX_MESSAGES = 100_000

ROLES = ("user", "assistant", "system")

_FOREIGN = re.compile(rb'"(?:signature|data)":"(?:"|[a-z]{1,16}[#:])')
_FOREIGN_PROOF = re.compile(rb'"(?:"|[a-z]{1,16}[#:])')
"""No proof, or one that is marked as another vendor's (see :mod:`~arbstr.dialects.anthropic.content`)."""
_THOUGHTS = (b'"thinking"', b'"redacted_thinking"')
_NULL = msgspec.Raw(b"null")
_decode_objects = msgspec.json.Decoder(list[Fields]).decode
_encode = msgspec.json.Encoder().encode


def parse(raw: bytes) -> ChatRequest:
    """The request in ``raw``. Raises :class:`InvalidRequest`, naming what was found and what is expected."""
    return body.parse(raw, _message_request)


def parse_count(raw: bytes) -> ChatRequest:
    """A request to count tokens: as one for a message, but without ``max_tokens``."""
    return body.parse(raw, _count_request)


def encode_same(request: ChatRequest, *, model: str) -> bytes:
    """The body for a provider of the same dialect: the caller's, with the provider's name of the model.

    Thoughts that another vendor's model had earlier in the conversation are left out: the API refuses what it has not
    signed itself.
    """
    fields: dict[str, Any] = {**request.fields, "model": model}
    messages = bytes(request.fields["messages"])
    if b'thinking"' in messages and _FOREIGN.search(messages):
        fields["messages"] = _own_thoughts(messages)
    return _encode(fields)


def _own_thoughts(messages: bytes) -> list[Fields]:
    kept: list[Fields] = []
    for message in _decode_objects(lenient.replace_lone_surrogates(messages)):
        content = bytes(message["content"])
        if content[:1] == b"[" and _FOREIGN.search(content):
            blocks = [block for block in _decode_objects(content) if not _is_foreign(block)]
            if not blocks:
                continue
            message["content"] = msgspec.Raw(_encode(blocks))
        kept.append(message)
    return kept


def _is_foreign(block: Fields) -> bool:
    proof = bytes(block.get("signature") or block.get("data") or b"")
    return bytes(block["type"]) in _THOUGHTS and bool(_FOREIGN_PROOF.match(proof))


def count_tokens(request: ChatRequest) -> int:
    """An estimate of the input's tokens, for ``POST /v1/messages/count_tokens``."""
    return max(1, estimated_tokens(request.input_bytes))


def count_answer(request: ChatRequest) -> bytes:
    """The body that answers ``POST /v1/messages/count_tokens``."""
    return _encode({"input_tokens": count_tokens(request)})


def _message_request(whole: dict[str, Any], fields: Fields) -> ChatRequest:
    return _request(whole, fields, max_tokens=_max_tokens(whole.get("max_tokens")))


def _count_request(whole: dict[str, Any], fields: Fields) -> ChatRequest:
    return _request(whole, fields, max_tokens=None)


def _request(whole: dict[str, Any], fields: Fields, *, max_tokens: int | None) -> ChatRequest:
    model = body.model_name(whole.get("model"))
    stream = body.boolean(whole.get("stream"), "stream")
    system = whole.get("system")
    input_bytes = 0
    if system is not None:
        blocks, input_bytes = _content(fields["system"], system, "system")
        fields["system"] = msgspec.Raw(_encode(blocks))
    messages, size, last_user_text = _messages(fields.get("messages", _NULL), whole.get("messages"))
    fields["messages"] = messages
    input_bytes += size
    tools = whole.get("tools")
    if tools is not None and (type(tools) is not list or any(type(tool) is not dict for tool in tools)):
        raise body.wrong("tools", tools, "a list of tools, each of them an object")
    for key in ("tools", "output_config", "output_format"):
        if key in fields:
            input_bytes += len(memoryview(fields[key]))
    return ChatRequest(
        model=model,
        stream=stream,
        fields=fields,
        input_bytes=input_bytes,
        last_user_text=last_user_text,
        max_tokens=max_tokens,
        include_usage=True,
        dialect="anthropic",
    )


def _max_tokens(value: Any) -> int:
    """0 is a wish to have the prompt cached, and no answer."""
    if type(value) is not int or not 0 <= value <= body.MAX_TOKENS:
        raise body.wrong("max_tokens", value, f"an integer from 0 to {body.MAX_TOKENS}")
    return value


def _messages(raw: msgspec.Raw, messages: Any) -> tuple[msgspec.Raw, int, str]:
    """Check the messages. Returns them re-serialised, the UTF-8 bytes of their text, and the last user's text."""
    if type(messages) is not list or not messages:
        raise body.wrong("messages", messages, "a list of at least one message")
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(f"messages has {len(messages):,} entries; at most {MAX_MESSAGES:,}.", param="messages")
    objects = body.objects(raw, messages, "messages")
    size = 0
    last_user: Any = None
    for index, (message, fields) in enumerate(zip(messages, objects, strict=True)):
        role = message.get("role")
        if role not in ROLES:
            raise body.wrong(f"messages[{index}].role", role, '"user", "assistant" or "system"')
        content = message.get("content")
        if content is None:
            raise body.wrong(f"messages[{index}].content", None, "a string or a list of content blocks")
        fields["content"], more = _content(fields["content"], content, f"messages[{index}].content")
        size += more + len(role)
        if role == "user":
            last_user = content
    return msgspec.Raw(_encode(objects)), size, _text(last_user)


def _content(raw: msgspec.Raw, content: Any, param: str) -> tuple[Any, int]:
    """A text or content blocks without duplicate keys, and the bytes that they count for."""
    if type(content) is str:
        return raw, lenient.size(content)
    if type(content) is not list:
        raise body.wrong(param, content, "a string or a list of content blocks")
    blocks: list[Fields] = body.objects(raw, content, param)
    size = 0
    for index, (block, fields) in enumerate(zip(content, blocks, strict=True)):
        if not lenient.text(block.get("type")):
            raise body.wrong(f"{param}[{index}].type", block.get("type"), "the type of a content block")
        size += _size(block, fields)
    return blocks, size


def _size(block: dict[str, Any], fields: Fields) -> int:
    match block["type"]:
        case "text":
            return lenient.size(text) if type(text := block.get("text")) is str else 0
        case "image" | "document":
            return _source_size(block.get("source"))
        case "tool_result":
            return _nested_size(block.get("content"))
        case _:
            return sum(len(memoryview(value)) for value in fields.values())


def _nested_size(content: Any) -> int:
    if type(content) is str:
        return lenient.size(content)
    size = 0
    for block in content if type(content) is list else ():
        if type(block) is dict:
            size += lenient.size(block["text"]) if type(block.get("text")) is str else _source_size(block.get("source"))
    return size


def _source_size(source: Any) -> int:
    """Of an image or a document."""
    if type(source) is not dict:
        return 0
    data = source.get("data")
    match source.get("type"):
        case "text" if type(data) is str:
            return lenient.size(data)
        case "base64" if type(data) is str and source.get("media_type") == "application/pdf":
            return file_bytes(data)
        case "content":
            return _nested_size(source.get("content"))
        case _:
            return IMAGE_BYTES


def _text(content: Any) -> str:
    if type(content) is str:
        return content
    if type(content) is not list:
        return ""
    return "\n".join(text for block in content if block["type"] == "text" and (text := lenient.text(block.get("text"))))
