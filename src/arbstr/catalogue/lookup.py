"""Prices of known models of known providers."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import msgspec

from arbstr.catalogue import file, prices
from arbstr.catalogue.names import Names, common, spellings
from arbstr.catalogue.sellers import seller
from arbstr.domain.money import Rates


class Listing(msgspec.Struct, frozen=True):
    """What one provider charges for one model."""

    provider: str
    """Its id in the catalogue: ``openai``, ``aws``, ``x-ai`` …"""
    provider_name: str
    """As people call it."""
    model: str
    """The model's id in the catalogue."""
    rates: Rates
    """In dollars. Their ``source`` is the catalogue's entry and the day as of which it is known: ``catalogue
    openai/gpt-4o 2026-11-21``."""
    as_of: date
    """The day as of which the price is known."""
    since: date | None = None
    """The first day of this price, where that is known."""
    until: datetime | None = None
    """The instant at which another price begins, where that is known."""
    batch: Rates | None = None
    """For batches, where they have rates of their own."""
    context_window: int | None = None
    """In tokens."""
    also: tuple[str, ...] = ()
    """What is charged beside, and is in no rate: ``web searches``, ``audio input`` …"""

    @property
    def source(self) -> str:
        return self.rates.source


class Seller:
    """One provider of the catalogue, with its models decoded and their names in order."""

    def __init__(self, key: str, provider: file.Provider, known: date) -> None:
        self.key = key
        self.fallback = provider.fallback
        self.name = provider.name
        self._known = known
        self.models = file.models(provider)
        self.names = Names(self.models)

    def model(self, name: str) -> file.Model | None:
        """The model that is called so there."""
        found = (self.names.position(spelling) for spelling in spellings(self.key, name))
        position = next((each for each in found if each is not None), None)
        return None if position is None else self.models[position]

    @functools.cached_property
    def by_common_name(self) -> dict[str, list[file.Model]]:
        """The models by what their names have in common with those at other providers."""
        named: dict[str, dict[str, file.Model]] = {}
        for name, position in self.names.equal.items():
            model = self.models[position]
            named.setdefault(common(self.key, name), {})[model.id] = model
        for model in self.models:
            named.setdefault(common(self.key, model.id), {})[model.id] = model
        return {name: list(models.values()) for name, models in named.items()}

    def listing(self, model: file.Model, at: datetime) -> Listing | None:
        """What it costs at that instant, or None where that is no price for tokens."""
        price = prices.at_instant(model.prices, at)
        source = f"catalogue {self.key}/{model.id} {self._known}"
        standard = prices.rates(price, source) if price else None
        if price is None or standard is None:
            return None
        batch = prices.for_batches(price, model.batch, at)
        return Listing(
            provider=self.key,
            provider_name=self.name,
            model=model.id,
            rates=standard,
            as_of=self._known,
            since=price.since,
            until=prices.next_change(model.prices, at),
            batch=prices.rates(batch, source) if batch else None,
            context_window=model.context_window,
            also=price.also,
        )


class Catalogue:
    """Prices in a file. A provider's models are decoded when one of them is first asked for."""

    def __init__(self, data: file.File) -> None:
        self._data = data
        self._patterns = {key: provider.url for key, provider in data.providers.items()}
        self._sellers: dict[str, Seller] = {}
        self._keys: dict[tuple[str, str], str | None] = {}

    @classmethod
    def read(cls, path: Path) -> Catalogue:
        """The file at ``path``. Raises OSError, and CatalogueError for what is no catalogue."""
        return cls(file.read(path))

    @property
    def as_of(self) -> date:
        """The day as of which its prices are known."""
        return self._data.date

    @property
    def compiled_from(self) -> str:
        """The data's name and version."""
        return self._data.source

    def find(self, kind: str, base_url: str, model: str, at: datetime) -> Listing | None:
        """What a configured provider charges for ``model``, the name that it is asked for by, at an instant (aware).

        None for a provider that is not known by its URL, a model that it is not known to have, and a price that is
        none for tokens: nothing is guessed. Where a provider sells others' models at their prices (Azure), the
        listing's source names the provider whose price it is.
        """
        key = self._key(kind, base_url)
        if key is None:
            return None
        own = self._seller(key)
        for owner in (own, *(self._seller(other) for other in own.fallback)):
            found = owner.model(model)
            if found is not None:
                listing = owner.listing(found, at)
                return listing and msgspec.structs.replace(listing, provider=own.key, provider_name=own.name)
        return None

    def offers(self, model: str, at: datetime) -> list[Listing]:
        """What every known provider that has the model charges at an instant (aware), each price of a provider once.

        A provider has it where its own names for its models say so, or where one of them is the same but for the
        author's part before the last slash and for dots and dashes.
        """
        found: list[Listing] = []
        for key in self._data.providers:
            owner = self._seller(key)
            own: dict[Rates, Listing] = {}
            for each in self._having(owner, model):
                listing = owner.listing(each, at)
                if listing is not None:
                    own.setdefault(msgspec.structs.replace(listing.rates, source=""), listing)
            found += own.values()
        return found

    def near(self, model: str, count: int = 3) -> list[str]:
        """Other names of models that look like ``model``, the nearest first."""
        own, known = common("", model), dict[str, str]()
        for key in self._data.providers:
            for each in self._seller(key).models:
                known.setdefault(common(key, each.id), each.id)
        known.pop(own, None)
        return [known[name] for name in difflib.get_close_matches(own, known, n=count)]

    def _having(self, owner: Seller, model: str) -> Iterator[file.Model]:
        direct = owner.model(model)
        tail = owner.model(model.rpartition("/")[2])
        yield from (each for each in (direct, direct or tail) if each is not None)
        yield from owner.by_common_name.get(common("", model), ())

    def _key(self, kind: str, base_url: str) -> str | None:
        place = kind, base_url
        if place not in self._keys:
            self._keys[place] = seller(kind, base_url, self._patterns)
        return self._keys[place]

    def _seller(self, key: str) -> Seller:
        if key not in self._sellers:
            self._sellers[key] = Seller(key, self._data.providers[key], self._data.date)
        return self._sellers[key]


@functools.cache
def shipped() -> Catalogue:
    """The catalogue that comes with this arbstr, read at the first call."""
    return Catalogue.read(file.SHIPPED)
