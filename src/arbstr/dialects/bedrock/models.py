"""What each family of models on Bedrock takes through Converse: AWS answers 400 to what a model does not know.

From "Supported models and model features" and the models' own pages, as of November 2026. A new family is a line here
and a line in the tests. What the ids of custom and provisioned models are behind is not known; they are asked for all.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from arbstr.dialects.anthropic import models as anthropic_models


class Family(msgspec.Struct, frozen=True):
    """What the models of one family take. The defaults are those of a family that is not known."""

    system: bool = True
    """A system prompt; else it stands before the first message."""
    tools: bool = True
    stream_tools: bool = True
    """Tools in a stream, too."""
    forced_tools: tuple[str, ...] = ("any", "tool")
    """The values of ``toolChoice`` beside ``auto``."""
    cache: bool = False
    """Cache points in the system prompt and in messages."""
    cache_tools: bool = False
    """Cache points among the tools."""
    cache_ttl: bool = False
    """A cache point may say how long it is kept."""
    top_k: tuple[str, ...] = ()
    """Where ``top_k`` stands in ``additionalModelRequestFields``."""
    structured: bool = True
    """``outputConfig.textFormat`` and strict tools."""
    prefill: bool = False
    """The last message may be the assistant's, to be continued."""
    result_status: bool = False
    """``toolResult.status``."""
    reasoning: str = "none"
    """``claude``, ``nova`` (``reasoningConfig``), ``effort`` (``reasoning_effort``) or ``none``."""
    claude: anthropic_models.Family | None = None


_NO_TOOLS = Family(tools=False, structured=False)
_LLAMA = Family(stream_tools=False, forced_tools=(), structured=False)
_NOVA = Family(cache=True, top_k=("inferenceConfig", "topK"), structured=False, prefill=True, result_status=True)
_MISTRAL = Family(stream_tools=False, forced_tools=("any",), top_k=("top_k",), structured=False)

FAMILIES: dict[str, Family] = {
    "ai21.jamba": Family(forced_tools=(), structured=False),
    "amazon.nova": _NOVA,
    "amazon.nova-2": msgspec.structs.replace(_NOVA, reasoning="nova"),
    "amazon.titan": Family(system=False, tools=False, structured=False),
    "cohere.command": Family(system=False, tools=False, structured=False),
    "cohere.command-r": Family(forced_tools=(), top_k=("k",), structured=False),
    "deepseek.r1": _NO_TOOLS,
    "meta.llama2": _NO_TOOLS,
    "meta.llama3-8b": _NO_TOOLS,
    "meta.llama3-70b": _NO_TOOLS,
    "meta.llama3-2-1b": _NO_TOOLS,
    "meta.llama3-2-3b": _NO_TOOLS,
    "meta.llama": _LLAMA,
    "mistral.mistral-7b": Family(system=False, tools=False, top_k=("top_k",), structured=False),
    "mistral.mixtral": Family(system=False, tools=False, top_k=("top_k",), structured=False),
    "mistral.mistral-large-2": _MISTRAL,
    "mistral.mistral-small": _MISTRAL,
    "mistral.pixtral": _MISTRAL,
    "mistral": msgspec.structs.replace(_MISTRAL, stream_tools=True, structured=True),
    "openai.gpt-oss": Family(forced_tools=(), reasoning="effort"),
    "writer.palmyra": Family(stream_tools=False, forced_tools=(), structured=False),
}
"""By the beginning of the id, without its region; the longest that fits is the one. Claude's are in
:mod:`~arbstr.dialects.anthropic.models`, and :func:`_claude` says what is Bedrock's own about them."""

_LONGEST_FIRST = sorted(FAMILIES, key=len, reverse=True)
_REGION = re.compile(r"(?:us|us-gov|eu|apac|global|au|jp|ca|sa|mx|me|af|il|in|kr|uk)\.")
_NO_CACHE = re.compile(r"claude-(?:instant|v\d|2|3-(?:haiku|sonnet|opus)|3-5-sonnet-20240620)")
_LONG_CACHE = re.compile(r"claude-(?:instant|v\d|2|3|(?:opus|sonnet)-4-(?:1\b|2025))")


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """The family of ``model``: an id, with or without its region, or an ARN."""
    name = _REGION.sub("", model.lower().rpartition("/")[2], count=1)
    if name.startswith("anthropic."):
        return _claude(name)
    for prefix in _LONGEST_FIRST:
        if name.startswith(prefix):
            return FAMILIES[prefix]
    return Family()


def _claude(name: str) -> Family:
    """Claude takes here what it takes at Anthropic, except for the oldest, which know no tools here."""
    family = anthropic_models.family_of(name)
    cache = not _NO_CACHE.search(name)
    tools = not re.search(r"claude-(?:instant|v\d|2)", name)
    return Family(
        tools=tools,
        forced_tools=("any", "tool") if family.forced_tools else (),
        cache=cache,
        cache_tools=cache,
        cache_ttl=not _LONG_CACHE.search(name),
        top_k=("top_k",),
        structured=family.schemas,
        prefill=family.prefill,
        result_status=True,
        reasoning="claude",
        claude=family,
    )
