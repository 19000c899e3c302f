"""Values as people write them: durations, sizes, addresses, URLs, rates.

Each function takes what stands in the configuration and returns the value; a ``ValueError`` says in one line what is
wrong and what was expected. Text that came from the environment (:class:`Text`) may hold a secret and is never shown.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

import msgspec

from arbstr.config.problems import quoted
from arbstr.domain.routing import Network

DAY = 86_400
LONGEST = 365 * DAY
LARGEST = 4 * 1024**3
DEAREST = 10**9
LONGEST_SHOWN = 24
"""Longer strings are never shown in a message: one may be a key that was pasted into the wrong line."""

_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(DAY)}
_BYTES = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    Decimal: "a number",
    str: "a string",
    dict: "a table",
    list: "a list",
}
_AMOUNT = re.compile(r"([+-]?(?:\d{1,18}(?:\.\d{1,18})?))\s*([A-Za-z]*)\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d[\d_]{0,39})(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d[\d_]{0,39}\Z", re.ASCII)
_HOST = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}\Z", re.ASCII)
_LONGEST_MAILBOX = 320
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}"
_MAILBOX = re.compile(rf"""(?:[^<>@,;:"\\()]*\S\s*<{_LOCAL}@([^\s<>@]+)>|{_LOCAL}@([^\s<>@]+))\Z""")


class Text(str):
    """A string whose value came, wholly or in part, from outside the file. ``source`` says from where."""

    __slots__ = ("source",)
    source: str

    def __new__(cls, value: str, source: str) -> Text:
        text = super().__new__(cls, value)
        text.source = source
        return text

    def __repr__(self) -> str:
        return f"Text(from {self.source})"


class Address(msgspec.Struct, frozen=True):
    """Where to listen."""

    host: str
    """IPv6 without its brackets."""
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it. Of names, only ``localhost`` is known to be so."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def described(value: object) -> str:
    """What kind of value it is, in words and without showing it."""
    if value is None:
        return "no value"
    if isinstance(value, Text):
        return f"the value of {value.source}"
    for kind, words in _KINDS.items():
        if isinstance(value, kind):
            return words
    return "a date or time"


def misfit(value: object, expected: str) -> str:
    """The message where a value is of the wrong kind altogether."""
    wrong = f"{described(value)} does not fit" if isinstance(value, Text) else f"is {described(value)}"
    return f"{wrong}, expected {expected}"


def shown(value: object) -> str:
    """The value as it may appear in a message: short, on one line, and nothing that came from the environment."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a number of more than 20 digits"
    if isinstance(value, Decimal):
        return str(value)[:40]
    if isinstance(value, str) and not isinstance(value, Text):
        short = len(value) <= LONGEST_SHOWN
        return quoted(value) if short else f"a text of {len(value)} characters"
    return described(value)


def number(value: object, expected: str) -> Decimal:
    """A finite number: written as one, or the text of one where it came from the environment."""
    if isinstance(value, Text) and _NUMBER.match(value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(misfit(value, expected))
    exact = Decimal(value) if isinstance(value, int) else Decimal(str(value))
    if not exact.is_finite():
        raise ValueError(f"{shown(exact)} is not a finite number, expected {expected}")
    return exact


def integer(value: object, *, low: int, high: int) -> int:
    """A whole number between two bounds, both included."""
    expected = f"a whole number from {low} to {high}"
    if isinstance(value, Text) and _INTEGER.match(value.strip()):
        value = int(value.strip())
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(misfit(value, expected))
    if not low <= value <= high:
        raise ValueError(f"{shown(value)} is out of range, expected {expected}")
    return value


def duration(value: object, *, zero: bool = False) -> float:
    """Seconds, from ``"100ms"``, ``"30s"``, ``"10m"``, ``"1h"``, ``"7d"`` or a number of seconds."""
    expected = 'a duration such as "100ms", "30s" or "1h"'
    if isinstance(value, str):
        match = _AMOUNT.match(value.strip())
        if not match or (match[2] and match[2] not in _SECONDS):
            raise ValueError(f"{shown(value)} is not a duration, expected {expected}")
        if not match[2] and not isinstance(value, Text):
            raise ValueError(f"{shown(value)} has no unit, expected {expected}, or a number of seconds")
        seconds = Decimal(match[1]) * _SECONDS[match[2] or "s"]
    else:
        seconds = number(value, f"{expected}, or a number of seconds")
    if seconds < 0 or (seconds == 0 and not zero):
        raise ValueError(f"{shown(value)} is {'negative' if seconds < 0 else 'no time at all'}, expected {expected}")
    if seconds > LONGEST:
        raise ValueError(f'{shown(value)} is too long, expected at most "365d"')
    return float(seconds)


def size(value: object) -> int:
    """Bytes, from ``"32MiB"``, ``"10kB"`` or a number of bytes."""
    expected = 'a size such as "512KiB" or "32MiB"'
    if isinstance(value, str):
        match = _AMOUNT.match(value.strip())
        if not match or (match[2] and match[2] not in _BYTES):
            raise ValueError(f"{shown(value)} is not a size, expected {expected}")
        if not match[2] and not isinstance(value, Text):
            raise ValueError(f"{shown(value)} has no unit, expected {expected}, or a number of bytes")
        exact = Decimal(match[1]) * _BYTES[match[2] or "B"]
    else:
        exact = number(value, f"{expected}, or a number of bytes")
    if not 1 <= exact <= LARGEST:
        raise ValueError(f'{shown(value)} is out of range, expected from 1 byte to "4GiB"')
    if exact != exact.to_integral_value():
        raise ValueError(f"{shown(value)} is not a whole number of bytes, expected {expected}")
    return int(exact)


def rate(value: object) -> Decimal:
    """Satoshis, exactly as written: not negative, at most a thousand million."""
    return price(value, expected="a number of satoshis, 0 or more", unit=" satoshis")


def price(value: object, *, expected: str = "a price, 0 or more", unit: str = "") -> Decimal:
    """Satoshis or dollars, exactly as written: not negative, at most a thousand million."""
    exact = number(value, expected)
    if exact < 0:
        raise ValueError(f"{shown(value)} is negative, expected {expected}")
    if exact > DEAREST:
        raise ValueError(f"{shown(value)} is too much, expected at most {DEAREST}{unit}")
    return exact


def amount(value: object) -> Decimal:
    """What may be spent: more than nothing, at most a thousand million."""
    exact = price(value)
    if exact == 0:
        raise ValueError("is 0, expected more than nothing, or no such key for no limit")
    return exact


def share(value: object) -> Decimal:
    """A part of a whole: above 0, at most 1."""
    expected = "a share above 0 and up to 1, such as 0.8"
    exact = number(value, expected)
    if not 0 < exact <= 1:
        raise ValueError(f"{shown(value)} is out of range, expected {expected}")
    return exact


def address(value: object) -> Address:
    """``HOST:PORT``; an IPv6 host stands in brackets. Port 0 means any free one."""
    expected = 'HOST:PORT such as "127.0.0.1:8080" or "[::1]:8080"'
    if not isinstance(value, str):
        raise ValueError(misfit(value, expected))
    match = re.match(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+)):(\d{1,5})\Z", value.strip(), re.ASCII)
    if not match or int(match[3]) > 65_535 or not _host_is_plausible(match[1] or match[2], bracketed=bool(match[1])):
        raise ValueError(f"{shown(value)} is not an address, expected {expected}")
    return Address(host=match[1] or match[2], port=int(match[3]))


def network(value: object) -> Network:
    """A network, ``10.0.0.0/8`` or ``fd00::/8``, or a single address."""
    expected = 'a network such as "10.0.0.0/8", or an address'
    if not isinstance(value, str):
        raise ValueError(misfit(value, expected))
    try:
        whole = ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{shown(value)} is not a network, expected {expected}") from None
    if whole.version == 6 and (whole.network_address.ipv4_mapped or whole.network_address.scope_id):
        raise ValueError(f"{shown(value)} is IPv4 in the form of IPv6, or has a scope, expected {expected}")
    if whole.network_address != ipaddress.ip_interface(value.strip()).ip:
        meant = "its first address" if isinstance(value, Text) else f'"{whole}"'
        raise ValueError(f"{shown(value)} begins inside its network, expected {meant}")
    return whole


def url(value: object) -> str:
    """An http or https URL without trailing slashes. It is never shown: a key may have been pasted into it."""
    expected = 'a URL such as "https://api.example.com/v1"'
    if not isinstance(value, str):
        raise ValueError(misfit(value, expected))
    _http_url(value, expected, remedy="expected none: put the key into api_key")
    if "?" in value:
        raise ValueError(f"has a query or fragment in it, expected none: {expected}")
    return value.rstrip("/")


def endpoint(value: str) -> str:
    """One http or https URL to call as it is: it may have a query. It is never shown: it may have a token in it."""
    _http_url(value, 'a URL such as "https://ops.example.com/hook"', remedy="expected none")
    return value


def _http_url(value: str, expected: str, *, remedy: str) -> None:
    """Raise unless it can be called; ``remedy`` is for a password in it."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"is empty, or has white space or other than ASCII in it, expected {expected}")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"is not a URL, expected {expected}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"does not begin with http:// or https://, expected {expected}")
    if "@" in parts.netloc:
        raise ValueError(f"has a user name or password in it, {remedy}")
    if not host or port == 0 or parts.netloc.endswith(":") or "\\" in value:
        raise ValueError(f"has no host, or no valid port, expected {expected}")
    if not _host_is_plausible(host, bracketed="[" in parts.netloc):
        raise ValueError(f"has a host that is not a name or address in ASCII, expected {expected}")
    if "#" in value:
        raise ValueError(f"has a query or fragment in it, expected none: {expected}")


def host(value: object) -> str:
    """The name or address of a machine; IPv6 without brackets."""
    expected = 'a host such as "smtp.example.com"'
    if not isinstance(value, str):
        raise ValueError(misfit(value, expected))
    if not (_host_is_plausible(value, bracketed=False) or _host_is_plausible(value, bracketed=True)):
        raise ValueError(f"{shown(value)} is not a host, expected {expected}")
    return str(value)


def mailbox(value: object) -> str:
    """``ops@example.com`` or ``Name <ops@example.com>``, on one line and with an address in ASCII."""
    expected = 'an address such as "ops@example.com" or "Name <ops@example.com>"'
    if not isinstance(value, str):
        raise ValueError(misfit(value, expected))
    match = _MAILBOX.match(value) if len(value) <= _LONGEST_MAILBOX else None
    if not match or not value.isprintable() or not _host_is_plausible(match[1] or match[2], bracketed=False):
        raise ValueError(f"{shown(value)} is not an address, expected {expected}")
    return str(value)


def store(value: object) -> str:
    """The path of an SQLite file, from ``sqlite:///relative`` or ``sqlite:////absolute``."""
    expected = '"sqlite:///relative/path.db" or "sqlite:////absolute/path.db"'
    if not isinstance(value, str):
        raise ValueError(misfit(value, expected))
    if value.startswith(("postgresql://", "postgres://")):
        raise ValueError(f"PostgreSQL is not available in this version, expected {expected}")
    path = value.removeprefix("sqlite:///")
    if path == value or not path.strip("/") or path.endswith("/") or not path.isprintable() or set("?#") & set(path):
        raise ValueError(f"is not the URL of an SQLite file, expected {expected}")
    if path == ":memory:":
        raise ValueError(f"the request log must outlive the process, expected {expected}")
    return path


def _host_is_plausible(host: str, *, bracketed: bool) -> bool:
    if not bracketed and not all(part.isdigit() for part in host.split(".")):
        return bool(_HOST.match(host))
    try:
        return ipaddress.ip_address(host).version == (6 if bracketed else 4)
    except ValueError:
        return False


def exact(text: str) -> Decimal:
    """The decimal number that ``text`` spells, for parsers that would otherwise make a float of it."""
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:
        raise ValueError("a number too large to be read") from None
