"""Requests in the Responses dialect, written from a conversation, for providers with ``api = "responses"``.

Always ``store: false``, for a gateway's callers send the whole conversation each time. Reasoning then travels
encrypted, as items of its own: it is asked for with the answer and given back in the next turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from arbstr.dialects.media import media_type_of
from arbstr.dialects.responses.seal import openai_parts
from arbstr.dialects.translate import Written
from arbstr.domain.conversation import (
    Conversation,
    Media,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from arbstr.domain.errors import InvalidRequest

_encode = msgspec.json.Encoder().encode

LEAST_OUTPUT_TOKENS = 16
"""OpenAI refuses a smaller ``max_output_tokens``."""
_UNSAYABLE = ("top_k", "seed", "frequency_penalty", "presence_penalty", "stop", "logprobs", "top_logprobs")
_EFFORTS = ((2048, "low"), (8192, "medium"))
"""The effort that a budget of at most so many tokens stands for; beyond the last it is ``high``."""
_AUDIO = {"mpeg": "mp3", "wave": "wav", "x-wav": "wav"}
_EXTENSIONS = {"application/pdf": "pdf", "text/plain": "txt", "text/csv": "csv", "text/markdown": "md"}


def write_responses(conversation: Conversation, *, model: str, stream: bool) -> Written:
    """The request. Raises :class:`InvalidRequest` for more than one choice, which this dialect does not have."""
    if conversation.n > 1:
        raise InvalidRequest("n must be 1: this model gives one answer to a request.", param="n")
    dropped = {name: None for name in _UNSAYABLE if getattr(conversation, name)}
    items = [item for message in conversation.messages for item in _items(message, dropped)]
    fields: dict[str, Any] = {"model": model, "input": items, "store": False}
    if conversation.instructions:
        fields["instructions"] = "\n\n".join(part.text for part in conversation.instructions)
    if stream:
        fields["stream"] = True
    if conversation.max_tokens is not None:
        if conversation.max_tokens < LEAST_OUTPUT_TOKENS:
            dropped["max_tokens"] = None
        fields["max_output_tokens"] = max(conversation.max_tokens, LEAST_OUTPUT_TOKENS)
    if conversation.tools:
        fields["tools"] = [_tool(tool) for tool in conversation.tools]
        if conversation.tool_choice is not None:
            fields["tool_choice"] = _choice(conversation.tool_choice)
    if conversation.output_format is not None:
        fields["text"] = {"format": _format(conversation.output_format)}
    if conversation.reasoning is not None:
        fields |= _reasoning(conversation.reasoning)
    for name in ("parallel_tool_calls", "temperature", "top_p", "user"):
        if (value := getattr(conversation, name)) is not None:
            fields[name] = value
    return Written(_encode(fields), tuple(dropped))


def _items(message: Message, dropped: dict[str, None]) -> Iterator[dict[str, Any]]:
    """A message as input items, in its own order: calls, results and reasoning are not parts of messages here."""
    if message.name is not None:
        dropped["name"] = None
    content: list[dict[str, Any]] = []
    role = message.role.value
    for part in message.parts:
        match part:
            case ToolCall() | ToolResult() | Thinking():
                item = _item(part, dropped)
                if item is not None:
                    if content:
                        yield _message(role, content)
                        content = []
                    yield item
            case _:
                said = _content(part, message.role, dropped)
                if said is not None:
                    content.append(said)
    if content:
        yield _message(role, content)


def _message(role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """A single text is sent as a string: every server of this dialect reads that."""
    text = content[0].get("text") if len(content) == 1 else None
    return {"type": "message", "role": role, "content": content if text is None else text}


def _item(part: ToolCall | ToolResult | Thinking, dropped: dict[str, None]) -> dict[str, Any] | None:
    match part:
        case ToolCall(id=call_id, name=name, arguments=arguments):
            return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments or "{}"}
        case ToolResult(id=call_id):
            return {"type": "function_call_output", "call_id": call_id, "output": _output(part, dropped)}
        case Thinking(text=text):
            # Other vendors' reasoning is of no use here, and their proofs of it are refused.
            own = openai_parts(part.signature or part.redacted)
            if own is None:
                dropped["reasoning_content"] = None
                return None
            item_id, encrypted = own
            summary = [{"type": "summary_text", "text": text}] if text else []
            return {"type": "reasoning", "id": item_id, "summary": summary, "encrypted_content": encrypted}


def _output(result: ToolResult, dropped: dict[str, None]) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in result.content):
        text = "\n".join(part.text for part in result.content if isinstance(part, Text))
        return f"Error: {text}" if result.is_error else text
    said = [_content(part, Role.USER, dropped) for part in result.content]
    found = [part for part in said if part is not None]
    return [{"type": "input_text", "text": "Error:"}, *found] if result.is_error else found


def _content(part: Part, role: Role, dropped: dict[str, None]) -> dict[str, Any] | None:
    match part:
        case Text(text=text):
            return {"type": "output_text" if role is Role.ASSISTANT else "input_text", "text": text}
        case Refusal(text=text):
            return {"type": "refusal", "refusal": text}
        case Media() if role is Role.ASSISTANT:
            dropped["messages.content"] = None
            return None
        case Media(kind="image"):
            url = part.url if part.url is not None else _data_url(part, media_type_of(part) or "image/png")
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case Media(kind="audio"):
            if part.data is None:
                raise InvalidRequest("Audio must be sent as base64 to this model.", param="messages")
            kind = (media_type_of(part) or "audio/wav").rpartition("/")[2]
            audio = {"data": part.data, "format": _AUDIO.get(kind, kind)}
            return {"type": "input_audio", "input_audio": audio}
        case Media():
            if part.url is not None:
                return {"type": "input_file", "file_url": part.url}
            kind = media_type_of(part) or "application/pdf"
            name = part.name or f"document.{_EXTENSIONS.get(kind, 'bin')}"
            return {"type": "input_file", "filename": name, "file_data": _data_url(part, kind)}
    return None


def _data_url(part: Media, media_type: str) -> str:
    return f"data:{media_type};base64,{part.data or ''}"


def _tool(tool: Tool) -> dict[str, Any]:
    """Here functions are strict unless they say otherwise; elsewhere it is the other way round."""
    fields: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description is not None:
        fields["description"] = tool.description
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    return {**fields, "parameters": schema, "strict": bool(tool.strict)}


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    return {"type": "function", "name": choice.name} if choice.mode == "tool" else choice.mode


def _format(shape: OutputFormat) -> dict[str, Any]:
    if shape.schema is None:
        return {"type": "json_object"}
    fields = {"type": "json_schema", "name": shape.name or "output", "schema": shape.schema}
    return fields if shape.strict is None else {**fields, "strict": shape.strict}


def _reasoning(wish: Reasoning) -> dict[str, Any]:
    """Summaries are asked for where the caller gave a budget: in such dialects reasoning is shown. An organisation
    may be barred from them, so they are not asked for in general."""
    if not wish.enabled:
        return {"reasoning": {"effort": wish.effort}} if wish.effort is not None else {}
    fields: dict[str, Any] = {}
    if wish.effort is not None:
        fields["effort"] = wish.effort
    elif wish.budget_tokens is not None:
        fields["effort"] = next((effort for most, effort in _EFFORTS if wish.budget_tokens <= most), "high")
    if wish.budget_tokens is not None:
        fields["summary"] = "auto"
    return {"reasoning": fields, "include": ["reasoning.encrypted_content"]}
