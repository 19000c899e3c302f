"""The parameters of a query string."""

from __future__ import annotations

from urllib.parse import parse_qsl

from arbstr.domain.errors import InvalidRequest
from arbstr.edge.context import Request


def query_of(request: Request) -> dict[str, str]:
    """The query's parameters. Raises InvalidRequest for one that is given twice or cannot be read."""
    try:
        text = request.scope["query_string"].decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=50)
    except ValueError:
        raise InvalidRequest("the query string cannot be read") from None
    query = dict(pairs)
    if len(query) < len(pairs):
        raise InvalidRequest("a parameter of the query is given twice")
    return query


def whole_number(query: dict[str, str], name: str, *, default: int, most: int) -> int:
    """A parameter that is a whole number from 1 to ``most``, taken out of ``query``."""
    text = query.pop(name, None)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise InvalidRequest(f"{name} is {text[:40]!r}, expected a whole number from 1 to {most}", param=name)
    return int(text)


def no_more(query: dict[str, str], *, expected: str) -> None:
    """Raise InvalidRequest where something is left that nobody has asked for."""
    if query:
        name = next(iter(query))
        raise InvalidRequest(f"unknown parameter {name[:40]!r}, expected {expected}", param=name[:40])
