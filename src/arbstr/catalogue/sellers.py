"""Which provider of the catalogue is behind a URL.

The URL alone decides: whoever is paid is who answers there. A provider of kind ``anthropic`` at DeepSeek's address is
DeepSeek, and one at an address that nobody knows is nobody whose prices could be known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

UNPRICED = frozenset({"ollama", "mock"})
"""Kinds of providers that sell nothing."""

_ALSO = (
    ("aws", r"https://(?:[^/]+\.)?bedrock-runtime(?:-fips)?\.[a-z0-9-]+\.(?:vpce\.)?amazonaws\.com"),
    ("together", r"https://api\.together\.ai"),
)
"""Addresses of known providers that the data lacks: Bedrock's private and FIPS endpoints, Together's newer name."""


def seller(kind: str, base_url: str, patterns: Mapping[str, str]) -> str | None:
    """The id of the provider at ``base_url``, None for one that is not known. ``patterns`` has each one's URL, as a
    regular expression that URLs begin with."""
    if kind in UNPRICED:
        return None
    try:
        parts = urlsplit(base_url)
        url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path}"
    except ValueError:
        return None
    return next((name for name, pattern in (*patterns.items(), *_ALSO) if _begins(pattern, url)), None)


def _begins(pattern: str, url: str) -> bool:
    """Whether the URL begins with the pattern, and the pattern does not end in the middle of a host's name."""
    match = re.match(pattern.replace(".*", "[^/]*"), url)  # a host's name must not be found in a path
    if match is None:
        return False
    rest = url[match.end() :]
    return not rest or rest[0] in "/:" or match[0].endswith(("/", "."))
