from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.bounds import Bounds, Picture
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Capabilities, Deployment
from arbstr.policy.bounds import (
    PER_MESSAGE,
    PER_REQUEST,
    PER_REQUEST_WITH_TOOLS,
    PER_TOOL,
    UNKNOWN_WINDOW,
    input_bound,
    output_bound,
)
from arbstr.policy.images import image_rule


def deployment(model: str = "m", *, window: int | None = None, longest: int | None = None) -> Deployment:
    return Deployment("p", model, None, context_window=window, capabilities=Capabilities(max_output=longest))


def ask(max_tokens: int | None = None, n: int = 1) -> ChatRequest:
    return ChatRequest("m", False, {}, 0, "", max_tokens, n)


def test_text() -> None:
    """Its bytes, and what vendors put around each message and before the first."""
    found = input_bound(Bounds(100, messages=3), deployment())

    assert found == 100 + 3 * PER_MESSAGE + PER_REQUEST


def test_tools() -> None:
    """Vendors explain to the model what tools are, and wrap each of them."""
    plain = input_bound(Bounds(100), deployment())

    assert input_bound(Bounds(100, tools=2), deployment()) == plain + PER_REQUEST_WITH_TOOLS + 2 * PER_TOOL


@pytest.mark.parametrize(("model", "least"), [("x-ai/grok-4", 700), ("openai.gpt-oss-120b-1:0", 80)])
def test_vendors_with_words_of_their_own(model: str, least: int) -> None:
    """Some put more before a conversation than others."""
    assert input_bound(Bounds(0, messages=0), deployment(model)) >= least > PER_REQUEST


def test_images() -> None:
    """Each by the formula of the deployment's model."""
    pictures = (Picture(1024, 1024), Picture(low=True), Picture())
    plain = input_bound(Bounds(100), deployment("gpt-4o"))

    found = input_bound(Bounds(100, pictures=pictures), deployment("gpt-4o"))

    assert found == plain + 765 + 85 + 1445


def test_the_window_bounds_text() -> None:
    """What does not fit is refused by the vendor. Images may be charged for more than they take of it."""
    many = (Picture(),) * 10

    assert input_bound(Bounds(1_000_000), deployment(window=128_000)) == 128_000
    assert input_bound(Bounds(100), deployment(window=128_000)) == input_bound(Bounds(100), deployment())
    assert input_bound(Bounds(1_000_000, pictures=many), deployment("gpt-4o-mini", window=128_000)) == 128_000 + 481_690


def test_what_has_no_bound() -> None:
    """Counts for the whole window, or for a large one where none is known; text beyond it still counts."""
    assert input_bound(Bounds(100, unbounded=True), deployment(window=128_000)) == 128_000
    assert input_bound(Bounds(100, unbounded=True), deployment()) == UNKNOWN_WINDOW
    assert input_bound(Bounds(2_000_000, unbounded=True), deployment()) > 2_000_000


@pytest.mark.parametrize(
    ("asked", "n", "longest", "tokens"),
    [
        (100, 1, None, 100),
        (100, 3, None, 300),
        (0, 1, None, 16),
        (5, 2, None, 32),
        (None, 1, None, 4096),
        (None, 2, None, 8192),
        (None, 1, 2048, 2048),
        (10_000, 2, 2048, 4096),
    ],
)
def test_output(asked: int | None, n: int, longest: int | None, tokens: int) -> None:
    """The caller's limit, or the default; for each choice."""
    found = output_bound(Bounds(0), ask(asked, n), deployment(longest=longest), default=4096)

    assert found == tokens


def test_embeddings_write_nothing() -> None:
    """So nothing is reserved for it."""
    request = msgspec.structs.replace(ask(0), dialect="embeddings")

    assert output_bound(Bounds(0), request, deployment(), default=4096) == 0


def test_a_predicted_answer_is_charged_beside_the_real_one() -> None:
    """What of it turns out otherwise counts as output."""
    assert output_bound(Bounds(0, predicted_bytes=50), ask(100), deployment(), default=4096) == 150


PICTURES = st.builds(Picture, st.integers(0, 9000), st.integers(0, 9000), st.booleans())
BOUNDS = st.builds(
    Bounds,
    st.integers(0, 10**7),
    st.integers(0, 10**4),
    st.integers(0, 100),
    st.lists(PICTURES, max_size=5).map(tuple),
    st.booleans(),
)
MODELS = st.sampled_from(["gpt-4o", "claude-opus-5", "gemini-2.5-pro", "grok-4", "m"])


@given(BOUNDS, MODELS, st.none() | st.integers(1, 2 * 10**6))
def test_a_larger_request_never_has_a_smaller_bound(bounds: Bounds, model: str, window: int | None) -> None:
    """In nothing that it is made of."""
    at = deployment(model, window=window)
    found = input_bound(bounds, at)

    for more in (
        {"text_bytes": bounds.text_bytes + 1},
        {"messages": bounds.messages + 1},
        {"tools": bounds.tools + 1},
        {"pictures": (*bounds.pictures, Picture())},
    ):
        grown: dict[str, Any] = {name: getattr(bounds, name) for name in bounds.__struct_fields__}
        assert input_bound(Bounds(**grown | more), at) >= found
    assert found >= sum(image_rule(model).tokens(picture) for picture in bounds.pictures)


WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather in a given location",
    "input_schema": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}},
        "required": ["location"],
    },
}


@pytest.mark.parametrize(
    ("model", "bounds", "counted"),
    [
        # OpenAI, "Create chat completion": "You are a helpful assistant." and "Hello!"
        ("gpt-4o", Bounds(6 + 28 + 4 + 6, messages=3), 19),
        # … with the URL of an image, "What is in this image?"
        ("gpt-4.1", Bounds(4 + 22, messages=2, pictures=(Picture(),)), 1117),
        # Anthropic, "Token counting": "You are a scientist" and "Hello, Claude"
        ("claude-opus-4-6", Bounds(19 + 4 + 13, messages=2), 14),
        # … with a tool, "What's the weather like in San Francisco?"
        ("claude-opus-4-6", Bounds(4 + 41 + len(json.dumps([WEATHER])), messages=2, tools=1), 403),
        # … with an image, "Describe this image"
        ("claude-opus-4-6", Bounds(4 + 19, messages=2, pictures=(Picture(),)), 1551),
        # Google, "Understand and count tokens": a pangram of 44 letters; "Tell me about this image" of 25 beside it
        ("gemini-2.5-flash", Bounds(4 + 44, messages=2), 11),
        ("gemini-2.0-flash", Bounds(4 + 25, messages=2, pictures=(Picture(),)), 264),
        # xAI's "Streaming": 71 and 58 letters; and what a request without instructions was seen to be charged
        ("grok-beta", Bounds(6 + 71 + 4 + 58, messages=3), 41),
        ("grok-4-1-fast-reasoning", Bounds(4 + 58, messages=2), 650 + 20),
    ],
)
def test_counts_that_vendors_show(model: str, bounds: Bounds, counted: int) -> None:
    """The examples of their own pages are within."""
    assert input_bound(bounds, deployment(model)) >= counted
