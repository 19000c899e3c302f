"""Who takes nothing needs no exchange rate."""

from __future__ import annotations

from pathlib import Path

from arbstr.config.load import load
from arbstr.domain.money import Cost, Currency, MicroSats, NanoUsd

TEXT = """
[providers.ollama]
models = ["gpt-4o"]

[providers.sold]
base_url = "http://127.0.0.1:9/v1"
models = ["gpt-4o"]
rates = { currency = "usd", input = 2.5, output = 10 }

[budget]
currency = "usd"
max_cost_per_day = 1
"""


def test_a_free_provider_goes_with_any_currency(tmp_path: Path) -> None:
    """A model in the room beside one that is sold for dollars: there is nothing to convert."""
    file = tmp_path / "arbstr.toml"
    file.write_text(TEXT)

    compiled = load(file, environ={})

    assert len(compiled.snapshot.routes["gpt-4o"].deployments) == 2


def test_nothing_is_nothing_in_both() -> None:
    """Without an exchange rate, too."""
    assert Cost.of_pico(0, Currency.SATS, None) == Cost(MicroSats(0), NanoUsd(0))
