"""JSON Schema as far as Anthropic's structured outputs know it.

They want every object closed, and refuse keywords of size and range; what is refused is moved into the description,
where the model reads it. What they cannot say at all (an object with any keys) is no schema for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

Schema = dict[str, Any]

_KEPT = frozenset({"$ref", "const", "default", "description", "enum", "format", "required", "title", "type"})
_NESTED = {"properties": "map", "$defs": "map", "definitions": "map", "items": "one", "anyOf": "list", "allOf": "list"}
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_IGNORED = frozenset({"$schema", "$id", "$comment", "additionalProperties", "examples", "strict"})
_DEEPEST = 64


def closed(schema: Schema) -> Schema | None:
    """``schema`` as it may be sent, or None where it allows what cannot be said."""
    try:
        return _closed(schema, 0)
    except _Unsayable:
        return None


def open_object(schema: Schema | None) -> Schema:
    """``schema`` as that of a tool's arguments, which must be an object's."""
    if not schema:
        return {"type": "object", "properties": {}}
    return schema if schema.get("type") == "object" else {**schema, "type": "object"}


class _Unsayable(Exception):
    pass


def _closed(schema: Any, depth: int) -> Schema:
    if type(schema) is not dict or depth > _DEEPEST:
        raise _Unsayable
    if "oneOf" in schema and "anyOf" not in schema:
        schema = {("anyOf" if key == "oneOf" else key): value for key, value in schema.items()}
    found: Schema = {}
    moved: Schema = {}
    for key, value in schema.items():
        if key in _NESTED:
            found[key] = _nested(_NESTED[key], value, depth)
        elif (key == "format" and value not in _FORMATS) or (key == "minItems" and value not in (0, 1)):
            moved[key] = value
        elif key in _KEPT or key == "minItems":
            found[key] = value
        elif key not in _IGNORED:
            moved[key] = value
    if _is_object(schema):
        more = schema.get("additionalProperties", bool(not schema.get("properties")))
        if more is not False or "patternProperties" in schema:
            raise _Unsayable
        found.setdefault("properties", {})
        found["additionalProperties"] = False
    elif not found.keys() & {"type", "enum", "const", "anyOf", "allOf", "$ref"}:
        raise _Unsayable
    if moved:
        said = found.get("description")
        limits = msgspec.json.encode(moved).decode()
        found["description"] = f"{said} ({limits})" if said else limits
    return found


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (type(kind) is list and "object" in kind) or (kind is None and "properties" in schema)


def _nested(shape: str, value: Any, depth: int) -> Any:
    if shape == "one":
        return _closed(value, depth + 1)
    if shape == "list" and type(value) is list:
        return [_closed(item, depth + 1) for item in value]
    if shape == "map" and type(value) is dict:
        return {name: _closed(item, depth + 1) for name, item in value.items()}
    raise _Unsayable
