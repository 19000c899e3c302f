"""What the catalogue answers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest

from arbstr.catalogue import Catalogue, CatalogueError, Listing, shipped
from arbstr.domain.money import Currency

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"
AZURE = "https://mine.openai.azure.com"
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com"


def written(folder: Path, **providers: object) -> Catalogue:
    """A catalogue of our own."""
    path = folder / "prices.json"
    path.write_bytes(
        msgspec.json.encode({"format": 1, "source": "ours 1", "date": "2026-11-02", "providers": providers})
    )
    return Catalogue.read(path)


def provider(*models: object, url: str = "https://api.example", name: str = "Example", **more: object) -> object:
    return {"name": name, "url": url, "models": models, **more}


def found(kind: str, url: str, model: str, at: datetime = NOW) -> Listing:
    listing = shipped().find(kind, url, model, at)
    assert listing is not None
    return listing


def names(listings: list[Listing]) -> set[tuple[str, str]]:
    return {(each.provider, each.model) for each in listings}


def test_a_known_model_of_a_known_provider_has_its_rates() -> None:
    """In pico-dollars for a token, with the entry and the day that they are from."""
    listing = found("openai", OPENAI, "gpt-4o")

    assert (listing.rates.input, listing.rates.output, listing.rates.cached_input) == (2_500_000, 10_000_000, 1_250_000)
    assert listing.rates.currency is Currency.USD
    assert listing.source == listing.rates.source == f"catalogue openai/gpt-4o {shipped().as_of}"
    assert (listing.provider, listing.provider_name, listing.model) == ("openai", "OpenAI", "gpt-4o")
    assert (listing.context_window, listing.as_of) == (128_000, shipped().as_of)
    assert listing.batch is not None
    assert (listing.batch.input, listing.batch.output) == (1_250_000, 5_000_000)


def test_the_same_model_costs_what_its_seller_takes() -> None:
    """At OpenRouter it is another name, and the price is OpenRouter's."""
    listing = found("openai", "https://openrouter.ai/api/v1", "openai/gpt-4o")

    assert listing.source.startswith("catalogue openrouter/openai/gpt-4o ")


def test_a_request_may_cost_something_of_itself() -> None:
    """Perplexity takes a fee for each: $12 for a thousand."""
    assert found("openai", "https://api.perplexity.ai", "sonar").rates.base_fee == 12 * 10**9


def test_a_long_context_costs_more() -> None:
    """From the token above which it does, and with all its parts."""
    rates = found("gemini", "https://generativelanguage.googleapis.com", "models/gemini-2.5-pro").rates

    (tier,) = rates.tiers
    assert (tier.above, tier.input, tier.output) == (200_000, 2_500_000, 15_000_000)
    assert rates.at(200_000) is rates
    assert rates.at(200_001) is tier


def test_azure_sells_others_models_at_their_prices() -> None:
    """And the source says whose price it is; a model of its own has its own."""
    listing = found("azure", AZURE, "gpt-5-nano-2025-08-07")

    assert (listing.provider, listing.provider_name) == ("azure", "Microsoft Azure")
    assert listing.source.startswith("catalogue openai/gpt-5-nano ")
    assert shipped().find("azure", AZURE, "our-deployment", NOW) is None


def test_bedrock_s_profiles_have_the_price_of_their_place() -> None:
    """A global one is cheaper than a region's; an account's own has no price that is known."""
    model = "anthropic.claude-haiku-4-5-20251001-v1:0"

    regional = found("bedrock", BEDROCK, f"us.{model}").rates.input
    assert found("bedrock", BEDROCK, model).rates.input == regional
    assert found("bedrock", BEDROCK, f"global.{model}").rates.input < regional
    own = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    assert shipped().find("bedrock", BEDROCK, own, NOW) is None


def test_prices_by_the_hour_say_until_when() -> None:
    """DeepSeek is dearer in its day; the listing ends when the hour strikes."""
    url = "https://api.deepseek.com"

    night = found("openai", url, "deepseek-v4-flash", datetime(2026, 11, 21, 0, 30, tzinfo=UTC))
    day = found("openai", url, "deepseek-v4-flash", datetime(2026, 11, 21, 1, tzinfo=UTC))

    assert night.until == datetime(2026, 11, 21, 1, tzinfo=UTC)
    assert day.until == datetime(2026, 11, 21, 4, tzinfo=UTC)
    assert day.rates.input == 2 * night.rates.input


def test_a_price_that_begins_on_a_day_says_so(tmp_path: Path) -> None:
    """Before, it is the one of before; the day begins at midnight in UTC."""
    prices = [{"i": 2, "o": 4}, {"from": "2026-12-01", "i": 1, "o": 2}]
    catalogue = written(tmp_path, example=provider({"id": "m", "price": prices}))
    before, after = datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)

    old = catalogue.find("openai", "https://api.example", "m", before)
    new = catalogue.find("openai", "https://api.example", "m", after)

    assert old is not None
    assert new is not None
    assert (old.rates.input, old.since, old.until) == (2, None, after)
    assert (new.rates.input, new.since, new.until) == (1, date(2026, 12, 1), None)


def test_hours_may_reach_into_the_next_day(tmp_path: Path) -> None:
    """From ten in the evening to six in the morning."""
    night = {"hours": ["22:00:00", "06:00:00"], "i": 1, "o": 1}
    catalogue = written(tmp_path, example=provider({"id": "m", "price": [{"i": 2, "o": 2}, night]}))

    prices = {}
    for hour in (5, 6, 21, 22):
        listing = catalogue.find("openai", "https://api.example", "m", datetime(2026, 1, 1, hour, tzinfo=UTC))
        assert listing is not None
        prices[hour] = listing.rates.input

    assert prices == {5: 1, 6: 2, 21: 2, 22: 1}


def test_no_price_for_tokens_is_no_listing() -> None:
    """Speech by the character, audio by the hour, images at a rate of their own: nothing of it becomes zero."""
    for model in ("tts-1", "whisper-1", "gpt-audio", "gpt-realtime", "no-such-model"):
        assert shipped().find("openai", OPENAI, model, NOW) is None


def test_what_is_charged_beside_is_named() -> None:
    """Those parts are in no rate."""
    listing = found("gemini", "https://generativelanguage.googleapis.com", "gemini-2.5-flash")

    assert {"web searches", "audio input"} <= set(listing.also)


def test_what_is_free_by_its_name_is_free() -> None:
    """And only that: what has no price is unknown."""
    url = "https://openrouter.ai/api/v1"

    assert found("openai", url, "openai/gpt-oss-20b:free").rates.expected(1000, 1000) == 0
    assert shipped().find("openai", url, "stealth/crouton-alpha", NOW) is None


def test_offers_are_from_all_who_have_the_model() -> None:
    """By their own names for it, each price of each of them once."""
    offers = names(shipped().offers("claude-haiku-4-5", NOW))

    assert {
        ("anthropic", "claude-haiku-4-5"),
        ("aws", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("aws", "regional.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("google", "claude-haiku-4-5"),
        ("openrouter", "anthropic/claude-haiku-4.5"),
    } <= offers


def test_offers_are_the_same_for_the_name_of_a_reseller() -> None:
    """``openai/gpt-4o`` asks for ``gpt-4o``."""
    plain, author = (names(shipped().offers(name, NOW)) for name in ("gpt-4o", "openai/gpt-4o"))

    assert {("openai", "gpt-4o"), ("openrouter", "openai/gpt-4o")} <= plain == author
    assert not any(model.endswith(":batch") for _, model in plain)


def test_nobody_offers_what_nobody_knows() -> None:
    """Names that look like it are another question."""
    assert shipped().offers("gtp-4o", NOW) == []
    assert "gpt-4o" in [name.rpartition("/")[2] for name in shipped().near("gtp-4o")]
    assert "whisper-1" not in shipped().near("whisper-1")
    assert shipped().near("zzzzzzzzzz") == []


def test_the_same_price_is_offered_once(tmp_path: Path) -> None:
    """Two names for one thing are one offer."""
    price = [{"i": 1, "o": 1}]
    models = [{"id": "m", "price": price}, {"id": "author/m", "price": price}, {"id": "other/m", "price": [{}]}]
    catalogue = written(tmp_path, example=provider(*models))

    assert names(catalogue.offers("m", NOW)) == {("example", "m")}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is no price catalogue"),
        (b"\xff\xfe", "is no price catalogue"),
        (b"[]", "is no price catalogue"),
        (b'{"format":2,"source":"","date":"2026-11-02","providers":{}}', "of format 2, expected 1"),
    ],
)
def test_what_is_no_catalogue_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    """With a line that says why."""
    path = tmp_path / "prices.json"
    path.write_bytes(content)

    with pytest.raises(CatalogueError, match=complaint):
        Catalogue.read(path)


def test_a_provider_s_models_are_read_when_one_is_asked_for(tmp_path: Path) -> None:
    """What is wrong with those of another one disturbs nobody."""
    good = provider({"id": "m", "price": [{"i": 1, "o": 1}]})
    bad = provider("no model", url="https://bad.example", name="Bad")
    catalogue = written(tmp_path, example=good, bad=bad)

    assert catalogue.find("openai", "https://api.example", "m", NOW) is not None
    with pytest.raises(CatalogueError, match="models of Bad"):
        catalogue.find("openai", "https://bad.example", "m", NOW)
