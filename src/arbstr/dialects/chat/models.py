"""What families of models, behind OpenAI chat, take and refuse: by the upstream name, for nothing else tells."""

from __future__ import annotations

import re

import msgspec


class Family(msgspec.Struct, frozen=True):
    """How a request to such a model is written."""

    limit: str = "max_tokens"
    """The name of the output limit. OpenAI's reasoning models refuse the older one, and many servers know no other."""
    sampling: bool = True
    """Temperature, top_p and penalties are taken."""
    stop: bool = True
    """Stop sequences are taken."""
    parallel: bool = True
    """``parallel_tool_calls`` is taken."""
    efforts: tuple[str, ...] | None = None
    """The values of ``reasoning_effort`` from the least to the most; empty: the field is refused; None: any is sent."""
    thoughts: str | None = None
    """The field in which reasoning is given back: ``reasoning_content`` or ``reasoning_details``; None: not at all.

    A few models refuse to go on with their tool calls without it, and most other servers refuse the field.
    """
    cache_control: bool = False
    """Cache hints are taken."""
    signatures: bool = False
    """The proof of reasoning that came with a tool call is taken back: it is Google's own."""


_O = Family("max_completion_tokens", sampling=False, stop=False, parallel=False, efforts=("low", "medium", "high"))
_GPT_5 = Family("max_completion_tokens", sampling=False, stop=False, efforts=("minimal", "low", "medium", "high"))
_GPT_5_X = Family(
    "max_completion_tokens", sampling=False, stop=False, efforts=("none", "low", "medium", "high", "xhigh")
)

_FAMILIES = (
    (re.compile(r"o1-(?:mini|preview)"), msgspec.structs.replace(_O, efforts=())),
    (re.compile(r"o[1-9]"), _O),
    (re.compile(r"gpt-5(?:\.\d+)?-(?:chat|search)|gpt-4|gpt-3|chatgpt"), Family(efforts=())),
    (re.compile(r"gpt-5\.1"), msgspec.structs.replace(_GPT_5_X, efforts=("none", "low", "medium", "high"))),
    (re.compile(r"gpt-(?:5\.[2-9]|[6-9])"), _GPT_5_X),
    (re.compile(r"gpt-5|codex"), _GPT_5),
    (re.compile(r"claude"), Family(thoughts="reasoning_details", cache_control=True)),
    (re.compile(r"gemini"), Family(signatures=True)),
    (re.compile(r"deepseek|kimi|mimo"), Family(thoughts="reasoning_content")),
)
"""The first that the name begins with, behind any path (``openai/o3``) or region."""

_OTHER = Family()


def family_of(model: str) -> Family:
    """The family of an upstream model name."""
    name = model.lower().rpartition("/")[2].removeprefix("openai.").removeprefix("anthropic.")
    return next((family for pattern, family in _FAMILIES if pattern.match(name)), _OTHER)
