"""Anthropic's content blocks, read as the parts of a conversation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from arbstr.dialects import body, lenient
from arbstr.domain.conversation import CacheHint, Media, Part, Text, Thinking, ToolCall, ToolResult
from arbstr.domain.errors import InvalidRequest

Object = dict[str, Any]

_EMPTY = msgspec.Raw(b"{}")
_TYPE = re.compile(r"[a-z0-9_]{1,64}")


class Block(msgspec.Struct):
    """Types are checked where the fields are used. ``input`` stays as its bytes, so that no number loses a digit."""

    type: Any = None
    text: Any = None
    source: Any = None
    title: Any = None
    context: Any = None
    citations: Any = None
    id: Any = None
    name: Any = None
    input: msgspec.Raw = _EMPTY
    tool_use_id: Any = None
    content: Any = None
    is_error: Any = None
    thinking: Any = None
    signature: Any = None
    data: Any = None
    cache_control: Any = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[Block]


_decode = msgspec.json.Decoder(list[_Message]).decode


def objects_of(raw: msgspec.Raw) -> Iterator[tuple[str, str | list[Block]]]:
    """Role and content of each message; ``raw`` was checked when it was parsed."""
    try:
        messages = _decode(lenient.replace_lone_surrogates(bytes(raw)))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"messages cannot be read: {error}", param="messages") from error
    return ((message.role, message.content) for message in messages)


def parts_of(content: str | list[Block], param: str, dropped: list[str]) -> Iterator[Part]:
    """The parts of a message."""
    if isinstance(content, str):
        yield Text(content)
        return
    for index, block in enumerate(content):
        yield from _parts(block, f"{param}[{index}]", dropped)


def texts_of(content: Any, param: str, dropped: list[str]) -> list[Text]:
    """Instructions: a text, or blocks of text."""
    if content is None:
        return []
    if type(content) is str:
        return [Text(content)] if content else []
    blocks = [block if isinstance(block, Block) else _block(block) for block in content]
    found = [part for index, block in enumerate(blocks) for part in _parts(block, f"{param}[{index}]", dropped)]
    wrong = next((part for part in found if not isinstance(part, Text)), None)
    if wrong is not None:
        raise InvalidRequest(f"{param} must be text.", param=param)
    return [part for part in found if isinstance(part, Text)]


def cache_hint(holder: Object | Block) -> CacheHint | None:
    control = holder.cache_control if isinstance(holder, Block) else holder.get("cache_control")
    if type(control) is not dict:
        return None
    return CacheHint(lenient.text(control.get("ttl")))


def _parts(block: Block, param: str, dropped: list[str]) -> Iterator[Part]:
    match block.type:
        case "text":
            yield Text(_string(block.text, f"{param}.text"), cache_hint(block))
        case "image":
            yield _media("image", block, param)
        case "document":
            yield from _document(block, param, dropped)
        case "tool_use":
            yield _call(block, param)
        case "tool_result":
            content = tuple(_result_content(block.content, f"{param}.content", dropped))
            called = _string(block.tool_use_id, f"{param}.tool_use_id")
            yield ToolResult(called, content, is_error=block.is_error is True, cache=cache_hint(block))
        case "thinking":
            yield Thinking(_string(block.thinking, f"{param}.thinking"), signature=lenient.text(block.signature))
        case "redacted_thinking":
            yield Thinking("", redacted=_string(block.data, f"{param}.data"))
        case "search_result":
            yield Text(_search_result(block), cache_hint(block))
        case other:  # what Anthropic's own tools have left
            dropped.append(f"messages.{other}" if type(other) is str and _TYPE.fullmatch(other) else "messages")


def _call(block: Block, param: str) -> ToolCall:
    arguments = bytes(block.input).decode()
    if arguments[:1] != "{":
        raise InvalidRequest(f"{param}.input must be an object.", param=f"{param}.input")
    return ToolCall(
        id=_string(block.id, f"{param}.id"),
        name=_string(block.name, f"{param}.name"),
        arguments=arguments,
        cache=cache_hint(block),
    )


def _result_content(content: Any, param: str, dropped: list[str]) -> Iterator[Text | Media]:
    if content is None:
        return
    if type(content) is str:
        yield Text(content)
        return
    if type(content) is not list:
        raise body.wrong(param, content, "a string or a list of content blocks")
    for index, each in enumerate(content):
        for part in _parts(_block(each), f"{param}[{index}]", dropped):
            if not isinstance(part, Text | Media):
                raise InvalidRequest(f"{param}[{index}] must be text, an image or a document.", param=param)
            yield part


def _document(block: Block, param: str, dropped: list[str]) -> Iterator[Part]:
    """A file as a file; a text, or blocks of content, as what they say, under their title."""
    if type(block.citations) is dict and block.citations.get("enabled"):
        dropped.append("citations")
    source = _source(block, param)
    if source.get("type") not in ("text", "content"):
        yield _media("document", block, param)
        return
    heading = "\n".join(said for said in (lenient.text(block.title), lenient.text(block.context)) if said)
    if source["type"] == "text":
        text = _string(source.get("data"), f"{param}.source.data")
        yield Text(f"{heading}\n\n{text}" if heading else text, cache_hint(block))
        return
    if heading:
        yield Text(heading)
    yield from _result_content(source.get("content"), f"{param}.source.content", dropped)


def _media(kind: str, block: Block, param: str) -> Media:
    source = _source(block, param)
    media_type = lenient.text(source.get("media_type"))
    name = lenient.text(block.title)
    match source.get("type"):
        case "base64":
            data = _string(source.get("data"), f"{param}.source.data")
            return Media(kind, data=data, media_type=media_type, name=name, cache=cache_hint(block))
        case "url":
            url = _string(source.get("url"), f"{param}.source.url")
            media_type = media_type or ("application/pdf" if kind == "document" else None)
            return Media(kind, url=url, media_type=media_type, name=name, cache=cache_hint(block))
        case "file":
            raise InvalidRequest(
                f"{param}.source refers to a file at Anthropic, which no other provider has.", param=f"{param}.source"
            )
        case other:
            raise body.wrong(f"{param}.source.type", other, "the type of a source")


def _source(block: Block, param: str) -> Object:
    if type(block.source) is not dict:
        raise body.wrong(f"{param}.source", block.source, "an object")
    return block.source


def _search_result(block: Block) -> str:
    parts = block.content if type(block.content) is list else []
    texts = [lenient.text(part.get("text")) for part in parts if type(part) is dict]
    return "\n".join(said for said in (lenient.text(block.title), lenient.text(block.source), *texts) if said)


def _block(value: Any) -> Block:
    """A block that lies within another; only in messages themselves can there be a call."""
    if type(value) is not dict:
        raise InvalidRequest("A content block must be an object.", param="messages")
    return Block(**{name: value[name] for name in Block.__struct_fields__ if name in value and name != "input"})


def _string(value: Any, param: str) -> str:
    if type(value) is not str:
        raise body.wrong(param, value, "a string")
    return value
