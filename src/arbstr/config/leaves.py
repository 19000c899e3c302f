"""Single values of the configuration: from what stands there to the type that the schema names.

One function for each type, in :data:`LEAVES`. A ``ValueError`` says what is wrong and what was expected.
"""

from __future__ import annotations

import enum
import re
import shlex
import typing
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from arbstr.config import kinds, planned, units
from arbstr.config.problems import any_of, nearest
from arbstr.config.units import Text, misfit, shown
from arbstr.domain.money import Currency
from arbstr.domain.routing import Commit, Network, Strategy, StreamMetadata, Tier
from arbstr.domain.secret import Secret

Leaf = Callable[[Any, kinds.Key], Any]

KINDS = ("openai", "anthropic", "azure", "ollama", "bedrock", "gemini")
MOCK = "mock"
"""The kind of the built-in providers of ``serve --mock``; no file may ask for it."""
APIS: tuple[str, ...] = typing.get_args(kinds.Api)
LEVELS: tuple[str, ...] = typing.get_args(kinds.Level)
FORMATS: tuple[str, ...] = typing.get_args(kinds.Format)
EXCEEDED: tuple[str, ...] = typing.get_args(kinds.Exceeded)
UNPRICED: tuple[str, ...] = typing.get_args(kinds.UnpricedIs)
RATE_UNITS: tuple[str, ...] = typing.get_args(kinds.RateUnit)
ALERT_TYPES: tuple[str, ...] = typing.get_args(kinds.AlertType)
STRATEGY_ALIASES = {"lowest_cost": "cheapest", "cost": "cheapest"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", re.ASCII)
_LONGEST_MODEL = 256
_LONGEST_KEY = 16 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z", re.ASCII)
_FRAMING = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect"),
        *("host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def boolean(value: Any, key: kinds.Key) -> bool:
    if isinstance(value, Text) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    if not isinstance(value, bool):
        raise ValueError(misfit(value, "true or false"))
    return value


def integer(value: Any, key: kinds.Key) -> int:
    return units.integer(value, low=key.low, high=key.high)


def decimal(value: Any, key: kinds.Key) -> Decimal:
    expected = f"a number from {key.low} to {key.high}"
    exact = units.number(value, expected)
    if not key.low <= exact <= key.high:
        raise ValueError(f"{shown(value)} is out of range, expected {expected}")
    return exact


def text(value: Any, key: kinds.Key) -> str:
    """A string with something in it."""
    if not isinstance(value, str):
        raise ValueError(misfit(value, "a string"))
    if not value.strip():
        raise ValueError("is empty, expected a string with something in it")
    return str(value)


def name(value: Any, key: kinds.Key) -> str:
    """A provider's or rule's name: it stands in headers, metrics and variable names."""
    if not isinstance(value, str):
        raise ValueError(misfit(value, "a name"))
    if not _NAME.match(value):
        raise ValueError(
            f"{shown(value)} is not a name, expected 1 to 64 of A-Z a-z 0-9 . _ - that begin with a letter or digit"
        )
    return str(value)


def model_name(value: Any, key: kinds.Key) -> str:
    if not isinstance(value, str):
        raise ValueError(misfit(value, "the name of a model"))
    if not is_model_name(value):
        raise ValueError(
            f"{shown(value)} is not the name of a model, "
            f"expected 1 to {_LONGEST_MODEL} printable characters without spaces around them"
        )
    return str(value)


def is_model_name(value: str) -> bool:
    return bool(value) and value == value.strip() and value.isprintable() and len(value) <= _LONGEST_MODEL


def api_key(value: Any, key: kinds.Key) -> kinds.ApiKey:
    """A credential that can stand in a header. Its value is in no message."""
    source = value.source if isinstance(value, Text) else "literal"
    if not isinstance(value, str):
        raise ValueError(misfit(value, 'a string such as "${ALPHA_KEY}"'))
    if not value:
        raise ValueError("is empty, expected a key; leave the line out to call without one")
    if not value.isascii() or not value.isprintable() or " " in value or len(value) > _LONGEST_KEY:
        raise ValueError("has characters in it that no key has (white space, line ends, non-ASCII), expected a key")
    return kinds.ApiKey(secret=Secret(str(value)), source=source)


def command(value: Any, key: kinds.Key) -> str:
    """A command as it is typed, with quotes for what has spaces."""
    line = text(value, key)
    try:
        shlex.split(line)
    except ValueError:
        raise ValueError("has a quote or a backslash that is not closed, expected a command as it is typed") from None
    if not shlex.split(line) or "\0" in line:
        raise ValueError("is no command, expected one as it is typed")
    return line


def header_name(value: Any, key: kinds.Key) -> str:
    """A name as HTTP has them, but for those that say where a message goes, where it ends and what is in it."""
    if not isinstance(value, str):
        raise ValueError(misfit(value, "the name of a header"))
    if not _TOKEN.match(value):
        raise ValueError(f"{shown(value)} is not the name of a header, expected one such as X-Cashu")
    if value.lower() in _FRAMING:
        raise ValueError(f"{value} is arbstr's own to send, expected another header")
    return str(value)


def header_value(value: Any, key: kinds.Key) -> kinds.HeaderValue:
    """One line of visible ASCII. It is in no message, for it may be a credential."""
    source = value.source if isinstance(value, Text) else "literal"
    if not isinstance(value, str):
        raise ValueError(misfit(value, 'a string such as "${TOKEN}"'))
    if not value.strip():
        raise ValueError("is empty, expected a string with something in it")
    if not value.isascii() or not value.isprintable() or value != value.strip() or len(value) > _LONGEST_KEY:
        raise ValueError(
            "cannot stand in a header (line ends, non-ASCII, spaces around it, or more than 16 KiB), "
            "expected one line of plain text"
        )
    return kinds.HeaderValue(secret=Secret(str(value)), source=source)


def phrase(value: Any, key: kinds.Key) -> kinds.Phrase:
    """A password, or what one signs with: one line of ASCII. It is in no message."""
    source = value.source if isinstance(value, Text) else "literal"
    if not isinstance(value, str):
        raise ValueError(misfit(value, 'a string such as "${PASSWORD}"'))
    if not value.strip():
        raise ValueError("is empty, expected a string with something in it")
    if not value.isascii() or not value.isprintable() or len(value) > _LONGEST_KEY:
        raise ValueError("has line ends or other than ASCII in it, or more than 16 KiB, expected one line of text")
    return kinds.Phrase(secret=Secret(str(value)), source=source)


def secret_url(value: Any, key: kinds.Key) -> kinds.SecretUrl:
    """What may be a URL; which ones will do, only its reader knows. It is in no message."""
    source = value.source if isinstance(value, Text) else "literal"
    if not isinstance(value, str):
        raise ValueError(misfit(value, 'a string such as "${ALERT_URL}"'))
    if not value.isascii() or not value.isprintable() or " " in value or len(value) > _LONGEST_KEY:
        raise ValueError("has white space or other than ASCII in it, or more than 16 KiB, expected a URL")
    return kinds.SecretUrl(secret=Secret(str(value)), source=source)


def mailboxes(value: Any, key: kinds.Key) -> tuple[str, ...]:
    """A list of addresses, or one string of them with commas in between."""
    if isinstance(value, str):
        source = value.source if isinstance(value, Text) else None
        parts = [part.strip() for part in value.split(",")]
        value = [part if source is None else Text(part, source) for part in parts]
    if not isinstance(value, list):
        raise ValueError(misfit(value, 'a list of addresses such as "ops@example.com"'))
    if not value:
        raise ValueError("is empty, expected an address at least")
    return tuple(units.mailbox(each) for each in value)


def strategy(value: Any, key: kinds.Key) -> Strategy:
    known = [member.value for member in Strategy]
    word = _word(value, "a strategy", [*known, *STRATEGY_ALIASES], later=planned.STRATEGIES)
    return Strategy(STRATEGY_ALIASES.get(word, word))


def kind(value: Any, key: kinds.Key) -> str:
    return MOCK if value == MOCK else _word(value, "a kind of provider", KINDS)


def api(value: Any, key: kinds.Key) -> str:
    return _word(value, "an API", APIS)


def level(value: Any, key: kinds.Key) -> str:
    return _word(value.lower() if isinstance(value, str) else value, "a log level", LEVELS)


def log_format(value: Any, key: kinds.Key) -> str:
    return _word(value, "a log format", FORMATS)


def alert_type(value: Any, key: kinds.Key) -> str:
    return _word(value, "a type of alert", ALERT_TYPES)


def choice(members: type[enum.Enum]) -> Leaf:
    """A reader of one of the values of ``members``."""

    def read(value: Any, key: kinds.Key) -> enum.Enum:
        return members(_word(value, "known here", [str(member.value) for member in members]))

    return read


def _word(value: Any, what: str, known: Iterable[str], *, later: Iterable[str] = ()) -> str:
    names = list(known)
    if not isinstance(value, str):
        raise ValueError(misfit(value, any_of(names)))
    if value in later:
        raise ValueError(f"{shown(value)} is not available in this version, expected {any_of(names)}")
    if value not in names:
        hint = "" if isinstance(value, Text) else nearest(value, [*names, *later])
        raise ValueError(f"{shown(value)} is not {what}, expected {any_of(names)}{hint}")
    return str(value)


LEAVES: dict[Any, Leaf] = {
    bool: boolean,
    int: integer,
    str: text,
    Decimal: decimal,
    kinds.Seconds: lambda value, key: units.duration(value, zero=key.low == 0),
    kinds.ByteCount: lambda value, key: units.size(value),
    kinds.Sats: lambda value, key: units.rate(value),
    kinds.Url: lambda value, key: units.url(value),
    kinds.Resource: lambda value, key: units.endpoint(text(value, key)),
    kinds.StorePath: lambda value, key: units.store(value),
    kinds.Kind: kind,
    kinds.Api: api,
    kinds.Level: level,
    kinds.Format: log_format,
    kinds.AlertType: alert_type,
    kinds.Exceeded: lambda value, key: _word(value, "an action", EXCEEDED),
    kinds.UnpricedIs: lambda value, key: _word(value, "known here", UNPRICED),
    kinds.RateUnit: lambda value, key: _word(value, "a unit of rates", RATE_UNITS),
    kinds.Rate: lambda value, key: units.price(value),
    kinds.Amount: lambda value, key: units.amount(value),
    kinds.Share: lambda value, key: units.share(value),
    Currency: choice(Currency),
    kinds.Name: name,
    kinds.ModelName: model_name,
    kinds.ApiKey: api_key,
    kinds.Command: command,
    kinds.HeaderName: header_name,
    kinds.HeaderValue: header_value,
    kinds.Phrase: phrase,
    kinds.SecretUrl: secret_url,
    kinds.Host: lambda value, key: units.host(value),
    kinds.Mailbox: lambda value, key: units.mailbox(value),
    kinds.Mailboxes: mailboxes,
    units.Address: lambda value, key: units.address(value),
    Network: lambda value, key: units.network(value),
    Strategy: strategy,
    Commit: choice(Commit),
    StreamMetadata: choice(StreamMetadata),
    Tier: choice(Tier),
}
