"""Models that providers are found to have, beside those that are configured."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from arbstr.config import Compiled
from arbstr.domain.money import Rates
from arbstr.domain.routing import Snapshot, Tier
from tests.config.written import ALPHA, BETA, compiled, problems

DISCOVERING = ALPHA + "auto_discover = true\n"


def rates(input: int, output: int) -> Rates:
    return Rates.per_thousand(input=Decimal(input), output=Decimal(output))


def discovered(config: Compiled, **found: list[str]) -> Snapshot:
    assert config.discovered is not None
    return config.discovered(found)


def test_found_models_are_sold_at_the_providers_own_rates(tmp_path: Path) -> None:
    """Beside the configured ones; each finding replaces the one before, and nothing else changes."""
    config = compiled(tmp_path, DISCOVERING + BETA)

    first = discovered(config, alpha=["gpt-4o", "o3"])
    second = discovered(config, alpha=["o4"])

    assert list(config.snapshot.routes) == ["gpt-4o"]
    assert list(first.routes) == ["gpt-4o", "o3"]
    assert list(second.routes) == ["gpt-4o", "o4"]
    assert [each.name for each in first.routes["gpt-4o"].deployments] == ["alpha/gpt-4o", "beta/gpt-4o"]
    (found,) = first.routes["o3"].deployments
    assert found.rates == first.routes["gpt-4o"].deployments[0].rates
    assert [each.name for each in first.providers[0].deployments] == ["alpha/gpt-4o", "alpha/o3"]
    assert discovered(config) == config.snapshot


def test_configured_models_keep_their_settings(tmp_path: Path) -> None:
    """By the name that they are listed under, and by the one that the provider knows them by."""
    text = DISCOVERING.replace('["gpt-4o"]', '{ fast = { upstream_model = "llama", input_rate = 1, output_rate = 2 } }')

    snapshot = discovered(compiled(tmp_path, text), alpha=["fast", "llama", "other"])

    assert list(snapshot.routes) == ["fast", "llama", "other"]
    assert snapshot.routes["fast"].deployments == snapshot.routes["llama"].deployments
    assert snapshot.routes["llama"].deployments[0].rates == rates(1, 2)
    assert snapshot.routes["other"].deployments[0].rates == rates(10, 30)


def test_a_name_that_no_model_can_have_is_left_out(tmp_path: Path) -> None:
    """What a provider says is not trusted."""
    names = ["", " a", "a\n", "x" * 257, "fine/model:1"]

    assert list(discovered(compiled(tmp_path, DISCOVERING), alpha=names).routes) == ["gpt-4o", "fine/model:1"]


def test_a_route_may_wait_for_somebody_to_have_its_model(tmp_path: Path) -> None:
    """Until then there is none."""
    config = compiled(tmp_path, DISCOVERING + '[models.o3]\nstrategy = "priority"\n')

    assert "o3" not in config.snapshot.routes
    assert [each.name for each in discovered(config, alpha=["o3"]).routes["o3"].deployments] == ["alpha/o3"]


def test_a_found_model_that_nobody_prices_has_no_price(tmp_path: Path) -> None:
    """It is served, and what it costs is not known: it is never taken for free."""
    config = compiled(tmp_path, '[providers.alpha]\nurl = "https://alpha.example/v1"\nauto_discover = true\n')

    (found,) = discovered(config, alpha=["o3"]).routes["o3"].deployments

    assert found.rates is None


def test_a_found_model_has_the_price_of_the_catalogue(tmp_path: Path) -> None:
    """Where the provider is known and says nothing else."""
    config = compiled(tmp_path, '[providers.a]\nurl = "https://api.openai.com/v1"\nauto_discover = true\n')

    (found,) = discovered(config, a=["gpt-4o"]).routes["gpt-4o"].deployments

    assert found.rates is not None
    assert found.rates.source.startswith("catalogue openai/gpt-4o ")


def test_half_a_price_is_told_when_it_is_read(tmp_path: Path) -> None:
    """Not only when a model is found."""
    text = '[providers.alpha]\nurl = "https://alpha.example/v1"\nauto_discover = true\ninput_rate = 1\n'

    (line,) = problems(tmp_path, text)

    assert line.startswith("arbstr.toml: providers.alpha.output_rate: is missing, expected satoshis per 1,000 output")


@pytest.mark.parametrize("head", ["[providers.ollama]\n", '[providers.box]\nkind = "ollama"\n'])
def test_ollama_is_local_and_free(tmp_path: Path, head: str) -> None:
    """If nothing else is said."""
    config = compiled(tmp_path, f'{head}models = ["llama3.2", {{ name = "dear", output_rate = 5 }}]\n')

    free, dear = config.providers[0].deployments
    assert (free.tier, free.rates) == (Tier.LOCAL, rates(0, 0))
    assert dear.rates == rates(0, 5)
    assert compiled(tmp_path, f'{head}models = ["m"]\ntier = "frontier"\n').providers[0].tier is Tier.FRONTIER


def test_nothing_is_warned_of_that_may_yet_be_found(tmp_path: Path) -> None:
    """No models are listed, and a rule names one that nobody sells so far."""
    text = "[providers.ollama]\nauto_discover = true\n[[policies.rules]]\nname = 'r'\nallowed_models = ['llama3.2']\n"

    assert compiled(tmp_path, text).warnings == ()


@pytest.mark.parametrize(
    ("kind", "warned"),
    [("openai", ["api_key", "base_url"]), ("azure", ["api_key"]), ("ollama", []), ("bedrock", [])],
)
def test_what_is_usual_for_a_kind_is_not_warned_of(tmp_path: Path, kind: str, warned: list[str]) -> None:
    """A local server has no key, AWS's credentials are elsewhere, and only OpenAI's APIs are under a path."""
    text = ALPHA.replace("alpha.example/v1", "alpha.example") + f'kind = "{kind}"\n'

    lines = compiled(tmp_path, text).warnings

    assert [line.split(": ")[0].rpartition(".")[2] for line in lines] == warned
