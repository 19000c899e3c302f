"""genai-prices, as the judge of what was compiled from its data."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.types import ModelInfo, Provider, TieredPrices

from arbstr.domain.usage import Usage as Ours

PROVIDERS: dict[str, Provider] = {provider.id: provider for provider in providers}
BATCH = {"processing": "batch"}


def pico(provider: str, model: ModelInfo, usage: Ours, at: datetime, *, batch: bool = False) -> Decimal:
    """What it says that a request costs, in pico-dollars."""
    counted = Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )
    price = model.calc_price(
        counted, PROVIDERS[provider], genai_request_timestamp=at, price_context=BATCH if batch else None
    )
    return price.total_price * 10**12


def exact(model: ModelInfo, at: datetime) -> bool:
    """No price of it has more digits than a pico-dollar for a token holds."""
    values = [value for value in vars(model.get_prices(at, BATCH)).values() if value is not None]
    values += [value for value in vars(model.get_prices(at)).values() if value is not None]
    flat: list[Decimal] = []
    for value in values:
        flat += [value.base, *(tier.price for tier in value.tiers)] if isinstance(value, TieredPrices) else [value]
    return all((value * 10**6) % 1 == 0 for value in flat)


def model_of(provider: str, id: str) -> ModelInfo:
    return next(model for model in PROVIDERS[provider].models if model.id == id)
