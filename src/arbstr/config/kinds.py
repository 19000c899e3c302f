"""The types that values of the configuration have, and what there is to say of a key beyond its type."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NewType

import msgspec

from arbstr.domain.secret import Secret

Seconds = NewType("Seconds", float)
ByteCount = NewType("ByteCount", int)
Sats = NewType("Sats", Decimal)
Rate = NewType("Rate", Decimal)
Amount = NewType("Amount", Decimal)
Share = NewType("Share", Decimal)
Url = NewType("Url", str)
Resource = NewType("Resource", str)
StorePath = NewType("StorePath", str)
Kind = NewType("Kind", str)
Api = Literal["chat", "responses"]
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "text"]
Exceeded = Literal["reject", "allow_with_warning"]
UnpricedIs = Literal["refuse", "allow"]
RateUnit = Literal["usd_per_btc", "sats_per_usd"]
AlertType = Literal["webhook", "slack", "email", "apprise"]
ModelName = NewType("ModelName", str)
Command = NewType("Command", str)
HeaderName = NewType("HeaderName", str)
Name = NewType("Name", str)
Host = NewType("Host", str)
Mailbox = NewType("Mailbox", str)
Mailboxes = NewType("Mailboxes", tuple[str, ...])


class ApiKey(msgspec.Struct, frozen=True):
    """A credential and where it came from: ``literal``, ``${NAME}`` or the name of an environment variable."""

    secret: Secret
    source: str


class HeaderValue(ApiKey, frozen=True):
    """The same in a header of one's own, where it may have spaces."""


class Phrase(ApiKey, frozen=True):
    """The same where it may have spaces: a password."""


class SecretUrl(ApiKey, frozen=True):
    """A URL that opens something to whoever knows it."""


class Key(msgspec.Struct, frozen=True):
    """What there is to say of a key beyond its type."""

    help: str
    low: int = 0
    """Of whole numbers: the least. Of durations: 1 means that 0 is refused."""
    high: int = 2**31 - 1
    alias: str | None = None
    """Another name that is accepted for it."""
    expected: str = ""
    """Of required keys: what is missing without it, as it follows "expected"."""
