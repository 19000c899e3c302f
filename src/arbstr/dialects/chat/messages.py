"""The messages of an OpenAI chat caller, in no vendor's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from arbstr.dialects import lenient
from arbstr.dialects.body import wrong
from arbstr.dialects.chat.parts import Object, cache_of, media, text_of
from arbstr.domain.conversation import (
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


class Dialogue:
    """The messages of one request as they are read: instructions apart, neighbouring tool results in one message."""

    def __init__(self) -> None:
        self.instructions: list[Text] = []
        self.messages: list[Message] = []
        self.dropped: list[str] = []
        """What of the messages has no place here."""
        self._results: list[ToolResult] = []
        self._legacy: dict[str, str] = {}
        """The id that the last ``function_call`` of a name was given, for the ``function`` message that answers it."""

    def read(self, messages: list[Object]) -> Dialogue:
        """Raises InvalidRequest for what has no meaning, with the place where it is."""
        for index, message in enumerate(messages):
            self._read(message, f"messages[{index}]", index)
        self._flush()
        return self

    def _read(self, message: Object, at: str, index: int) -> None:
        match message.get("role"):
            case "tool" | "function" as role:
                self._results.append(self._result(message, at, legacy=role == "function"))
                return
            case "system" | "developer":
                self.instructions += _texts(message.get("content"), at, message)
                if message.get("name") is not None:
                    self.dropped.append("messages.name")
            case "user":
                self._flush()
                parts: list[Part] = [*_content(message.get("content"), at, message)]
                self.messages.append(Message(Role.USER, tuple(parts), _name(message, at)))
            case "assistant":
                self._flush()
                parts = [*_thinking(message), *self._said(message, at), *self._calls(message, at, index)]
                self.messages.append(Message(Role.ASSISTANT, tuple(parts), _name(message, at)))
            case role:
                raise wrong(f"{at}.role", role, "system, developer, user, assistant or tool")

    def _flush(self) -> None:
        if self._results:
            self.messages.append(Message(Role.USER, tuple(self._results)))
            self._results = []

    def _result(self, message: Object, at: str, *, legacy: bool) -> ToolResult:
        name = _name(message, at)
        if legacy:
            if not name:
                raise wrong(f"{at}.name", name, "the name of the function")
            id = self._legacy.get(name) or f"call_{name}"[:40]
        else:
            id = message.get("tool_call_id") or ""
            if type(id) is not str or not id:
                raise wrong(f"{at}.tool_call_id", message.get("tool_call_id"), "the id of a tool call")
        content = tuple(_content(message.get("content"), at, message, wholly=False))
        return ToolResult(id, content, name=name, cache=cache_of(message))

    def _said(self, message: Object, at: str) -> Iterator[Part]:
        content = message.get("content")
        if content is not None:
            for index, part in enumerate(content if type(content) is list else [content]):
                where = f"{at}.content[{index}]" if type(content) is list else f"{at}.content"
                yield from _assistant_part(part, where, message)
        refusal = message.get("refusal")
        if refusal is not None:
            if type(refusal) is not str:
                raise wrong(f"{at}.refusal", refusal, "a string")
            if refusal:
                yield Refusal(refusal)
        if message.get("audio") is not None:
            self.dropped.append("messages.audio")

    def _calls(self, message: Object, at: str, index: int) -> Iterator[ToolCall]:
        calls = message.get("tool_calls")
        if calls is not None and type(calls) is not list:
            raise wrong(f"{at}.tool_calls", calls, "a list of tool calls")
        for number, call in enumerate(calls or ()):
            yield _call(call, f"{at}.tool_calls[{number}]")
        legacy = message.get("function_call")
        if legacy is not None:
            name, arguments = _function(legacy, f"{at}.function_call")
            self._legacy[name] = f"call_{index}_{name}"[:40]
            yield ToolCall(self._legacy[name], name, arguments)


def _call(call: Any, at: str) -> ToolCall:
    if type(call) is not dict:
        raise wrong(at, call, "an object")
    id = call.get("id")
    if type(id) is not str or not id:
        raise wrong(f"{at}.id", id, "the id of the call")
    if call.get("type", "function") not in ("function", None):
        raise InvalidRequest(
            f"{at} is a call of type {call['type']!r}, which this model's provider does not know.", param=f"{at}.type"
        )
    name, arguments = _function(call.get("function"), f"{at}.function")
    return ToolCall(id, name, arguments, signature=_signature(call), cache=cache_of(call))


def _function(function: Any, at: str) -> tuple[str, str]:
    """The name and the arguments. Arguments that are no text are what some callers send for their JSON."""
    if type(function) is not dict:
        raise wrong(at, function, "an object with a name and arguments")
    name, arguments = function.get("name"), function.get("arguments")
    if type(name) is not str or not name:
        raise wrong(f"{at}.name", name, "the name of the function")
    if arguments is not None and type(arguments) is not str:
        raise wrong(f"{at}.arguments", arguments, "a string of JSON")
    return name, arguments or ""


def _signature(call: Object) -> str | None:
    """A vendor's proof of its reasoning, where Gemini's own OpenAI endpoint puts it."""
    extra = call.get("extra_content")
    google = extra.get("google") if type(extra) is dict else None
    return lenient.text(google.get("thought_signature")) if type(google) is dict else None


def _name(message: Object, at: str) -> str | None:
    name = message.get("name")
    if name is not None and type(name) is not str:
        raise wrong(f"{at}.name", name, "a string")
    return name or None


def _texts(content: Any, at: str, message: Object) -> Iterator[Text]:
    for part in _content(content, at, message):
        if not isinstance(part, Text):
            raise InvalidRequest(f"{at}.content may only have text.", param=f"{at}.content")
        yield part


def _content(content: Any, at: str, message: Object, *, wholly: bool = True) -> Iterator[Text | Media]:
    """A string, or a list of parts. ``wholly``: a cache hint of the message is its last part's."""
    if type(content) is str:
        if content:
            yield Text(content, cache_of(message) if wholly else None)
        return
    if type(content) is not list:
        raise wrong(f"{at}.content", content, "a string or a list of content parts")
    for index, part in enumerate(content):
        where = f"{at}.content[{index}]"
        if type(part) is not dict:
            raise wrong(where, part, "an object")
        found = media(part, where) if part.get("type") not in ("text", "input_text") else text_of(part, where)
        if found is not None:
            yield found


def _assistant_part(part: Any, at: str, message: Object) -> Iterator[Part]:
    if type(part) is str:
        if part:
            yield Text(part, cache_of(message))
        return
    if type(part) is not dict:
        raise wrong(at, part, "a string or a list of content parts")
    match part.get("type"):
        case "refusal":
            refusal = part.get("refusal")
            if type(refusal) is not str:
                raise wrong(f"{at}.refusal", refusal, "a string")
            if refusal:
                yield Refusal(refusal)
        case "text" | "output_text":
            if text := text_of(part, at):
                yield text
        case "thinking" | "redacted_thinking":
            yield from _block(part)
        case _:
            yield media(part, at)


def _thinking(message: Object) -> Iterator[Thinking]:
    """Reasoning that is given back, in the first form that says something: LiteLLM's blocks, OpenRouter's details, or
    the plain text that most servers name ``reasoning_content``."""
    plain = lenient.text(message.get("reasoning_content")) or lenient.text(message.get("reasoning"))
    blocks = message.get("thinking_blocks")
    if type(blocks) is list and (found := [each for block in blocks for each in _block(block)]):
        yield from found
        return
    details = message.get("reasoning_details")
    found = [each for detail in details for each in _detail(detail)] if type(details) is list else []
    if plain and not any(each.text for each in found):
        signatures = [each.signature for each in found if each.signature]
        yield Thinking(plain, signatures[0] if len(signatures) == 1 else None)
        found = [each for each in found if each.redacted]
    yield from found


def _block(block: Any) -> Iterator[Thinking]:
    if type(block) is dict:
        text, data = lenient.text(block.get("thinking")), lenient.text(block.get("data"))
        if text:
            yield Thinking(text, lenient.text(block.get("signature")))
        elif data:
            yield Thinking("", redacted=data)


def _detail(detail: Any) -> Iterator[Thinking]:
    if type(detail) is dict:
        text = lenient.text(detail.get("text")) or lenient.text(detail.get("summary")) or ""
        signature, data = lenient.text(detail.get("signature")), lenient.text(detail.get("data"))
        if data:
            yield Thinking("", redacted=data)
        elif text or signature:
            yield Thinking(text, signature)
