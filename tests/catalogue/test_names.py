"""A name means the model that genai-prices says it means."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.catalogue.file import Model
from arbstr.catalogue.names import Names, common, spellings
from tests.catalogue.judge import PROVIDERS
from tests.catalogue.shipped import sellers

SELLERS = sellers()
WRITTEN = [
    (key, text)
    for key, seller in SELLERS.items()
    for model in seller.models
    for text in (model.id, *(c[1:] for c in model.match if isinstance(c, str) and c[0] in "=^$*" and c[1:]))
]
EDITS = (
    "{}",
    "{}-20251211",
    "{}-2025-12-11",
    "{}-latest",
    "us.{}",
    "models/{}",
    "{}:free",
    "{}-tts",
    "x{}",
    "{}-99999999",
)


def found(key: str, name: str) -> str | None:
    seller = SELLERS[key]
    position = seller.names.position(name)
    return None if position is None else seller.models[position].id


@given(which=st.sampled_from(WRITTEN), edit=st.sampled_from(EDITS), upper=st.booleans())
@settings(max_examples=1000)
def test_a_name_means_what_the_judge_says(which: tuple[str, str], edit: str, upper: bool) -> None:
    """Whatever stands before or after it, in upper and lower case, and with dates in both forms."""
    key, text = which
    name = edit.format(text.upper() if upper else text)

    judged = PROVIDERS[key].find_model(name)

    assert found(key, name) == (judged.id if judged else None)


def test_the_first_model_that_has_a_name_counts() -> None:
    """However it has it: a name that is written out does not go before an earlier pattern."""
    models = [Model("a-mini", ("^a-m",)), Model("a", ("=", "=a-mini", "=alpha")), Model("b", (("^b", "$x"),))]

    names = Names(models)

    assert [names.position(name) for name in ("a", "A-MINI", "alpha", "b-x", "b-y")] == [1, 0, 1, 2, None]


def test_clauses_that_stand_together_hold_together() -> None:
    """Whatever each of them is."""
    model = Model("m", (("^a", "*b", "$c", "/b.?c", "=a-b-c"),))

    assert Names([model]).position("a-b-c") == 0
    assert Names([model]).position("a-b-bc") is None


def test_what_looks_like_a_date_and_is_none_stays_as_it_is() -> None:
    """The thirteenth month is part of a name."""
    names = Names([Model("a-2025-12-11"), Model("b-2025-13-11")])

    assert names.position("a-20251211") == 0
    assert names.position("b-20251311") is None


def test_bedrock_s_names_lose_their_region() -> None:
    """Where the name as it is means nothing; a global profile has another price, and is never another name."""
    assert list(spellings("aws", "ca.amazon.nova-lite-v1:0")) == ["ca.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"]
    assert list(spellings("aws", "global.amazon.nova-lite-v1:0")) == ["global.amazon.nova-lite-v1:0"]
    assert list(spellings("openai", "us.a.b")) == ["us.a.b"]


def test_an_arn_is_what_it_names() -> None:
    """The vendor's model or the system's profile; what an account made of it has a price that nobody knows."""
    arn = "arn:aws:bedrock:us-east-1:123456789012"
    model = "anthropic.claude-3-haiku-20240307-v1:0"

    assert next(spellings("aws", f"arn:aws:bedrock:us-east-1::foundation-model/{model}")) == model
    assert next(spellings("aws", f"{arn}:inference-profile/us.{model}")) == f"us.{model}"
    for own in ("application-inference-profile/abc", f"custom-model/{model}/abc", "provisioned-model/abc"):
        assert list(spellings("aws", f"{arn}:{own}")) == []


def test_google_s_names_lose_what_stands_before_the_slash() -> None:
    """As its API writes them."""
    assert list(spellings("google", "models/gemini-2.5-pro")) == ["models/gemini-2.5-pro", "gemini-2.5-pro"]


def test_names_have_in_common_what_is_left_without_author_and_spelling() -> None:
    """So that the same model is found at those who sell it under other names."""
    same = {
        common("openrouter", "anthropic/claude-haiku-4.5"),
        common("anthropic", "claude-haiku-4-5"),
        common("aws", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
    }

    assert same == {"claude-haiku-4-5"}
    assert common("aws", "my-model") == "my-model"
    assert common("openrouter", "openai/gpt-4o:batch") != common("openai", "gpt-4o")
