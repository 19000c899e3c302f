"""The most tokens that a request can use at a deployment: what is reserved before it is sent.

Every token of every tokenizer that vendors use stands for at least one byte of text in UTF-8, so that bytes bound
tokens. What vendors add to a text is bounded beside it, by what they document or what their public templates show:

- around each message: OpenAI's cookbook counts 3 tokens and 3 for the answer's beginning; the templates of Llama, Qwen,
  Gemma, DeepSeek and Mistral add up to 7.
- before the first: the default instructions in the templates of Llama 3.1 and Qwen 2.5 have fewer than 32 tokens. Those
  of gpt-oss have about 80, and xAI puts up to 700 of its own before each conversation.
- for tools: Anthropic documents up to 530 tokens of instructions ("Tool use", *Pricing*), and up to 735 for each of the
  tools that it describes itself; the templates of Qwen and Llama have about 200. Each tool is wrapped in a dozen.

What is bounded is what one reading of the request costs. A tool that the vendor runs itself makes the model read it
again for each of its results; then the bound is the model's whole window, once.
"""

from __future__ import annotations

from functools import lru_cache

from arbstr.domain.bounds import Bounds
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Deployment
from arbstr.policy.images import image_rule

UNKNOWN_WINDOW = 1_000_000
"""Tokens that are reserved for what has no bound, at a model whose context window is not known. Few have more."""

LEAST_OUTPUT = 16
"""OpenAI's responses take no smaller limit, so that what is below is sent as this."""

PER_REQUEST = 32
PER_MESSAGE = 8
PER_REQUEST_WITH_TOOLS = 1024
PER_TOOL = 16

_PREAMBLES = {"gpt-oss": 128, "grok": 1024}
"""Tokens that are put before the first message, by what the model's name has in it."""


def input_bound(bounds: Bounds, deployment: Deployment) -> int:
    """No reading of a request within ``bounds`` is charged more input tokens than these.

    Text is bounded by the context window, too, for what is longer is refused. Images are not: some vendors charge more
    for them than they take of the window.
    """
    tokens = bounds.text_bytes + PER_MESSAGE * bounds.messages + _preamble(deployment.model)
    if bounds.tools:
        tokens += PER_REQUEST_WITH_TOOLS + PER_TOOL * bounds.tools
    window = deployment.context_window
    if bounds.unbounded:
        tokens = max(tokens, UNKNOWN_WINDOW) if window is None else window
    elif window is not None:
        tokens = min(tokens, window)
    if bounds.pictures:
        rule = image_rule(deployment.model)
        tokens += sum([rule.tokens(picture) for picture in bounds.pictures])
    return tokens


def output_bound(bounds: Bounds, request: ChatRequest, deployment: Deployment, *, default: int) -> int:
    """Output tokens to reserve: the caller's limit, at least LEAST_OUTPUT, or else ``default``, for each choice.

    Nothing counts beyond what the model can write. Without a limit this is a bound by agreement, and not by nature: the
    answer may be longer, and is charged in full.
    """
    tokens = request.max_tokens
    if tokens is None:
        tokens = default
    elif tokens < LEAST_OUTPUT and request.dialect != "embeddings":
        tokens = LEAST_OUTPUT
    longest = deployment.capabilities.max_output
    if longest is not None:
        tokens = min(tokens, longest)
    return (tokens + bounds.predicted_bytes) * request.n


@lru_cache(maxsize=1024)
def _preamble(model: str) -> int:
    name = model.lower()
    return next((tokens for part, tokens in _PREAMBLES.items() if part in name), PER_REQUEST)
