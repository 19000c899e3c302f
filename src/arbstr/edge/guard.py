"""Who may not even ask: pages of another origin, and names that resolve to this machine without being its own.

While the gateway asks for no keys, its protection is that only programs of this machine reach it. A browser is one of
them, and runs the code of strangers; so a request that a page of another origin makes is refused, and so is one that
came to a loopback address under a foreign name (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from arbstr.domain.errors import ForeignOrigin

_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d*)?", re.IGNORECASE)
"""A name or an address, and a port: what readers of URLs would make of anything more differs from one to the next."""


def check(headers: Mapping[bytes, bytes], server: str | None) -> None:
    """Raise ForeignOrigin where a request's headers say that it is not the caller's own doing.

    ``server`` is the address that the request came to.
    """
    host = headers.get(b"host", b"")
    if server is not None and host and _is_loopback(server) and not _names_loopback(host):
        raise ForeignOrigin(
            "this gateway listens on loopback and was called by another name; use http://127.0.0.1 or http://localhost",
            param="Host",
        )
    origin = headers.get(b"origin")
    if origin is not None and not _same_origin(origin, host):
        raise ForeignOrigin("requests from web pages of another origin are refused while no key is asked for")
    if headers.get(b"sec-fetch-site") == b"cross-site":
        raise ForeignOrigin("requests from web pages of another site are refused while no key is asked for")


@lru_cache(maxsize=256)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False  # a Unix socket's path


@lru_cache(maxsize=256)
def _names_loopback(host: bytes) -> bool:
    """Whether a Host header is a name of this machine that no stranger's DNS can give out, and nothing but a name."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].decode().strip("[]").lower()
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


@lru_cache(maxsize=256)
def _same_origin(origin: bytes, host: bytes) -> bool:
    try:
        parts = urlsplit(origin.decode("ascii"))
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.decode("latin-1").lower()
