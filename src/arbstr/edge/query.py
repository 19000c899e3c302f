"""The parameters of a query string."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from urllib.parse import parse_qsl

from arbstr.domain.errors import InvalidRequest
from arbstr.domain.money import Currency, MicroSats
from arbstr.edge.context import Request

_AMOUNT = re.compile(r"\d{1,12}(\.\d{1,12})?", re.ASCII)


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


def whole_number(query: dict[str, str], name: str, *, default: int, most: int, least: int = 1) -> int:
    """A parameter that is a whole number from ``least`` to ``most``, taken out of ``query``."""
    text = query.pop(name, None)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise _unexpected(name, text, f"a whole number from {least} to {most}")
    return int(text)


def choice(query: dict[str, str], name: str, options: Iterable[str]) -> str | None:
    """A parameter that is one of ``options``, taken out of ``query``."""
    text = query.pop(name, None)
    options = list(options)
    if text is not None and text not in options:
        raise _unexpected(name, text, f"one of {', '.join(options)}")
    return text


def flag(query: dict[str, str], name: str) -> bool | None:
    """A parameter that is ``true`` or ``false``, taken out of ``query``."""
    text = choice(query, name, ("true", "false"))
    return None if text is None else text == "true"


def amount(query: dict[str, str], name: str) -> MicroSats | None:
    """A parameter that is an amount of satoshis, taken out of ``query``. Digits beyond a millionth are rounded up."""
    text = query.pop(name, None)
    if text is None:
        return None
    if not _AMOUNT.fullmatch(text):
        raise _unexpected(name, text, "satoshis such as 0.25 or 100")
    exact = Decimal(text) * Currency.SATS.smallest
    return MicroSats(int(exact.to_integral_value(ROUND_CEILING)))


def no_more(query: dict[str, str], *, expected: str) -> None:
    """Raise InvalidRequest where something is left that nobody has asked for."""
    if query:
        name = next(iter(query))
        raise InvalidRequest(f"unknown parameter {name[:40]!r}, expected {expected}", param=name[:40])


def _unexpected(name: str, text: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"{name} is {text[:40]!r}, expected {expected}", param=name)
