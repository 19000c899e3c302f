"""How large the input of a request can be at most, as its dialect says it.

Looked at only where money is limited. Most requests are text alone, and their size is known since they were parsed;
what else is in a request is looked for by the names of fields and types, in all callers' dialects at once: they do not
contradict each other. Whatever is not known counts as text by its bytes.

Of what is sent inline, an image is told by its pixels and sound by its bytes. A document is not: a page that takes a
hundred bytes of a compressed file is charged as an image and as text. It has no bound here, nor has a video, or what
is only referred to.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.pictures import size_of
from arbstr.domain.bounds import Bounds, Picture
from arbstr.domain.request import ChatRequest

_TURNS = {"openai": "messages", "anthropic": "messages", "responses": "input"}
"""The field with the conversation. The other dialects are text alone, and tokens."""

_TEXTS = ("system", "instructions", "tools", "functions")
_FORMATS = ("response_format", "output_format", "output_config", "text")
_COUNTED = frozenset({"messages", "input", "prompt", "suffix", *_TEXTS})
"""Fields that the parsers count, beside the formats."""
_SILENT = frozenset(
    {
        *("model", "stream", "stream_options", "n", "best_of", "echo", "stop", "stop_sequences", "user", "metadata"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "truncation", "store", "background", "include"),
        *("temperature", "top_p", "top_k", "min_p", "seed", "logit_bias", "logprobs", "top_logprobs"),
        *("presence_penalty", "frequency_penalty", "repetition_penalty", "service_tier", "speed"),
        *("tool_choice", "function_call", "parallel_tool_calls", "modalities", "audio", "verbosity"),
        *("reasoning", "reasoning_effort", "thinking", "encoding_format", "dimensions"),
        *("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "client_metadata"),
    }
)
"""Fields that put nothing before the model."""
_ELSEWHERE = frozenset(
    {
        "web_search_options",
        "search_parameters",
        "plugins",
        "data_sources",
        "mcp_servers",
        "container",
        "context_management",
        "previous_response_id",
        "conversation",
    }
)
"""Fields by which the vendor puts more before the model than is in the request."""
_NULL = msgspec.Raw(b"null")
_NOTHING = (_NULL, msgspec.Raw(b"[]"))

_PLAIN = "|".join(
    (
        "text|input_text|output_text|summary_text|reasoning_text|refusal|thinking|redacted_thinking|reasoning",
        "message|function|custom|tool_use|tool_result|function_call|function_call_output|custom_tool_call",
        "custom_tool_call_output|ephemeral",
    )
)
_OTHER = re.compile(
    rb'"(?:type"\s*:\s*"(?!(?:%s)")|image_url"|source"|file"|input_audio"|video_url")' % _PLAIN.encode()
)
"""A type that is not plain text, or the field of one that has no type. Quotes inside of texts are escaped."""

_OWN_TOOLS = frozenset({"function", "custom", "namespace", "local_shell", "shell", "apply_patch", "computer"})
"""Types of tools that the caller runs. One without a type is the caller's, too."""
_OWN_TOOL = re.compile(r"(?:bash|text_editor|computer|memory)(?:_|$)")
"""Those that Anthropic describes itself. Their descriptions have up to 735 tokens."""
DESCRIBED = 1024
"""Bytes that such a tool counts for."""

_BYTES_PER_TOKEN = {"wav": 32, "pcm16": 32, "mp3": 16}
"""Of sound: vendors charge at most 32 tokens a second, WAV has at least 8,000 bytes in one and MP3 1,000. Formats that
can say silence in next to nothing count by the byte."""

_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use", "function_call", "custom_tool_call"})
_IMAGES = frozenset({"image", "input_image", "computer_screenshot", "image_generation_call"})

_decode_tools = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode = msgspec.json.Decoder().decode
_DEPTH = 6
"""Of contents within contents; deeper ones are not looked at."""


def bounds_of(request: ChatRequest) -> Bounds:
    """The bounds of ``request``, which was parsed."""
    fields = request.fields
    more, tools, predicted, unbounded = 0, 0, 0, False
    for name, raw in fields.items():
        if name in _SILENT or name in _COUNTED:
            continue
        if name in _FORMATS:
            tools += b"schema" in bytes(raw)
        elif name == "prediction":
            predicted = len(memoryview(raw))
        elif name in _ELSEWHERE:
            unbounded = unbounded or raw not in _NOTHING
        else:
            more += len(memoryview(raw))
    for name in ("tools", "functions"):
        if name in fields:
            offered, described, own = _tools(fields[name])
            tools, more, unbounded = tools + offered, more + described, unbounded or not own
    if request.dialect == "responses" and fields.get("prompt", _NULL) != _NULL:
        unbounded = True  # a template that OpenAI keeps
    turns = _TURNS.get(request.dialect)
    if turns is None:
        return Bounds(request.input_bytes + more, _inputs(fields), tools, (), unbounded, predicted)
    said = bytes(fields.get(turns, _NULL))
    messages = said.count(b'"role"') + 1  # the instructions are one, too
    if not tools:  # a call wants its tool, so that some vendors are offered those that were called
        tools = said.count(b'"arguments"') + said.count(b'"tool_use"')
    if b'"content":[' not in said and b'"output":' not in said:
        return Bounds(request.input_bytes + more, messages, tools, (), unbounded, predicted)
    if _OTHER.search(said) is None:
        return Bounds(request.input_bytes + more, messages, tools, (), unbounded, predicted)
    found = _Found(said)
    text = len(said) - found.data + sum([len(memoryview(fields[name])) for name in _TEXTS + _FORMATS if name in fields])
    return Bounds(text + more, messages, tools, tuple(found.pictures), unbounded or found.unbounded, predicted)


def _inputs(fields: dict[str, msgspec.Raw]) -> int:
    """How many prompts or inputs there are at most: texts, which are in quotes, or lists of tokens."""
    said = b"".join([bytes(fields[name]) for name in ("prompt", "input") if name in fields])
    return said.count(b'"') // 2 + said.count(b"[") + 1


def _tools(raw: msgspec.Raw) -> tuple[int, int, bool]:
    """How many tools are offered, the bytes of descriptions that are not in the request, and whether the caller runs
    all of them."""
    if raw in _NOTHING:
        return 0, 0, True
    try:
        tools = _decode_tools(raw)
    except (ValueError, RecursionError):
        return 1, 0, False
    described, own = 0, True
    for tool in tools:
        kind = _decode(tool["type"]) if "type" in tool else None
        if type(kind) is not str:
            own = own and ("name" in tool or "function" in tool)
        elif kind not in _OWN_TOOLS:
            described += DESCRIBED
            own = own and _OWN_TOOL.match(kind) is not None
    return len(tools), described, own


def _refers(part: dict[str, Any]) -> bool:
    """Whether a part stands for what is elsewhere, as Mistral's ``document_url``, vLLM's ``audio_url`` do."""
    return any(name.endswith("_url") for name in part)


class _Found:
    """What a conversation has beside its text."""

    def __init__(self, said: bytes) -> None:
        self.pictures: list[Picture] = []
        self.unbounded = False
        self.data = 0
        """Bytes of base64 in the request that are not text."""
        turns = lenient.read_or_none(said)
        for turn in turns if type(turns) is list else ():
            if type(turn) is dict:
                self._look(turn, _DEPTH)

    def _look(self, part: dict[str, Any], depth: int) -> None:
        """At a message, an item or a part of a content."""
        kind = part.get("type")
        kind = kind if type(kind) is str else ""
        if depth < 0:
            self.unbounded = True
        elif kind in _CALLS:
            return  # its arguments are text, whatever fields they have
        elif "image_url" in part or kind in _IMAGES:
            self._picture(part)
        elif "input_audio" in part:
            self._sound(part["input_audio"])
        elif kind == "document":
            self._document(part.get("source"), depth)
        elif kind == "input_file" or "file" in part:
            self._file(part.get("file", part))
        elif kind == "item_reference" or "file_id" in part or "video" in kind or _refers(part):
            self.unbounded = True
        for name in ("content", "output"):
            inner = part.get(name)
            for each in inner if type(inner) is list else (inner,):
                if type(each) is dict and depth >= 0:
                    self._look(each, depth - 1)

    def _picture(self, part: dict[str, Any]) -> None:
        found = part.get("image_url", part.get("source"))
        low = part.get("detail") == "low"
        data = part.get("result")
        if type(found) is dict:
            low = low or found.get("detail") == "low"
            data = found.get("data")
            found = found.get("url")
        if type(found) is str and found.startswith("data:"):
            data = found.partition(",")[2]
        size = None
        if type(data) is str:
            self.data += len(data)
            size = size_of(data)
        self.pictures.append(Picture(*(size or (0, 0)), low))

    def _sound(self, sound: Any) -> None:
        data = sound.get("data") if type(sound) is dict else None
        if type(data) is not str:
            self.unbounded = True
            return
        kind = sound.get("format")
        per_token = _BYTES_PER_TOKEN.get(kind, 1) if type(kind) is str else 1
        self.data += len(data) - len(data) // per_token

    def _document(self, source: Any, depth: int) -> None:
        kind = source.get("type") if type(source) is dict else None
        if kind == "content":
            self._look(source, depth - 1)
        elif kind != "text":
            self._inline(source.get("data") if type(source) is dict else None)

    def _file(self, file: Any) -> None:
        data = file.get("file_data") if type(file) is dict else None
        if type(data) is str and data.startswith("data:text/"):
            return  # its base64 is longer than its text
        self._inline(data)

    def _inline(self, data: Any) -> None:
        self.unbounded = True
        if type(data) is str:
            self.data += len(data)
