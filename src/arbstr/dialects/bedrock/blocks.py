"""Messages as Converse takes them: turns of user and assistant in alternation, made of content blocks."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from arbstr.dialects.anthropic.content import GO_ON
from arbstr.dialects.bedrock.models import Family
from arbstr.dialects.media import media_type_of
from arbstr.domain.conversation import (
    CacheHint,
    Conversation,
    Media,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from arbstr.domain.errors import InvalidRequest

MOST_CACHE_POINTS = 4
"""In the messages; the earliest are left out, for the later reach further."""

_Json = dict[str, Any]
_decode = msgspec.json.Decoder().decode

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_AUDIO = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/aac": "aac",
    "audio/mp4": "m4a",
    "audio/webm": "webm",
}
_FORMATS = {"image": _IMAGES, "document": _DOCUMENTS, "audio": _AUDIO}
_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_FOREIGN = re.compile(r"[a-z]{1,16}[#:]")
"""How another vendor's proofs of reasoning begin. Claude's are base64, and hold at Anthropic and at Bedrock alike."""


class Blocks:
    """The turns as they are written, and what could not be said."""

    def __init__(self, family: Family) -> None:
        self.turns: list[_Json] = []
        self.dropped: set[str] = set()
        self.tool_names: dict[str, None] = {}
        """The tools that were called, in order: a request that speaks of tools must name some."""
        self._family = family
        self._documents = 0

    def write(self, conversation: Conversation) -> None:
        """Add all messages. Raises InvalidRequest for media of a form that Converse does not know."""
        for message in conversation.messages:
            if message.name is not None:
                self.dropped.add("name")
            blocks = [block for part in message.parts for block in self.part(part)]
            if message.role is Role.USER:
                blocks.sort(key=lambda block: "toolResult" not in block)  # they must come first
                if any("document" in block for block in blocks) and not any("text" in block for block in blocks):
                    blocks.append({"text": GO_ON})  # a document does not come without a text
            self._add(message.role.value, blocks)
        if self.turns and self.turns[0]["role"] == "assistant":
            self.turns.insert(0, {"role": "user", "content": [{"text": GO_ON}]})

    def end_with_user(self, *, prefill: bool) -> None:
        """Let the last turn be the user's, or, with ``prefill``, a text of the assistant's that goes on."""
        if not self.turns or self.turns[-1]["role"] == "user":
            return
        content = self.turns[-1]["content"]
        last: _Json = next((block for block in reversed(content) if "cachePoint" not in block), {})
        if "toolUse" in last:
            return
        if prefill and "text" in last:
            last["text"] = last["text"].rstrip()  # white space at the end is refused
        else:
            self.turns.append({"role": "user", "content": [{"text": GO_ON}]})

    def spare_cache_points(self) -> None:
        """Take the earliest cache points away where there are more than are taken."""
        points = [(turn, block) for turn in self.turns for block in turn["content"] if "cachePoint" in block]
        for turn, point in points[:-MOST_CACHE_POINTS]:
            turn["content"] = [block for block in turn["content"] if block is not point]
            self.dropped.add("cache_control")

    def cache_point(self, hint: CacheHint | None) -> list[_Json]:
        """What follows the block that ``hint`` was on."""
        if hint is None:
            return []
        if not self._family.cache:
            self.dropped.add("cache_control")
            return []
        point: _Json = {"type": "default"}
        if hint.ttl and self._family.cache_ttl:
            point["ttl"] = hint.ttl
        return [{"cachePoint": point}]

    def part(self, part: Part) -> list[_Json]:
        match part:
            case Text(text=text, cache=cache):
                return [{"text": text}, *self.cache_point(cache)] if text.strip() else []
            case Refusal(text=text):
                return [{"text": text}] if text.strip() else []
            case Media():
                return [self._media(part), *self.cache_point(part.cache)]
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part)
            case Thinking():
                return self._thinking(part)

    def _add(self, role: str, blocks: list[_Json]) -> None:
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        else:
            self.turns.append({"role": role, "content": blocks})

    def _call(self, call: ToolCall) -> list[_Json]:
        self.tool_names[call.name] = None
        use = {"toolUseId": _tool_id(call.id), "name": call.name, "input": _arguments(call.arguments)}
        return [{"toolUse": use}, *self.cache_point(call.cache)]

    def _result(self, result: ToolResult) -> list[_Json]:
        content = [
            {"text": part.text} if isinstance(part, Text) else self._media(part)
            for part in result.content
            if not isinstance(part, Text) or part.text.strip()
        ]
        written: _Json = {"toolUseId": _tool_id(result.id), "content": content}
        if result.is_error and self._family.result_status:
            written["status"] = "error"
        return [{"toolResult": written}, *self.cache_point(result.cache)]

    def _thinking(self, thinking: Thinking) -> list[_Json]:
        proof = thinking.redacted or thinking.signature
        if self._family.reasoning != "claude" or not proof or _FOREIGN.match(proof):
            self.dropped.add("reasoning_content")
            return []
        if thinking.redacted:
            return [{"reasoningContent": {"redactedContent": thinking.redacted}}]
        return [{"reasoningContent": {"reasoningText": {"text": thinking.text, "signature": thinking.signature}}}]

    def _media(self, media: Media) -> _Json:
        if media.detail in ("low", "high"):
            self.dropped.add("detail")
        kind = media_type_of(media)
        form = _FORMATS.get(media.kind, {}).get(kind or "")
        if form is None:
            said = f"messages has a piece of media ({media.kind}) of the type {(kind or 'unknown')[:60]}"
            raise InvalidRequest(f"{said}, which Bedrock does not take.", param="messages")
        written: _Json = {"format": form, "source": _source(media)}
        if media.kind == "document":
            written["name"] = self._document_name(media.name)
        return {media.kind: written}

    def _document_name(self, name: str | None) -> str:
        """Names must differ, and have neither dots nor other signs than these."""
        self._documents += 1
        stem = (name or "").rpartition(".")[0] or name or ""
        clean = " ".join(re.sub(r"[^a-zA-Z0-9 ()\[\]-]+", "-", stem).split())[:150]
        return f"{clean or 'document'} {self._documents}"


def _source(media: Media) -> _Json:
    if media.data is not None:
        return {"bytes": media.data}
    if media.url and media.url.startswith("s3://"):
        return {"s3Location": {"uri": media.url}}
    raise InvalidRequest(
        f"messages has a piece of media ({media.kind}) at a URL; Bedrock takes it as base64, or from s3://.",
        param="messages",
    )


def _tool_id(value: str) -> str:
    """``value``, or a name made of it where it is refused. The same for a call and its result."""
    if _ID.fullmatch(value):
        return value
    return "call_" + hashlib.blake2b(value.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _arguments(text: str) -> msgspec.Raw | _Json:
    """Arguments as an object. What the model wrote that is none travels as text under ``arguments``."""
    if not text.strip():
        return {}
    try:
        found = _decode(text)
    except (ValueError, RecursionError):
        found = None
    return msgspec.Raw(text.encode("utf-8", "replace")) if type(found) is dict else {"arguments": text}
