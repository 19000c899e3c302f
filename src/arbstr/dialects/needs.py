"""What a request needs of a model, as far as its dialect says it in the open."""

from __future__ import annotations

from typing import Any

import msgspec

from arbstr.domain.request import ChatRequest, Needs

_OFF = ("none", "disabled", "text")
"""What says, as a word or as a ``type``, that a thing is not wanted."""

_decode = msgspec.json.Decoder().decode


def needs_of(request: ChatRequest) -> Needs:
    """Looked for by the names of fields, in all callers' dialects: they do not contradict each other."""
    fields = request.fields
    return Needs(
        tools=any(_wanted(_value(fields, name)) for name in ("tools", "functions")),
        vision=any(_has_image(fields[name]) for name in ("messages", "input") if name in fields),
        json=any(_wanted(_value(fields, name)) for name in ("response_format", "output_format"))
        or any(_wanted(_inner(fields, name, "format")) for name in ("text", "output_config")),
        reasoning=_wanted(_value(fields, "reasoning_effort"))
        or _wanted(_inner(fields, "thinking", "budget_tokens"))  # adaptive thinking leaves it to the model
        or _wanted(_inner(fields, "reasoning", "effort")),
    )


def _value(fields: dict[str, msgspec.Raw], name: str) -> Any:
    return _decode(fields[name]) if name in fields else None


def _inner(fields: dict[str, msgspec.Raw], name: str, key: str) -> Any:
    """What an object among the fields has under ``key``; its other keys ask for nothing that a model must be able to
    do."""
    value = _value(fields, name)
    return value.get(key) if isinstance(value, dict) else None


def _wanted(value: Any) -> bool:
    """Whether a field asks for something: not null, not empty, not plain text, not switched off."""
    if isinstance(value, dict):
        return bool(value) and value.get("type") not in _OFF
    return bool(value) and value not in _OFF


def _has_image(messages: msgspec.Raw) -> bool:
    """Quotes inside of texts are escaped, so that this can only be a part of a message."""
    compact = bytes(messages).replace(b'"type": "', b'"type":"')
    return any(kind in compact for kind in (b'"type":"image', b'"type":"input_image"'))
