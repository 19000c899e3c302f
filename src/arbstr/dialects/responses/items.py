"""Input items of the Responses dialect, read into messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.body import wrong
from arbstr.dialects.responses import seal as responses_seal
from arbstr.dialects.responses.request import SEND_ITEMS, item_type
from arbstr.dialects.responses.tools import custom_arguments, flat_name
from arbstr.domain.conversation import (
    CacheHint,
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

_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^;,]+)*;base64,", re.IGNORECASE)
_PAST = ("web_search_call", "image_generation_call", "file_search_call", "tool_search_")
"""Beginnings of the types of items that only tell how an earlier answer came about; the answer itself is a message."""
_AUDIO = {"mp3": "audio/mpeg"}
_TTLS = {"30m": "1h", "12h": "1h"}


class Items(msgspec.Struct, frozen=True):
    """What the input says. Instructions are what system and developer messages say, wherever they stand."""

    instructions: tuple[Text, ...]
    messages: tuple[Message, ...]
    dropped: tuple[str, ...]


def read_items(value: object) -> Items:
    """The ``input`` of a request. Raises :class:`InvalidRequest` for items that only OpenAI's own servers can read."""
    if type(value) is str and value:
        return Items((), (Message(Role.USER, (Text(value),)),), ())
    if type(value) is not list or not value:
        raise wrong("input", value or None, "a text or a list of at least one item")
    reader = _Reader()
    for index, item in enumerate(value):
        param = f"input[{index}]"
        kind = item_type(item, param)
        read = _READERS.get(kind)
        if read is not None:
            read(reader, item, param)
        elif kind.startswith(_PAST):
            reader.dropped[f"input.{kind}"] = None
        elif kind == "item_reference":
            raise InvalidRequest(
                f"{param} refers to a stored item, and this gateway stores none; {SEND_ITEMS}.", param=param
            )
        else:
            raise InvalidRequest(f"{param} is of type {kind!r}, which no provider of this model can read.", param=param)
    return reader.items()


class _Reader:
    """Collects messages: items of the assistant, and results of tools, that follow each other are one turn."""

    def __init__(self) -> None:
        self.instructions: list[Text] = []
        self.dropped: dict[str, None] = {}
        self._messages: list[tuple[Role, list[Part]]] = []
        self._joins: str | None = None
        self._signatures: dict[str, str] = {}

    def message(self, item: dict[str, Any], param: str) -> None:
        role = item["role"]
        parts = _content(item["content"], f"{param}.content")
        if role in ("system", "developer"):
            for part in parts:
                if not isinstance(part, Text):
                    raise InvalidRequest(f"{param}.content may only have text: it is for instructions.", param=param)
                self.instructions.append(part)
        elif role == "user":
            self._add(Role.USER, parts, None)
        elif role == "assistant":
            self._add(Role.ASSISTANT, parts, "assistant")
        else:
            raise wrong(f"{param}.role", role, '"user", "assistant", "system" or "developer"')

    def reasoning(self, item: dict[str, Any], param: str) -> None:
        encrypted = item.get("encrypted_content")
        if type(encrypted) is str and encrypted.startswith(responses_seal.TOOL_CALL):
            call_id, _, signature = encrypted[len(responses_seal.TOOL_CALL) :].partition(":")
            self._signatures[call_id] = signature
            return
        said = [_texts(item.get(name), f"{param}.{name}") for name in ("summary", "content")]
        if type(encrypted) is str and encrypted and not encrypted.startswith(responses_seal.FOREIGN):
            self.dropped["input.encrypted_content"] = None
        thinking = _thinking("\n\n".join(text for texts in said for text in texts), encrypted)
        if thinking is not None:
            self._add(Role.ASSISTANT, [thinking], "assistant")

    def function_call(self, item: dict[str, Any], param: str) -> None:
        arguments = item.get("arguments")
        self._call(item, param, _string(arguments, f"{param}.arguments") if arguments else "{}")

    def custom_tool_call(self, item: dict[str, Any], param: str) -> None:
        found = item.get("input")
        self._call(item, param, custom_arguments(_string(found, f"{param}.input") if found else ""))

    def _call(self, item: dict[str, Any], param: str, arguments: str) -> None:
        call_id = _string(item.get("call_id"), f"{param}.call_id")
        name = flat_name(_string(item.get("name"), f"{param}.name"), lenient.text(item.get("namespace")))
        signature = self._signatures.pop(call_id, None)
        self._add(Role.ASSISTANT, [ToolCall(call_id, name, arguments, signature)], "assistant")

    def tool_output(self, item: dict[str, Any], param: str) -> None:
        call_id = _string(item.get("call_id"), f"{param}.call_id")
        content: list[Text | Media] = []
        for part in _content(item.get("output"), f"{param}.output"):
            if not isinstance(part, Text | Media):
                raise InvalidRequest(f"{param}.output may only have texts, images and files.", param=f"{param}.output")
            content.append(part)
        self._add(Role.USER, [ToolResult(call_id, tuple(content), lenient.text(item.get("name")))], "output")

    def items(self) -> Items:
        messages = tuple(Message(role, tuple(parts)) for role, parts in self._messages)
        return Items(tuple(self.instructions), messages, tuple(self.dropped))

    def _add(self, role: Role, parts: list[Part], joins: str | None) -> None:
        if joins is not None and joins == self._joins:
            self._messages[-1][1].extend(parts)
        elif parts:
            self._messages.append((role, parts))
            self._joins = joins


_READERS: dict[str, Callable[[_Reader, dict[str, Any], str], None]] = {
    "message": _Reader.message,
    "reasoning": _Reader.reasoning,
    "function_call": _Reader.function_call,
    "custom_tool_call": _Reader.custom_tool_call,
    "function_call_output": _Reader.tool_output,
    "custom_tool_call_output": _Reader.tool_output,
}


def _thinking(text: str, encrypted: object) -> Thinking | None:
    """What OpenAI encrypted nobody else can read: of it, only the summary is left."""
    if type(encrypted) is str and encrypted.startswith(responses_seal.REDACTED):
        return Thinking("", redacted=encrypted[len(responses_seal.REDACTED) :])
    if type(encrypted) is str and encrypted.startswith(responses_seal.SIGNATURE):
        return Thinking(text, encrypted[len(responses_seal.SIGNATURE) :])
    return Thinking(text) if text else None


def _texts(value: object, param: str) -> list[str]:
    if value is None:
        return []
    if type(value) is not list:
        raise wrong(param, value, "a list of texts")
    return [text for part in value if type(part) is dict and (text := lenient.text(part.get("text")))]


def _content(value: object, param: str) -> list[Part]:
    if type(value) is str:
        return [Text(value)] if value else []
    if type(value) is not list:
        raise wrong(param, value, "a string or a list of content parts")
    parts = [_part(part, f"{param}[{index}]") for index, part in enumerate(value)]
    return [part for part in parts if part != Text("")]


def _part(part: Any, param: str) -> Part:
    if type(part) is not dict:
        raise wrong(param, part, "an object")
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            text = part.get("text")
            return Text("") if text == "" else Text(_string(text, f"{param}.text"), _cache(part))
        case "refusal":
            return Refusal(_string(part.get("refusal"), f"{param}.refusal"))
        case "input_image":
            return _image(part, param)
        case "input_file":
            return _file(part, param)
        case "input_audio":
            audio = part.get("input_audio")
            if type(audio) is not dict:
                raise wrong(f"{param}.input_audio", audio, "an object")
            data = _string(audio.get("data"), f"{param}.input_audio.data")
            said = lenient.text(audio.get("format"))
            return Media("audio", data=data, media_type=_AUDIO.get(said, f"audio/{said}") if said else None)
        case other:
            expected = '"input_text", "input_image", "input_file", "input_audio", "output_text" or "refusal"'
            raise wrong(f"{param}.type", other, expected)


def _image(part: dict[str, Any], param: str) -> Media:
    _refuse_file_id(part, param)
    url = _string(part.get("image_url"), f"{param}.image_url")
    detail, cache = lenient.text(part.get("detail")), _cache(part)
    if url[:5].lower() != "data:":
        return Media("image", url=url, detail=detail, cache=cache)
    data, media_type = _data(url, f"{param}.image_url")
    return Media("image", data=data, media_type=media_type, detail=detail, cache=cache)


def _file(part: dict[str, Any], param: str) -> Media:
    _refuse_file_id(part, param)
    name, cache = lenient.text(part.get("filename")), _cache(part)
    if (url := part.get("file_url")) is not None:
        return Media("document", url=_string(url, f"{param}.file_url"), name=name, cache=cache)
    data, media_type = _data(_string(part.get("file_data"), f"{param}.file_data"), f"{param}.file_data")
    return Media("document", data=data, media_type=media_type, name=name, cache=cache)


def _data(said: str, param: str) -> tuple[str, str | None]:
    """The base64 in a data URL, and its media type; or base64 alone."""
    if said[:5].lower() != "data:":
        return said, None
    found = _DATA_URL.match(said[:512])
    if found is None or found.end() == len(said):
        raise InvalidRequest(f"{param} must be a data URL such as data:image/png;base64,…", param=param)
    return said[found.end() :], found[1].lower() or None


def _refuse_file_id(part: dict[str, Any], param: str) -> None:
    if part.get("file_id") is not None:
        raise InvalidRequest(
            f"{param}.file_id names a file that is stored with OpenAI; send its data or its URL.",
            param=f"{param}.file_id",
        )


def _cache(part: dict[str, Any]) -> CacheHint | None:
    found = part.get("prompt_cache_breakpoint")
    if type(found) is not dict:
        return None
    ttl = found.get("ttl")
    return CacheHint(_TTLS.get(ttl) if type(ttl) is str else None)


def _string(value: object, param: str) -> str:
    if type(value) is str and value:
        return value
    raise wrong(param, value, "a string" if type(value) is not str else "a string that is not empty")
