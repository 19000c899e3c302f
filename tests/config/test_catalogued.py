"""Prices and context windows that nobody configured, from the shipped catalogue."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from arbstr.catalogue import shipped
from arbstr.config.catalogued import Prices
from arbstr.config.kinds import Name
from arbstr.domain.money import Currency, Rates
from arbstr.domain.routing import Deployment
from tests.config.written import ALPHA, compiled

OPENAI = "[providers.openai]\nbase_url = 'https://api.openai.com/v1'\n"


def sold(folder: Path, text: str) -> tuple[Deployment, ...]:
    """What the first provider sells."""
    return compiled(folder, text).providers[0].deployments


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (OPENAI + "models = ['gpt-4o']", "openai/gpt-4o"),
        ("[providers.x]\nurl = 'https://api.openai.com/v1/'\nmodels = ['gpt-4o']", "openai/gpt-4o"),
        ("[providers.anthropic]\nmodels = ['claude-sonnet-4-5']", "anthropic/claude-sonnet-4-5"),
        ("[providers.gemini]\nmodels = ['gemini-2.5-pro']", "google/gemini-2.5-pro"),
        ("[providers.x]\nkind = 'azure'\nurl = 'https://x.openai.azure.com'\nmodels = ['gpt-4o']", "openai/gpt-4o"),
        (
            "[providers.bedrock]\nregion = 'eu-west-1'\nmodels = ['anthropic.claude-3-5-sonnet-20241022-v2:0']",
            "aws/regional.anthropic.claude-3-5-sonnet-20241022-v2:0",
        ),
        (OPENAI + "models = { mine = { upstream_model = 'gpt-4o' } }", "openai/gpt-4o"),
        (OPENAI + "[models.mine]\nprimary = { provider = 'openai', model = 'gpt-4o' }", "openai/gpt-4o"),
    ],
)
def test_a_known_seller_needs_no_rates(tmp_path: Path, text: str, source: str) -> None:
    """He is known by his address, and the model by the name that it is asked for by."""
    (deployment,) = sold(tmp_path, text)

    assert deployment.rates is not None
    assert deployment.rates.currency is Currency.USD
    assert deployment.rates.input > 0
    assert deployment.rates.source == f"catalogue {source} {shipped().as_of}"


def test_rates_of_ones_own_come_first(tmp_path: Path) -> None:
    """Those of a model or of its provider; then the catalogue is asked for the window alone."""
    own = OPENAI + "models = { gpt-4o = { input_rate = 1, output_rate = 2 }, gpt-4o-mini = {} }"
    all_own = OPENAI + "models = ['gpt-4o']\nrates = { input = 1, output = 2 }"

    priced, known = sold(tmp_path, own + "\n[pricing.exchange]\nsats_per_usd = 1000")
    (by_provider,) = sold(tmp_path, all_own)

    assert priced.rates == Rates.per_thousand(input=Decimal(1), output=Decimal(2))
    assert known.rates is not None
    assert known.rates.source.startswith("catalogue openai/gpt-4o-mini ")
    assert by_provider.rates is not None
    assert by_provider.rates.source == "config"
    assert priced.context_window == known.context_window == by_provider.context_window == 128_000


def test_a_configured_window_comes_first(tmp_path: Path) -> None:
    """Whether or not there is a price."""
    (deployment,) = sold(tmp_path, OPENAI + "models = { gpt-4o = { context_window = 1000 } }")

    assert deployment.context_window == 1000
    assert deployment.rates is not None


@pytest.mark.parametrize(
    "text",
    [
        OPENAI + "models = ['nobody-has-such-a-model']",
        "[providers.x]\nurl = 'https://proxy.example/v1'\nmodels = ['gpt-4o']",
        "[providers.x]\nurl = 'http://api.openai.com/v1'\nmodels = ['gpt-4o']",
        "[providers.openai]\nurl = 'http://127.0.0.1:9/v1'\nmodels = ['gpt-4o']",
        "[providers.openai]\nurl = 'https://127.0.0.1:9/v1'\nmodels = ['gpt-4o']",
    ],
)
def test_who_is_not_known_has_no_price(tmp_path: Path, text: str) -> None:
    """It may be served, and is never taken for free; ``arbstr check`` warns."""
    config = compiled(tmp_path, text)

    (deployment,) = config.providers[0].deployments
    (warning,) = (line for line in config.warnings if "has no price" in line)
    assert (deployment.rates, deployment.context_window) == (None, None)
    assert warning.endswith(
        f'has no price for "{deployment.model}", so that costs are unknown, '
        "and where a budget has to hold it is not asked: give it rates"
    )


def test_models_without_a_price_are_one_warning_for_each_provider(tmp_path: Path) -> None:
    """The first few are named; what a budget does with them depends on what it was told."""
    models = [f"m{number}" for number in range(7)]
    text = f"[providers.x]\nurl = 'https://x.example/v1'\nmodels = {models}\n[budget]\nunpriced = 'allow'\n{ALPHA}"

    lines = [line for line in compiled(tmp_path, text).warnings if "has no price" in line]

    assert lines == [
        'providers.x: has no price for "m0", "m1", "m2", "m3", "m4" and 2 more, so that costs are unknown: '
        "give it rates"
    ]


def test_ollama_is_free_and_not_unpriced(tmp_path: Path) -> None:
    """0 is a price."""
    (deployment,) = sold(tmp_path, "[providers.ollama]\nmodels = ['llama3.2']")

    assert deployment.rates == Rates.per_thousand(input=Decimal(0), output=Decimal(0))
    assert compiled(tmp_path, "[providers.ollama]\nmodels = ['llama3.2']").warnings == ()


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("[providers.x]\nurl = 'http://10.0.0.1/v1'\nmodels = ['m']", False),
        ("[providers.x]\nurl = 'http://127.0.0.1:9/v1'\nmodels = ['m']", False),
        ("[providers.ollama]\nmodels = ['m']", False),
        (
            "[providers.x]\nurl = 'https://x.example/v1'\nrates = { input = 1, output = 1 }\n"
            "models = { m = { context_window = 1000 } }",
            False,
        ),
        ("[providers.x]\nurl = 'https://x.example/v1'", False),
        ("[providers.x]\nurl = 'https://x.example/v1'\nmodels = ['m']", True),
    ],
)
def test_the_catalogue_is_read_only_where_it_may_help(tmp_path: Path, text: str, needed: bool) -> None:
    """Not for providers without TLS, nor where all that it could say is configured."""
    path = tmp_path / "arbstr.toml"
    path.write_text(text)
    program = f"import arbstr.config, pathlib, sys; arbstr.config.load(pathlib.Path({str(path)!r}), environ={{}})"

    assert ("arbstr.catalogue" in _loaded(program)) is needed


def test_mock_providers_do_without_the_catalogue(tmp_path: Path) -> None:
    """``serve --mock`` does not read what it does not need."""
    program = (
        "import sys, pathlib; from arbstr.config.mock import load_mock; "
        f"load_mock(environ={{}}, flags={{}}, folder=pathlib.Path({str(tmp_path)!r}))"
    )

    assert "arbstr.catalogue" not in _loaded(program)


def _loaded(program: str) -> list[str]:
    """The modules that a program of its own process has loaded at its end."""
    script = f"{program}; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_when_the_next_price_begins_is_remembered() -> None:
    """Of all that were asked for the earliest; none where no date is known."""
    provider = Name("deepseek")
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    prices = Prices({provider: ("openai", "https://api.deepseek.com/v1")}, at)
    listings = [
        listing
        for model in ("deepseek-chat", "deepseek-reasoner", "nobody-has-such-a-model")
        if (listing := prices(provider, model)) is not None
    ]
    changes = [listing.until for listing in listings if listing.until is not None]

    assert listings
    assert prices.until == min(changes, default=None)
