"""What each family of models takes, as a table: the API answers 400 to what a model no longer knows.

From the vendor's model pages and migration guides as of November 2026. A new family is a line here and a line in the
tests. Names of models come in many spellings (``anthropic.claude-opus-4-5-20251101-v1:0``, ``claude-3.5-haiku``).
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

API_VERSION = "2023-06-01"
"""The ``anthropic-version`` in which requests are written. ``2026-10-21`` would refuse sampling parameters altogether,
which families up to 4.6 still obey."""


class Family(msgspec.Struct, frozen=True):
    """What the models of one family take. The defaults are those of the newest, which take least."""

    max_output: int = 128_000
    """Tokens; more in ``max_tokens`` is refused."""
    default_output: int = 128_000
    """``max_tokens`` for a caller who named none: all that the model has, but for the older ones, which refuse a
    request whose input and ``max_tokens`` together exceed their window."""
    sampling: str = "none"
    """``both`` (``temperature`` beside ``top_p``), ``one`` of the two, or ``none`` but the defaults."""
    thinking: tuple[str, ...] = ("adaptive",)
    """The values of ``thinking.type`` that are taken. ``enabled`` is the one with a budget."""
    thinks: bool = True
    """Where the request says nothing about it."""
    hides_thinking: bool = True
    """Its text is empty unless ``display`` asks for it."""
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    """The values of ``output_config.effort`` that are taken."""
    forced_tools: bool = False
    """``tool_choice`` may be ``any`` or ``tool``, as long as the model does not think."""
    prefill: bool = False
    """The last message may be the assistant's, to be continued."""
    schemas: bool = True
    """``output_config.format`` and strict tools."""


_ADAPTIVE = ("adaptive", "disabled")
_BUDGET = ("enabled", "disabled")
_NO_XHIGH = ("low", "medium", "high", "max")

NEWEST = Family()
"""Also the guess for a Claude that this table does not know."""

COMPATIBLE = Family(
    max_output=0,
    default_output=16_384,
    sampling="both",
    thinking=_BUDGET,
    thinks=False,
    hides_thinking=False,
    efforts=(),
    forced_tools=True,
    prefill=True,
    schemas=False,
)
"""Models of others behind this API, which imitate it as it was in 2025. ``max_output`` 0: not known."""


def _claude_3(output: int, thinking: tuple[str, ...] = ()) -> Family:
    return _but(COMPATIBLE, max_output=output, default_output=min(output, 16_384), thinking=thinking)


def _but(family: Family, **changes: object) -> Family:
    return msgspec.structs.replace(family, **changes)


_CLAUDE_4 = _but(COMPATIBLE, max_output=64_000)
_CLAUDE_4_5 = _but(_CLAUDE_4, default_output=64_000, sampling="one", schemas=True)
_CLAUDE_4_6 = _but(
    _CLAUDE_4_5,
    max_output=128_000,
    default_output=128_000,
    thinking=("adaptive", "enabled", "disabled"),
    efforts=_NO_XHIGH,
    prefill=False,
)
_CLAUDE_4_7 = _but(NEWEST, thinking=_ADAPTIVE, thinks=False, forced_tools=True)

FAMILIES: dict[str, Family] = {
    "claude-3-7-sonnet": _claude_3(64_000, _BUDGET),
    "claude-3-5": _claude_3(8_192),
    "claude-3": _claude_3(4_096),
    "claude-2": _claude_3(4_096),
    "claude-instant": _claude_3(4_096),
    "claude-opus-4-1": _but(_CLAUDE_4, max_output=32_000, sampling="one"),
    "claude-opus-4-5": _but(_CLAUDE_4_5, efforts=("low", "medium", "high")),
    "claude-opus-4-6": _CLAUDE_4_6,
    "claude-opus-4-7": _CLAUDE_4_7,
    "claude-opus-4-8": _CLAUDE_4_7,
    "claude-opus-4": _but(_CLAUDE_4, max_output=32_000),
    "claude-sonnet-4-5": _CLAUDE_4_5,
    "claude-sonnet-4-6": _CLAUDE_4_6,
    "claude-sonnet-4": _CLAUDE_4,
    "claude-haiku-4-5": _CLAUDE_4_5,
    "claude-mythos-preview": _but(NEWEST, efforts=_NO_XHIGH),
    "claude-opus-5-5": NEWEST,
    "claude-opus-5": _but(NEWEST, thinking=_ADAPTIVE, forced_tools=True),
    "claude-sonnet-5-5": _but(NEWEST, thinking=("adaptive", "between_tools")),
    "claude-sonnet-5": _but(NEWEST, thinking=_ADAPTIVE, forced_tools=True),
    "claude-haiku-5-5": _but(NEWEST, thinking=_ADAPTIVE, forced_tools=True),
    "claude-fable-5": NEWEST,
    "claude-mythos-5": NEWEST,
}
"""By the beginning of the name; the longest that fits is the one."""

_LONGEST_FIRST = sorted(FAMILIES, key=len, reverse=True)
_OLD_ORDER = re.compile(r"claude-(\d+(?:-\d{1,2})?)-(opus|sonnet|haiku)\b")
_DATED = re.compile(r"claude-(opus|sonnet|haiku)-(\d)-(\d{8})")


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """The family of ``model``, whatever platform its name comes from."""
    name = model.lower().replace(".", "-").replace("@", "-").replace("_", "-")
    start = name.rfind("claude-")
    if start < 0:
        return NEWEST if "claude" in name else COMPATIBLE
    name = name[start:]
    if (old := _OLD_ORDER.match(name)) and not old[1].startswith(("2", "3")):
        name = f"claude-{old[2]}-{old[1]}"  # claude-4-sonnet, claude-4.5-haiku
    name = _DATED.sub(r"claude-\1-\2", name)
    for prefix in _LONGEST_FIRST:
        if name.startswith(prefix) and not name[len(prefix) : len(prefix) + 1].isdigit():
            found = FAMILIES[prefix]
            newer = re.match(r"-(\d{1,2})(?!\d)", name[len(prefix) :])
            # claude-sonnet-4-9: not the family of claude-sonnet-4, but one that was not known yet.
            unknown = newer is not None and newer[1] != "0" and re.fullmatch(r"claude-[a-z]+-\d", prefix)
            return NEWEST if unknown else found
    return NEWEST
