"""Messages as Anthropic's content blocks: what each part of a conversation becomes, and in which order they may stand.

The API refuses empty text, two turns in a row only by joining them, results that do not come first in their turn, and
ids with other characters than letters, digits, ``_`` and ``-``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any, assert_never

import msgspec

from arbstr.dialects.media import media_type_of
from arbstr.domain.conversation import (
    CacheHint,
    Conversation,
    Media,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from arbstr.domain.errors import InvalidRequest

Block = dict[str, Any]
Turn = tuple[str, list[Block]]

MOST_CACHE_HINTS = 4
"""Breakpoints that one request may have."""

GO_ON = "Continue."
"""A user's turn, where the API wants one and the conversation has none."""

_ID = re.compile(r"[a-zA-Z0-9_-]{1,256}")
_FOREIGN = re.compile(r"[a-z]{1,16}[#:]")
"""How another vendor's proofs of reasoning begin. Anthropic's are base64, and go to Anthropic and Bedrock alike."""
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def turns(conversation: Conversation, dropped: list[str]) -> list[Turn]:
    """The messages as turns that alternate, the user's first; none where nothing is said."""
    found: list[Turn] = []
    for message in conversation.messages:
        blocks = _blocks(message, dropped)
        if not blocks:
            continue
        if message.name:
            dropped.append("name")
        if found and found[-1][0] == message.role.value:
            found[-1][1].extend(blocks)
        else:
            found.append((message.role.value, blocks))
    if found and found[0][0] != "user":
        found.insert(0, ("user", [{"type": "text", "text": GO_ON}]))
    for role, blocks in found:
        if role == "user":
            blocks.sort(key=lambda block: block["type"] != "tool_result")
    return found


def text_blocks(texts: tuple[Text, ...]) -> list[Block]:
    """``texts`` without the empty ones, which are refused."""
    return [_hinted({"type": "text", "text": each.text}, each.cache) for each in texts if each.text.strip()]


def end_with_user(found: list[Turn], *, prefill: bool) -> None:
    """Let the last turn be one that the model may answer: the user's, or, with ``prefill``, the assistant's text."""
    role, blocks = found[-1]
    if role == "user" or any(block["type"] == "tool_use" for block in blocks):
        return
    last = blocks[-1]
    if prefill and last["type"] == "text":
        last["text"] = last["text"].rstrip()  # white space at the end is refused
    else:
        found.append(("user", [{"type": "text", "text": GO_ON}]))


def message(turn: Turn) -> Block:
    """A turn as a message; a lone text as a plain string."""
    role, blocks = turn
    plain = len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
    return {"role": role, "content": blocks[0]["text"] if plain else blocks}


def spare_cache_hints(blocks: list[Block], dropped: list[str]) -> None:
    """Take the earliest hints away where there are more than the API takes: the later reach further."""
    hinted = [block for block in blocks if "cache_control" in block]
    for block in hinted[:-MOST_CACHE_HINTS]:
        del block["cache_control"]
        dropped.append("cache_control")


def cache_control(hint: CacheHint) -> Block:
    return {"type": "ephemeral", "ttl": hint.ttl} if hint.ttl else {"type": "ephemeral"}


def tool_id(value: str) -> str:
    """``value``, or a name made of it where it has characters that are refused. The same for a call and its result."""
    if _ID.fullmatch(value):
        return value
    return "call_" + hashlib.blake2b(value.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _blocks(message: Message, dropped: list[str]) -> list[Block]:
    found = (_block(part, message.role, dropped) for part in message.parts)
    return [block for block in found if block is not None]


def _block(part: Part, role: Role, dropped: list[str]) -> Block | None:
    match part:
        case Text():
            return _hinted({"type": "text", "text": part.text}, part.cache) if part.text.strip() else None
        case Refusal():
            return {"type": "text", "text": part.text} if part.text.strip() else None
        case Media():
            if role is Role.ASSISTANT:
                raise InvalidRequest(
                    f"An assistant's message cannot have a part of type {part.kind}.", param="messages"
                )
            return _media(part)
        case ToolCall():
            called = {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": _input(part.arguments)}
            return _hinted(called, part.cache)
        case ToolResult():
            return _result(part)
        case Thinking():
            return _thinking(part, dropped)
        case _:  # pragma: no cover
            assert_never(part)


def _thinking(part: Thinking, dropped: list[str]) -> Block | None:
    if _FOREIGN.match(part.signature or part.redacted or ""):
        dropped.append("reasoning_content")
        return None
    if part.redacted:
        return {"type": "redacted_thinking", "data": part.redacted}
    if part.signature:
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    dropped.append("reasoning_content")  # without a signature it is refused
    return None


def _result(part: ToolResult) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": tool_id(part.id)}
    content = [
        _hinted({"type": "text", "text": each.text}, each.cache) if isinstance(each, Text) else _media(each)
        for each in part.content
        if not isinstance(each, Text) or each.text.strip()
    ]
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        block["content"] = content[0]["text"]
    elif content:
        block["content"] = content
    if part.is_error:
        block["is_error"] = True
    return _hinted(block, part.cache)


def _input(arguments: str) -> Any:
    """The arguments as the object that they are, with each number as it was written."""
    raw = arguments.encode("utf-8", "replace").strip()
    if not raw:
        return {}
    try:
        _OBJECT.decode(raw)
    except (ValueError, RecursionError):
        return {"invalid_json": arguments}  # what a model wrote when it was cut short
    return msgspec.Raw(raw)


def _media(part: Media) -> Block:
    if part.kind == "image":
        kind = media_type_of(part) or "image/jpeg"
        source = _source(part, "image/jpeg" if kind == "image/jpg" else kind)
        return _hinted({"type": "image", "source": source}, part.cache)
    if part.kind != "document":
        raise InvalidRequest(f"This provider cannot be sent content of type {part.kind}.", param="messages")
    kind = media_type_of(part) or "application/pdf"
    if part.data is not None and kind.startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(part.data)}
    elif part.url is None and kind != "application/pdf":
        raise InvalidRequest(f"This provider cannot be sent a document of type {kind}.", param="messages")
    else:
        source = _source(part, kind)
    block: Block = {"type": "document", "source": source}
    if part.name:
        block["title"] = part.name
    return _hinted(block, part.cache)


def _source(part: Media, media_type: str) -> Block:
    if part.data is not None:
        return {"type": "base64", "media_type": media_type, "data": part.data}
    if part.url:
        return {"type": "url", "url": part.url}
    raise InvalidRequest(f"A part of type {part.kind} has neither a URL nor data.", param="messages")


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("A document's data is not valid base64.", param="messages") from error


def _hinted(block: Block, hint: CacheHint | None) -> Block:
    if hint is not None:
        block["cache_control"] = cache_control(hint)
    return block
