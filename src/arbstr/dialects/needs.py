"""What a request needs of a model, as far as its dialect says it in the open."""

from __future__ import annotations

import msgspec

from arbstr.domain.request import ChatRequest, Needs

_NOTHING = (b"null", b"[]", b"{}")
_PLAIN = (b'{"type":"text"}', b'{"format":{"type":"text"}}')
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def needs_of(request: ChatRequest) -> Needs:
    """Looked for by the names of fields, in all callers' dialects: they do not contradict each other."""
    fields = request.fields
    return Needs(
        tools=any(_given(fields, name) for name in ("tools", "functions")),
        vision=any(_has_image(fields[name]) for name in ("messages", "input") if name in fields),
        json=any(_given(fields, name) for name in ("response_format", "text", "output_config", "output_format")),
        reasoning=any(_given(fields, name) for name in ("reasoning_effort", "reasoning", "thinking")),
    )


def _given(fields: dict[str, msgspec.Raw], name: str) -> bool:
    """Whether a field asks for something: not null, not empty, not plain text, not switched off."""
    if name not in fields:
        return False
    value = _encode(_decode(fields[name]))
    return value not in _NOTHING and value not in _PLAIN and b'"type":"disabled"' not in value and value != b'"none"'


def _has_image(messages: msgspec.Raw) -> bool:
    """Quotes inside of texts are escaped, so that this can only be a part of a message."""
    compact = bytes(messages).replace(b'"type": "', b'"type":"')
    return any(kind in compact for kind in (b'"type":"image', b'"type":"input_image"'))
