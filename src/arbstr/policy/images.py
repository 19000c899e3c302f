"""How many tokens an image costs at most: by the vendors' documented formulas, as of November 2026.

A formula needs the image's size, which is known where the image is in the request. For any other it is the most that
the vendor charges for an image of any size, for all of them scale down what is larger. Sources:

- OpenAI, "Images and vision", *Calculating costs*. Tiles: the image is scaled into 2048 × 2048, its shorter side to
  768, and charged by tiles of 512 × 512 beside a base; at low detail the base alone. Patches: of 32 × 32, up to a
  budget, times the model's multiplier. From GPT-5.4 on, ``original`` detail has a budget of 10,000 patches.
- Anthropic, "Vision": patches of 28 × 28, up to 1,568, and from Claude Opus 4.7 on up to 4,784. The page's older
  formula, width × height / 750, gives 5 % more, and is the one that is believed here.
- Google, "Understand and count tokens": up to Gemini 2.5, 258 for an image of up to 384 × 384, else for each crop: a
  square of two thirds of the shorter side, between 256 and 768; an image is scaled into 3072 × 3072 first. From
  Gemini 3 on by ``media_resolution``: up to 2,240.
- xAI, "Image understanding": up to six tiles and one for the whole, 256 each. Mistral, "Vision": patches of 16 × 16 in
  1024 × 1024, and one for each row. Alibaba, "Visual understanding": up to 16,384.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from arbstr.domain.bounds import Picture


class ImageRule(msgspec.Struct, frozen=True):
    """What the images of one family of models cost."""

    most: int
    """For an image of any size."""
    low: int | None = None
    """At low detail. None: detail makes no difference, or is not documented."""
    patch: int = 0
    """The side of a patch in pixels; 0: not charged by patches."""
    percent: int = 100
    """Tokens for a hundred patches."""
    base: int = 0
    tile: int = 0
    """Tokens for a tile of 512 × 512 beside the base; 0: not charged by tiles."""
    crop: int = 0
    """Tokens for one of Gemini's crops; 0: not charged by crops."""

    def tokens(self, picture: Picture) -> int:
        """The most that ``picture`` costs."""
        if picture.low and self.low is not None:
            return self.low
        short, long = sorted((picture.width, picture.height))
        if not short:
            return self.most
        if self.patch:
            patches = _ceil(short, self.patch) * _ceil(long, self.patch)
            return min(self.most, _ceil(patches * self.percent, 100))
        if self.tile:
            # Scaled to a short side of 768, or left smaller: two tiles at most, and as many as fit beside.
            beside = _ceil(min(2048, _ceil(768 * long, short)), 512)
            return min(self.most, self.base + self.tile * 2 * beside)
        if self.crop and long <= 3072:
            side = min(768, max(256, short * 2 // 3))
            crops = 1 if long <= 384 else _ceil(short, side) * _ceil(long, side)
            return min(self.most, self.crop * crops)
        return self.most


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


def _tiles(base: int, tile: int) -> ImageRule:
    return ImageRule(base + 8 * tile, low=base, base=base, tile=tile)


def _patches(percent: int, *, budget: int = 1536, low: int | None = None) -> ImageRule:
    return ImageRule(_ceil(budget * percent, 100), low=low, patch=32, percent=percent)


_CLAUDE = ImageRule(1640, patch=28, percent=105)
_CLAUDE_4_7 = msgspec.structs.replace(_CLAUDE, most=5024)
_ORIGINAL = 10_000
_LOW_PATCHES = 256  # 512 × 512

_GPT_4O_MINI = _tiles(2833, 5667)

UNKNOWN = ImageRule(_GPT_4O_MINI.most)
"""For models that are not in the table: the dearest of all that are, at any size and detail."""

_RULES = (
    (r"claude-(?:v?[123]\b|instant)", _CLAUDE),
    (r"claude-(?:(?:opus|sonnet|haiku)-)?4(?:-[0156])?(?![-\d]*\d)", _CLAUDE),
    (r"claude-(?:(?:opus|sonnet|haiku)-)?4(?:-[0156])?-(?:2\d{7}|opus|sonnet|haiku)", _CLAUDE),
    (r"claude", _CLAUDE_4_7),
    (r"gpt-4o-mini", _GPT_4O_MINI),
    (r"gpt-4-1-mini|gpt-5-(?:[14]-)?(?:codex-)?mini", _patches(162)),
    (r"gpt-4-1-nano|gpt-5-(?:4-)?nano", _patches(246)),
    (r"gpt-4-1", ImageRule(1536, low=85)),
    (r"gpt-4o|gpt-4-5|gpt-4-turbo|gpt-4-(?:\w+-)?vision", _tiles(85, 170)),
    (r"\bo4-mini", _patches(172)),
    (r"\bo[13]\b", _tiles(75, 150)),
    (r"computer-use", _tiles(65, 129)),
    (r"gpt-5(?:-1)?(?!-\d(?!\d{3}))", _tiles(70, 140)),
    (r"gpt-[5-9].*nano", _patches(246, budget=_ORIGINAL)),
    (r"gpt-[5-9].*mini", _patches(162, budget=_ORIGINAL)),
    (r"gpt-[5-9]|\bo[4-9]\b", _patches(120, budget=_ORIGINAL, low=_ceil(_LOW_PATCHES * 120, 100))),
    (r"gemini-[3-9]", ImageRule(2240)),
    (r"gemini|gemma", ImageRule(24 * 258, crop=258)),
    (r"grok", ImageRule(7 * 256)),
    (r"pixtral|mistral|ministral|magistral", ImageRule(64 * 64 + 64)),
    (r"qwen|qvq", ImageRule(16_384 + 2)),
)
"""By what the name has in it, dots as hyphens; the first that fits is the one."""

_COMPILED = tuple((re.compile(pattern), rule) for pattern, rule in _RULES)


@lru_cache(maxsize=1024)
def image_rule(model: str) -> ImageRule:
    """What an image costs at ``model``, whatever platform its name comes from."""
    name = model.lower().replace(".", "-").replace("_", "-")
    return next((rule for pattern, rule in _COMPILED if pattern.search(name)), UNKNOWN)
