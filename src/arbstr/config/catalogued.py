"""What the price catalogue says of configured providers: read only where one of them may be in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from arbstr.config import kinds

if TYPE_CHECKING:
    from arbstr.catalogue import Listing


class Prices:
    """Finds models by the names that their providers know them by, as prices stand at ``at`` (aware)."""

    def __init__(self, providers: Mapping[kinds.Name, tuple[str, str]], at: datetime) -> None:
        """``providers``: of each, its kind and its URL."""
        self._providers = providers
        self._at = at
        self.until: datetime | None = None
        """The first instant at which one of the prices that were found changes, where that is known."""

    def __call__(self, provider: kinds.Name, model: str) -> Listing | None:
        kind, url = self._providers[provider]
        if not url.startswith("https://"):
            return None  # all who are known are called by TLS
        from arbstr.catalogue import shipped

        listing = shipped().find(kind, url, model, self._at)
        if listing is not None and listing.until is not None:
            self.until = listing.until if self.until is None else min(self.until, listing.until)
        return listing
