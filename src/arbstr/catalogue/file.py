"""The shape of the shipped file: JSON, one model to a line, so that the diff of a renewal can be read.

::

    {"format":1,"source":"genai-prices 0.2.3","date":"2026-11-21","providers":{
    "openai":{"name":"OpenAI","url":"https://api\\\\.openai\\\\.com","models":[
    {"id":"gpt-4o","is":["=","=gpt-4o-2024-08-06"],"window":128000,"price":[{"i":2500000,"o":10000000,"c":1250000}]},
    …

Rates are millionths of a dollar per million tokens, which are pico-dollars per token. One that depends on the size of
the context is a list: the rate, then pairs of a number of input tokens and the rate above it.
"""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import msgspec

FORMAT = 1
"""Counted up when a file of before can no longer be read."""

SHIPPED = Path(__file__).with_name("prices.json")

Rate = int | tuple[int, ...]
"""Pico-dollars; or the first rate, then for each tier the input tokens above which it holds, and its rate."""

Clause = str | tuple[str, ...]
"""``=name``, ``^start``, ``$end``, ``*part`` or ``/regular expression``, all lower case; ``=`` alone is the model's own
id. Several in a list hold together."""


_PRICE_KEYS = {
    "input": "i",
    "output": "o",
    "cached_input": "c",
    "cache_write": "w",
    "cache_write_1h": "h",
    "reasoning": "r",
    "request": "f",
    "since": "from",
}


class Price(msgspec.Struct, frozen=True, omit_defaults=True, rename=_PRICE_KEYS):
    """What holds from a day on, or at some hours of each day. Without ``input`` or ``output`` it is not known as a
    price for tokens. The other rates are None where such tokens cost what input and output cost."""

    input: Rate | None = None
    output: Rate | None = None
    cached_input: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    reasoning: Rate | None = None
    request: int | None = None
    """For each request."""
    since: date | None = None
    """Its first day, in UTC."""
    hours: tuple[time, time] | None = None
    """When it begins and ends each day, in UTC; the end may be on the next one."""
    also: tuple[str, ...] = ()
    """What is charged beside: nothing that can be counted here."""


_MODEL_KEYS = {"match": "is", "context_window": "window", "prices": "price"}


class Model(msgspec.Struct, frozen=True, omit_defaults=True, rename=_MODEL_KEYS):
    id: str
    match: tuple[Clause, ...] = ("=",)
    """A name that any of them holds of is this model's. The first model of a provider that has the name counts."""
    context_window: int | None = None
    """In tokens."""
    prices: tuple[Price, ...] = ()
    """The last one that holds counts; where none does, the first."""
    batch: tuple[Price, ...] = ()
    """What is different for batches: of each rate, the first one that holds counts."""


class Provider(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    url: str
    """A regular expression that the URL of its API begins with."""
    models: msgspec.Raw
    """A list of :class:`Model`, decoded when somebody asks for one."""
    fallback: tuple[str, ...] = ()
    """Providers whose models it sells at their prices."""


class File(msgspec.Struct, frozen=True):
    format: int
    source: str
    """What it was compiled from, and its version."""
    date: date
    """When that was taken: prices are known as of this day."""
    providers: dict[str, Provider]


class CatalogueError(ValueError):
    """A file that is no catalogue; the message says why."""


def read(path: Path = SHIPPED) -> File:
    """The file at ``path``, its models undecoded. Raises OSError, and CatalogueError for what is no catalogue."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"is no price catalogue: {error}") from error
    if file.format != FORMAT:
        raise CatalogueError(f"is a price catalogue of format {file.format}, expected {FORMAT}")
    return file


def models(provider: Provider) -> tuple[Model, ...]:
    """In the order in which they are matched. Raises CatalogueError where they cannot be read."""
    try:
        return msgspec.json.decode(provider.models, type=tuple[Model, ...])
    except msgspec.DecodeError as error:
        raise CatalogueError(f"has models of {provider.name} that cannot be read: {error}") from error
