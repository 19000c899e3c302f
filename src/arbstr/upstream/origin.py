"""A server to connect to: scheme, host and port."""

from __future__ import annotations

import ssl
from typing import Literal, NamedTuple, cast
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Where connections go, and the key under which the pool keeps them.

    ``tls`` is for an origin with a certificate authority of its own; None means the pool's context. A named tuple,
    because it is hashed for every request.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @classmethod
    def parse(cls, base_url: str, *, tls: ssl.SSLContext | None = None) -> tuple[Origin, str]:
        """Split a base URL into origin and path prefix; the prefix has no slash at its end.

        ValueError for everything else than ``http(s)://host[:port][/path]``; its text never repeats the URL.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in PORTS:
            raise ValueError("the URL must begin with http:// or https://")
        if "@" in parts.netloc:
            raise ValueError("the URL must not contain a user or password")
        if parts.query or parts.fragment:
            raise ValueError("the URL must not have a query or a fragment")
        try:
            host, port = _ascii(parts.hostname or ""), parts.port
        except ValueError:
            raise ValueError("the URL has no valid host and port") from None
        if not host or port == 0 or not (base_url.isascii() or parts.path.isascii()) or _unclean(base_url):
            raise ValueError("the URL has no valid host, port and path")
        scheme = cast(Literal["http", "https"], parts.scheme)
        return cls(scheme, host, port or PORTS[scheme], tls), parts.path.rstrip("/")

    @property
    def authority(self) -> str:
        """The value of the ``Host`` header: IPv6 in brackets, no default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def _ascii(host: str) -> str:
    """Return `host` as it goes on the wire: international names in their ASCII form. ValueError if it cannot be one."""
    return host if ":" in host else host.encode("idna").decode("ascii")


def _unclean(url: str) -> bool:
    """Tell whether `url` has characters that would break a request head."""
    return any(char <= " " or char == "\x7f" for char in url)
