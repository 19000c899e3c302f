"""The messages of a conversation as OpenAI chat lists them."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Any

from arbstr.dialects.chat.answer import NO_ARGUMENTS, call_object
from arbstr.dialects.chat.models import Family
from arbstr.dialects.media import media_type_of
from arbstr.domain.answer import ToolCallBegin
from arbstr.domain.conversation import (
    CacheHint,
    Conversation,
    Media,
    Message,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from arbstr.domain.errors import InvalidRequest

Object = dict[str, Any]

LONGEST_ID = 40
"""Characters of a tool call's id, above which OpenAI refuses it."""

_ATTACHED = "The result is attached to the next message."
_FOREIGN = ("gemini#", "openai:")
"""How signatures begin that only another vendor can read."""
_TEXT = ("text/", "application/json", "application/xml")
_AUDIO = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav"}


class Turns:
    """Writes messages for one family of models, and notes in ``dropped`` what it cannot say."""

    def __init__(self, family: Family, dropped: list[str]) -> None:
        self._family = family
        self._dropped = dropped

    def write(self, conversation: Conversation) -> list[Object]:
        messages: list[Object] = []
        if conversation.instructions:
            messages.append({"role": "system", "content": self._content(conversation.instructions, "\n\n")})
        for message in conversation.messages:
            messages += self._user(message) if message.role is Role.USER else self._assistant(message)
        return messages

    def _user(self, message: Message) -> list[Object]:
        """Results of tools first, for they must follow their calls; what they show goes into the user's message."""
        results: list[Object] = []
        said: list[Text | Media] = []
        shown: list[Text | Media] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                results.append(self._result(part))
                shown += [piece for piece in part.content if isinstance(piece, Media)]
            elif isinstance(part, Text | Media):
                said.append(part)
            else:
                self._dropped.append("messages.content")
        parts = shown + said
        if not parts and results:
            return results
        content = self._content(parts, "\n")
        return [*results, _named({"role": "user", "content": content}, message)]

    def _result(self, result: ToolResult) -> Object:
        texts = [part for part in result.content if isinstance(part, Text)]
        content = self._content(texts, "\n")
        if not texts and result.content:
            content = _ATTACHED
        if result.is_error and isinstance(content, str) and not content.lower().startswith("error"):
            content = f"Error: {content}"  # there is no other way to say so
        said: Object = {"role": "tool", "tool_call_id": short_id(result.id), "content": content}
        if result.cache is not None:
            self._cache(result.cache, said)
        return said

    def _assistant(self, message: Message) -> list[Object]:
        said: Object = {"role": "assistant"}
        texts = [part for part in message.parts if isinstance(part, Text)]
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        refusals = "".join(part.text for part in message.parts if isinstance(part, Refusal))
        said["content"] = self._content(texts, "") if texts or not (calls or refusals) else None
        if refusals:
            said["refusal"] = refusals
        if calls:
            said["tool_calls"] = [self._call(call) for call in calls]
        if any(isinstance(part, Media | ToolResult) for part in message.parts):
            self._dropped.append("messages.content")
        self._think([part for part in message.parts if isinstance(part, Thinking)], said)
        return [_named(said, message)]

    def _think(self, thoughts: list[Thinking], said: Object) -> None:
        """Reasoning, to those who want it back. Others refuse the field."""
        if not thoughts:
            return
        if self._family.thoughts == "reasoning_content":
            said["reasoning_content"] = "".join(thought.text for thought in thoughts)
            return
        details = [detail for thought in thoughts if (detail := _detail(thought))]
        if self._family.thoughts == "reasoning_details" and details:
            said["reasoning_details"] = details
        else:
            self._dropped.append("reasoning_content")

    def _call(self, call: ToolCall) -> Object:
        signature = call.signature if self._family.signatures else None
        begin = ToolCallBegin(0, short_id(call.id), call.name, signature=signature)
        said = call_object(begin, call.arguments or NO_ARGUMENTS)
        if call.cache is not None:
            self._cache(call.cache, said)
        return said

    def _content(self, parts: Iterable[Text | Media], between: str) -> str | list[Object]:
        """One string where there is only text, for that is what every server and every chat template takes."""
        parts = list(parts)
        hinted = any(part.cache is not None for part in parts)
        if hinted and not self._family.cache_control:
            self._dropped.append("cache_control")
            hinted = False
        if not hinted and all(isinstance(part, Text) for part in parts):
            return between.join(part.text for part in parts if isinstance(part, Text))
        return [self._part(part) for part in parts]

    def _part(self, part: Text | Media) -> Object:
        said = {"type": "text", "text": part.text} if isinstance(part, Text) else _media(part)
        if part.cache is not None and self._family.cache_control:
            self._cache(part.cache, said)
        return said

    def _cache(self, hint: CacheHint, said: Object) -> None:
        if self._family.cache_control:
            said["cache_control"] = cache_control(hint)
        else:
            self._dropped.append("cache_control")


def cache_control(hint: CacheHint) -> Object:
    """A cache hint, as OpenRouter and LiteLLM take it for Claude."""
    return {"type": "ephemeral"} if hint.ttl is None else {"type": "ephemeral", "ttl": hint.ttl}


def short_id(id: str) -> str:
    """``id``, or what stands for one that is too long, the same each time."""
    if len(id) <= LONGEST_ID:
        return id
    return "call_" + hashlib.blake2b(id.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _named(said: Object, message: Message) -> Object:
    return said if message.name is None else {**said, "name": message.name}


def _detail(thought: Thinking) -> Object | None:
    """A thought with its proof, as OpenRouter takes it back; None for one that would prove nothing there."""
    if thought.redacted is not None:
        foreign = thought.redacted.startswith(_FOREIGN)
        return None if foreign else {"type": "reasoning.encrypted", "data": thought.redacted}
    if thought.signature is None or thought.signature.startswith(_FOREIGN):
        return None
    return {"type": "reasoning.text", "text": thought.text, "signature": thought.signature}


def _media(part: Media) -> Object:
    media_type = media_type_of(part)
    match part.kind:
        case "image":
            image = {"url": _url(part, media_type or "image/png")}
            if part.detail is not None:
                image["detail"] = part.detail
            return {"type": "image_url", "image_url": image}
        case "audio":
            if part.data is None:
                raise InvalidRequest("Audio at a URL cannot be sent to this model's provider.", param="messages")
            kind = media_type or "audio/wav"
            form = _AUDIO.get(kind) or kind.partition("/")[2]
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": form}}
    if part.data is not None and (media_type or "").startswith(_TEXT):
        return {"type": "text", "text": _decoded(part.data)}
    file = {"filename": part.name or "document.pdf", "file_data": _url(part, media_type or "application/pdf")}
    return {"type": "file", "file": file}


def _url(part: Media, media_type: str) -> str:
    return part.url if part.url is not None else f"data:{media_type};base64,{part.data}"


def _decoded(data: str) -> str:
    """The text of a document that is one: this API takes PDFs alone as files."""
    try:
        return base64.b64decode(data).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        raise InvalidRequest("A document's base64 cannot be read.", param="messages") from None
