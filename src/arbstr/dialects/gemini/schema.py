"""JSON Schema as Gemini takes it (``parametersJsonSchema``, ``responseJsonSchema``).

Only the keywords in its reference are sent. What says the same in other words is rewritten; what only narrows the
values further is left out and named, so that the caller can be told.
"""

from __future__ import annotations

from typing import Any

_PLAIN = frozenset(
    {
        "$id",
        "$anchor",
        "$ref",
        "type",
        "format",
        "title",
        "description",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "required",
        "propertyOrdering",
    }
)
"""Keywords whose values are sent as they are."""
_SCHEMAS = frozenset({"properties", "$defs"})
_LISTS = frozenset({"prefixItems", "anyOf", "oneOf"})
_NARROWING = frozenset(
    {
        "additionalItems",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "if",
        "maxContains",
        "maxLength",
        "maxProperties",
        "minContains",
        "minLength",
        "minProperties",
        "multipleOf",
        "not",
        "pattern",
        "patternProperties",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
        "$dynamicRef",
    }
)
"""Keywords that forbid something, which Gemini will not hear of. All others allow and forbid nothing."""


def gemini_schema(schema: dict[str, Any], dropped: set[str]) -> dict[str, Any]:
    """``schema`` in Gemini's subset. The names of keywords that were left out are added to ``dropped``."""
    return _object(schema, dropped)


def _schema(value: Any, dropped: set[str]) -> Any:
    """A schema, which may be true or false: anything, or nothing."""
    if type(value) is dict:
        return _object(value, dropped)
    if value is False:
        dropped.add("false")
    return {}


def _object(schema: dict[str, Any], dropped: set[str]) -> dict[str, Any]:
    if type(schema.get("allOf")) is list:
        schema = _merged(schema, dropped)
    written: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _PLAIN:
            written[key] = _reference(value) if key == "$ref" else value
        elif key in _SCHEMAS or key == "definitions":
            if type(value) is dict:
                name = "$defs" if key == "definitions" else key
                part = {name: _schema(one, dropped) for name, one in value.items()}
                written[name] = {**written.get(name, {}), **part}
        elif key in _LISTS:
            if type(value) is list:
                written[key] = [_schema(one, dropped) for one in value]
        elif key == "items":
            written[key] = _schema(value, dropped)
        elif key == "additionalProperties":
            written[key] = value if type(value) is bool else _schema(value, dropped)
        elif key in ("const", "enum"):
            _choose([value] if key == "const" else value, written, dropped, key)
        elif key == "nullable":
            _nullable(value, schema, written)
        elif key == "exclusiveMinimum" and type(value) is int and schema.get("type") == "integer":
            written["minimum"] = value + 1
        elif key == "exclusiveMaximum" and type(value) is int and schema.get("type") == "integer":
            written["maximum"] = value - 1
        elif key in _NARROWING:
            dropped.add(key)
    if "$ref" in written:  # beside it, only what begins with $ may stand
        dropped.update(key for key in written if key[0] != "$" and key not in ("description", "title"))
        written = {key: value for key, value in written.items() if key[0] == "$"}
    return written


def _reference(value: Any) -> Any:
    return value.replace("#/definitions/", "#/$defs/") if type(value) is str else value


def _choose(values: Any, written: dict[str, Any], dropped: set[str], key: str) -> None:
    """``enum`` is for strings and numbers."""
    if type(values) is list and values and all(type(value) in (str, int, float) for value in values):
        written["enum"] = values
    else:
        dropped.add(key)


def _nullable(value: Any, schema: dict[str, Any], written: dict[str, Any]) -> None:
    """OpenAPI's word for a type of null beside the others."""
    kind = schema.get("type")
    if value is True and type(kind) is str:
        written["type"] = [kind, "null"]


def _merged(schema: dict[str, Any], dropped: set[str]) -> dict[str, Any]:
    """``schema`` with the parts of its ``allOf`` as its own; where they say different things, the first one wins."""
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        if type(part) is not dict:
            continue
        if type(part.get("allOf")) is list:
            part = _merged(part, dropped)
        for key, value in part.items():
            known = merged.setdefault(key, value)
            if known is value or known == value:
                continue
            if type(known) is dict and type(value) is dict:
                merged[key] = {**value, **known}
            elif key == "required" and type(known) is list and type(value) is list:
                merged[key] = [*known, *(name for name in value if name not in known)]
            elif key not in ("title", "description"):
                dropped.add("allOf")
    return merged
