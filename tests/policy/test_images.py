from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.bounds import Picture
from arbstr.policy.images import UNKNOWN, image_rule


def cost(model: str, width: int = 0, height: int = 0, *, low: bool = False) -> int:
    return image_rule(model).tokens(Picture(width, height, low))


@pytest.mark.parametrize(
    ("model", "most"),
    [
        # Tiles: a base, and at most 2 × 4 of them.
        ("gpt-4o", 85 + 170 * 8),
        ("openai/gpt-4o-2024-11-20", 85 + 170 * 8),
        ("gpt-4-turbo", 85 + 170 * 8),
        ("gpt-4.5-preview", 85 + 170 * 8),
        ("gpt-4o-mini", 2833 + 5667 * 8),
        ("o1", 75 + 150 * 8),
        ("o3-pro-2025-06-10", 75 + 150 * 8),
        ("computer-use-preview", 65 + 129 * 8),
        ("gpt-5", 70 + 140 * 8),
        ("gpt-5-2025-08-07", 70 + 140 * 8),
        ("gpt-5-chat-latest", 70 + 140 * 8),
        ("gpt-5.1-codex-max", 70 + 140 * 8),
        # Patches: a budget, times a multiplier.
        ("gpt-4.1", 1536),
        ("gpt-4.1-mini", math.ceil(1536 * 1.62)),
        ("gpt-5-mini-2025-08-07", math.ceil(1536 * 1.62)),
        ("gpt-5.1-codex-mini", math.ceil(1536 * 1.62)),
        ("gpt-5.4-mini", math.ceil(1536 * 1.62)),
        ("gpt-4.1-nano", math.ceil(1536 * 2.46)),
        ("gpt-5-nano", math.ceil(1536 * 2.46)),
        ("o4-mini", math.ceil(1536 * 1.72)),
        ("gpt-5.2", 12_000),
        ("gpt-6-astra", 12_000),
        ("gpt-6-mini", 16_200),
        ("gpt-6-nano", 24_600),
        ("claude-3-5-sonnet-20240620", 1640),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 1640),
        ("anthropic.claude-v2:1", 1640),
        ("claude-opus-4", 1640),
        ("claude-opus-4.6", 1640),
        ("claude-4-sonnet", 1640),
        ("claude-4.5-haiku", 1640),
        ("claude-opus-4-7", 5024),
        ("us.anthropic.claude-opus-4-8-v1:0", 5024),
        ("claude-sonnet-5", 5024),
        ("gemini-1.5-pro", 24 * 258),
        ("models/gemini-2.5-flash", 24 * 258),
        ("gemini-flash-latest", 24 * 258),
        ("gemini-3-pro-preview", 2240),
        ("x-ai/grok-4", 1792),
        ("pixtral-12b", 4160),
        ("qwen/qwen2.5-vl-72b-instruct", 16_386),
        ("prod-chat", 2833 + 5667 * 8),
        ("llama-3.2-90b-vision", 2833 + 5667 * 8),
    ],
)
def test_an_image_of_any_size(model: str, most: int) -> None:
    """What the vendor charges at most; for a model that is not known, what the dearest of all charges."""
    assert cost(model) == most <= cost("unknown")


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        # OpenAI's examples: 1024 × 1024 becomes 768 × 768, which is four tiles, and 2048 × 4096 becomes 768 × 1536.
        ("gpt-4o", 1024, 1024, 765),
        ("gpt-4o", 2048, 4096, 1105),
        ("gpt-4o", 1000, 10, 85 + 170 * 8),
        # … and 1800 × 2400 is over the budget, 1024 × 1024 is 32 × 32 patches.
        ("gpt-4.1-mini", 1024, 1024, math.ceil(1024 * 1.62)),
        ("gpt-4.1-mini", 1800, 2400, math.ceil(1536 * 1.62)),
        ("gpt-5.4", 33, 32, 3),
        # Anthropic's: 200 × 200 is about 54, 1000 × 1000 about 1334, 1092 × 1092 about 1590.
        ("claude-sonnet-4", 200, 200, 68),
        ("claude-sonnet-4", 1000, 1000, 1361),
        ("claude-sonnet-4", 1092, 1092, 1598),
        ("claude-sonnet-4", 8000, 8000, 1640),
        ("claude-opus-4-7", 1568, 1568, 3293),
        ("claude-opus-4-7", 2576, 2576, 5024),
        # Google's: 960 × 540 is cropped into 3 × 2.
        ("gemini-2.5-flash", 384, 384, 258),
        ("gemini-2.5-flash", 960, 540, 6 * 258),
        ("gemini-2.5-flash", 3072, 3072, 16 * 258),
        ("gemini-2.5-flash", 4000, 3000, 24 * 258),
        # Whatever its size.
        ("gpt-4.1", 10, 10, 1536),
        ("gemini-3-pro", 10, 10, 2240),
        ("unknown", 10, 10, 48_169),
    ],
)
def test_an_image_whose_size_is_known(model: str, width: int, height: int, tokens: int) -> None:
    """By the vendor's formula, and at most by what it charges for the largest."""
    assert cost(model, width, height) == cost(model, height, width) == tokens


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("gpt-4o", 85), ("gpt-4o-mini", 2833), ("gpt-5", 70), ("o3", 75), ("gpt-4.1", 85), ("gpt-5.4", 308)],
)
def test_low_detail(model: str, tokens: int) -> None:
    """Costs the base alone, or the patches of 512 × 512, whatever the image is."""
    assert cost(model, low=True) == cost(model, 4000, 3000, low=True) == tokens


@pytest.mark.parametrize("model", ["gpt-4.1-mini", "o4-mini", "claude-opus-5", "gemini-2.5-pro", "grok-4", "unknown"])
def test_low_detail_that_no_vendor_promises(model: str) -> None:
    """Makes no difference."""
    assert cost(model, low=True) == cost(model)


MODELS = ["gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-nano", "gpt-6", "claude-opus-4-5", "claude-opus-5", "gemini-2.5-pro"]
SIZES = st.integers(1, 20_000)


@given(st.sampled_from(MODELS), SIZES, SIZES)
def test_no_image_costs_more_than_one_of_any_size(model: str, width: int, height: int) -> None:
    """And none is free."""
    assert 0 < cost(model, width, height) <= cost(model) <= UNKNOWN.most


@given(SIZES, SIZES)
def test_claudes_own_formulas_are_bounded(width: int, height: int) -> None:
    """Both of them, below the size from which images are scaled down."""
    patches = math.ceil(width / 28) * math.ceil(height / 28)

    for model, budget in (("claude-sonnet-4-6", 1568), ("claude-opus-4-7", 4784)):
        found = cost(model, width, height)
        assert found >= min(patches, budget)
        assert found >= min(width * height / 750, budget)


@given(SIZES, SIZES)
def test_openais_tiles_are_bounded(width: int, height: int) -> None:
    """As the guide counts them: into 2048 × 2048, the shorter side to 768 at most, tiles of 512."""
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    tiles = math.ceil(round(width * scale) / 512) * math.ceil(round(height * scale) / 512)

    assert cost("gpt-4o", width, height) >= 85 + 170 * min(tiles, 8)
