"""The shipped catalogue, looked at from within."""

from __future__ import annotations

from arbstr.catalogue import file
from arbstr.catalogue.lookup import Seller


def sellers() -> dict[str, Seller]:
    """Every provider of the shipped file."""
    data = file.read()
    return {key: Seller(key, provider, data.date) for key, provider in data.providers.items()}
