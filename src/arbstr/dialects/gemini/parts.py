"""Messages as Gemini's ``contents``: turns of ``user`` and ``model``, made of parts."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.dialects.gemini.models import Generation
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

SIGNED = "gemini#"
"""How a signature of Gemini's thinking begins outside of this dialect, so that it is never sent to another vendor, nor
another's to Gemini: either would be refused."""

NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google's documentation gives for calls that were not made by Gemini, and so have no signature."""

_decode = msgspec.json.Decoder().decode
_Json = dict[str, Any]


class Contents:
    """The turns as they are written, and what could not be said."""

    def __init__(self, generation: Generation) -> None:
        self.turns: list[_Json] = []
        self.dropped: set[str] = set()
        self._generation = generation
        self._names: dict[str, str] = {}
        """Of the tools that were called, by the call's id: a result must repeat it."""

    def write(self, conversation: Conversation) -> None:
        """Add all messages. Raises InvalidRequest for a result without a call, and for media without a type."""
        for message in conversation.messages:
            self._message(message)

    def _message(self, message: Message) -> None:
        if message.name is not None:
            self.dropped.add("name")
        if message.role is Role.ASSISTANT:
            self._add("model", self._model(message.parts))
            return
        # The results of calls come first, whatever the caller's order: they must follow the calls at once.
        results = [one for part in message.parts if isinstance(part, ToolResult) for one in self._result(part)]
        others = [one for part in message.parts if not isinstance(part, ToolResult) for one in self._part(part)]
        self._add("user", results + others)

    def _add(self, role: str, parts: list[_Json]) -> None:
        if not parts:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["parts"] += parts
        else:
            self.turns.append({"role": role, "parts": parts})

    def _model(self, parts: tuple[Part, ...]) -> list[_Json]:
        written: list[_Json] = []
        first_call = True
        for part in parts:
            if isinstance(part, ToolCall):
                written.append(self._call(part, first=first_call))
                first_call = False
            else:
                written += self._part(part)
        return written

    def _part(self, part: Part) -> list[_Json]:
        match part:
            case Text(text=text, cache=cache):
                self._cache(cache)
                return [{"text": text}] if text else []
            case Refusal(text=text):
                return [{"text": text}] if text else []
            case Media():
                return [self._media(part)]
            case Thinking():
                return self._thinking(part)
            case ToolCall():
                return [self._call(part, first=True)]
            case ToolResult():
                return self._result(part)

    def _call(self, call: ToolCall, *, first: bool) -> _Json:
        self._cache(call.cache)
        self._names[call.id] = call.name
        written: _Json = {"functionCall": {"id": call.id, "name": call.name, "args": arguments(call.arguments)}}
        # Of parallel calls only the first is signed.
        signature = call.signature or (NO_SIGNATURE if first and self._generation.signatures else None)
        if signature:
            written["thoughtSignature"] = signature
        return written

    def _result(self, result: ToolResult) -> list[_Json]:
        self._cache(result.cache)
        name = result.name or self._names.get(result.id)
        if not name:
            raise InvalidRequest(
                f"messages has the result of a tool call {result.id!r:.80} that was not made.", param="messages"
            )
        text = "\n".join(part.text for part in result.content if isinstance(part, Text))
        response = {"error" if result.is_error else "output": text}
        media = [self._media(part) for part in result.content if isinstance(part, Media)]
        return [{"functionResponse": {"id": result.id, "name": name, "response": response}}, *media]

    def _media(self, media: Media) -> _Json:
        self._cache(media.cache)
        if media.detail in ("low", "high"):
            self.dropped.add("detail")
        kind = media_type_of(media)
        if media.data is None:
            if not media.url:
                raise InvalidRequest(f"messages has a piece of media ({media.kind}) without data.", param="messages")
            return {"fileData": {"fileUri": media.url, **({"mimeType": kind} if kind else {})}}
        if kind is None:
            raise InvalidRequest(f"messages has a piece of media ({media.kind}) of an unknown type.", param="messages")
        return {"inlineData": {"mimeType": kind, "data": media.data}}

    def _thinking(self, thinking: Thinking) -> list[_Json]:
        """What was thought is only given back where Gemini itself has signed it."""
        if thinking.signature is None or not thinking.signature.startswith(SIGNED):
            self.dropped.add("reasoning_content")
            return []
        signature = thinking.signature[len(SIGNED) :]
        if not thinking.text:
            return [{"text": "", "thoughtSignature": signature}]
        return [{"text": thinking.text, "thought": True, "thoughtSignature": signature}]

    def _cache(self, hint: CacheHint | None) -> None:
        if hint is not None:  # Gemini caches by itself; otherwise a cache is a thing of its own, made beforehand
            self.dropped.add("cache_control")


def arguments(text: str) -> msgspec.Raw | _Json:
    """Arguments as an object. What the model wrote that is none travels as text under ``arguments``."""
    if not text.strip():
        return {}
    try:
        found = _decode(text)
    except (ValueError, RecursionError):
        found = None
    # As its bytes, so that no number loses a digit.
    return msgspec.Raw(text.encode("utf-8", "replace")) if type(found) is dict else {"arguments": text}
