"""What vendors document of usage and prices: their own objects, their own price lists, and the sums that follow.

Where an object is from is said beside it. The terms of a sum are spelt out, and not by our formula.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from arbstr.domain.money import Currency, Rates, pico_each
from arbstr.domain.usage import Usage

Json = dict[str, Any]


class Prices(msgspec.Struct, frozen=True):
    """Dollars for a million tokens, as on a vendor's page."""

    input: str
    output: str = "0"
    cached: str | None = None
    write: str | None = None
    write_1h: str | None = None

    def rates(self) -> Rates:
        def each(price: str | None) -> int | None:
            return None if price is None else pico_each(Decimal(price), 10**6)

        return Rates(
            input=pico_each(Decimal(self.input), 10**6),
            output=pico_each(Decimal(self.output), 10**6),
            base_fee=0,
            currency=Currency.USD,
            cached_input=each(self.cached),
            cache_write=each(self.write),
            cache_write_1h=each(self.write_1h),
        )


class Case(msgspec.Struct, frozen=True):
    id: str
    dialect: str
    usage: Json
    counts: Usage
    prices: Prices
    dollars: tuple[tuple[int, str], ...]
    """The terms of the invoice: tokens, and dollars for a million of them."""
    model: str = "m"

    def invoice(self) -> Decimal:
        return sum((tokens * Decimal(price) for tokens, price in self.dollars), Decimal(0)) / 10**6


SONNET_4_5 = Prices("3", "15", cached="0.30", write="3.75", write_1h="6")
OPUS_4_1 = Prices("15", "75", cached="1.50", write="18.75", write_1h="30")
OPUS_4_6 = Prices("5", "25", cached="0.50", write="6.25", write_1h="10")
GPT_4O = Prices("2.50", "10", cached="1.25")
GPT_4_1 = Prices("2", "8", cached="0.50")
GPT_5 = Prices("1.25", "10", cached="0.125")
FLASH_2_5 = Prices("0.30", "2.50", cached="0.03")
GROK_4 = Prices("3", "15", cached="0.75")
DEEPSEEK_V3 = Prices("0.27", "1.10", cached="0.07")
KIMI_K2 = Prices("0.60", "2.50", cached="0.15")

CASES = (
    Case(  # Prompt caching, "1-hour cache duration"
        "anthropic-both-caches",
        "anthropic",
        {
            "input_tokens": 2048,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "output_tokens": 503,
            "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        },
        Usage(4096, 503, 1800, cache_write_tokens=248, cache_write_1h_tokens=100),
        SONNET_4_5,
        ((2048, "3"), (1800, "0.30"), (148, "3.75"), (100, "6"), (503, "15")),
    ),
    Case(  # Prompt caching, first example: the book is written to the cache …
        "anthropic-cache-write",
        "anthropic",
        {
            "cache_creation_input_tokens": 188086,
            "cache_read_input_tokens": 0,
            "input_tokens": 21,
            "output_tokens": 393,
        },
        Usage(188107, 393, cache_write_tokens=188086),
        OPUS_4_1,
        ((21, "15"), (188086, "18.75"), (393, "75")),
    ),
    Case(  # … and read from it
        "anthropic-cache-read",
        "anthropic",
        {
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 188086,
            "input_tokens": 21,
            "output_tokens": 393,
        },
        Usage(188107, 393, 188086),
        OPUS_4_1,
        ((21, "15"), (188086, "1.50"), (393, "75")),
    ),
    Case(  # Compaction, "Understanding usage": the summary is billed beside the object's own counts
        "anthropic-compaction",
        "anthropic",
        {
            "input_tokens": 23000,
            "output_tokens": 1000,
            "iterations": [
                {"type": "compaction", "input_tokens": 180000, "output_tokens": 3500},
                {"type": "message", "input_tokens": 23000, "output_tokens": 1000},
            ],
        },
        Usage(203000, 4500),
        OPUS_4_6,
        ((180000, "5"), (3500, "25"), (23000, "5"), (1000, "25")),
    ),
    Case(  # Prompt caching guide
        "openai-cached",
        "chat",
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        Usage(2006, 300, 1920),
        GPT_4O,
        ((86, "2.50"), (1920, "1.25"), (300, "10")),
    ),
    Case(  # Reasoning guide
        "openai-reasoning",
        "responses",
        {
            "input_tokens": 75,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1186,
            "output_tokens_details": {"reasoning_tokens": 1024},
            "total_tokens": 1261,
        },
        Usage(75, 1186, reasoning_tokens=1024),
        GPT_5,
        ((75, "1.25"), (1186, "10")),
    ),
    Case(  # Responses, a cached conversation
        "openai-responses-cached",
        "responses",
        {
            "input_tokens": 12033,
            "input_tokens_details": {"cached_tokens": 11904},
            "output_tokens": 44,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 12077,
        },
        Usage(12033, 44, 11904),
        GPT_4_1,
        ((129, "2"), (11904, "0.50"), (44, "8")),
    ),
    Case(  # Usage accounting; OpenRouter names what was written since
        "openrouter-cache-write",
        "chat",
        {
            "completion_tokens": 2,
            "completion_tokens_details": {"reasoning_tokens": 0},
            "prompt_tokens": 194,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
            "total_tokens": 196,
        },
        Usage(194, 2, cache_write_tokens=100),
        SONNET_4_5,
        ((94, "3"), (100, "3.75"), (2, "15")),
    ),
    Case(  # Context cache at Alibaba
        "alibaba-cache-write",
        "chat",
        {
            "prompt_tokens": 1505,
            "completion_tokens": 212,
            "total_tokens": 1717,
            "prompt_tokens_details": {
                "cached_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 1494},
                "cache_creation_input_tokens": 1494,
                "cache_type": "ephemeral",
            },
        },
        Usage(1505, 212, cache_write_tokens=1494),
        Prices("1", "5", cached="0.10", write="1.25"),
        ((11, "1"), (1494, "1.25"), (212, "5")),
    ),
    Case(  # Thinking: 20 + 198 + 405 = 623
        "gemini-thinking",
        "gemini",
        {"promptTokenCount": 20, "candidatesTokenCount": 198, "thoughtsTokenCount": 405, "totalTokenCount": 623},
        Usage(20, 603, reasoning_tokens=405),
        FLASH_2_5,
        ((20, "0.30"), (198 + 405, "2.50")),
    ),
    Case(  # The same from Google's endpoint for OpenAI's dialect, where only the total has the thoughts
        "gemini-thinking-as-openai",
        "chat",
        {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
        Usage(20, 603, reasoning_tokens=405),
        FLASH_2_5,
        ((20, "0.30"), (198 + 405, "2.50")),
        "google/gemini-2.5-flash",
    ),
    Case(  # Context caching
        "gemini-cached",
        "gemini",
        {
            "promptTokenCount": 696219,
            "cachedContentTokenCount": 696190,
            "candidatesTokenCount": 214,
            "totalTokenCount": 696433,
        },
        Usage(696219, 214, 696190),
        FLASH_2_5,
        ((29, "0.30"), (696190, "0.03"), (214, "2.50")),
    ),
    Case(  # URL context: 27 + 45 + 10309 + 31 = 10412
        "gemini-tool-use",
        "gemini",
        {
            "promptTokenCount": 27,
            "candidatesTokenCount": 45,
            "toolUsePromptTokenCount": 10309,
            "thoughtsTokenCount": 31,
            "totalTokenCount": 10412,
        },
        Usage(10336, 76, reasoning_tokens=31),
        FLASH_2_5,
        ((27 + 10309, "0.30"), (45 + 31, "2.50")),
    ),
    Case(  # Context caching: hits and misses are the prompt
        "deepseek-cached",
        "chat",
        {
            "prompt_tokens": 1243,
            "completion_tokens": 48,
            "total_tokens": 1291,
            "prompt_cache_hit_tokens": 1216,
            "prompt_cache_miss_tokens": 27,
        },
        Usage(1243, 48, 1216),
        DEEPSEEK_V3,
        ((27, "0.27"), (1216, "0.07"), (48, "1.10")),
    ),
    Case(  # Chat completions at xAI: 32 + 9 + 94 = 135
        "xai-reasoning-aside",
        "chat",
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "prompt_tokens_details": {"text_tokens": 32, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0},
            "num_sources_used": 0,
        },
        Usage(32, 103, 6, 94),
        GROK_4,
        ((26, "3"), (6, "0.75"), (9 + 94, "15")),
    ),
    Case(  # Prompt caching at xAI
        "xai-cached",
        "chat",
        {
            "prompt_tokens": 125,
            "completion_tokens": 48,
            "total_tokens": 173,
            "prompt_tokens_details": {"text_tokens": 125, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 98},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        Usage(125, 48, 98),
        GROK_4,
        ((27, "3"), (98, "0.75"), (48, "15")),
    ),
    Case(  # Context caching at Moonshot
        "moonshot-cached",
        "chat",
        {"prompt_tokens": 1800, "completion_tokens": 120, "total_tokens": 1920, "cached_tokens": 1536},
        Usage(1800, 120, 1536),
        KIMI_K2,
        ((264, "0.60"), (1536, "0.15"), (120, "2.50")),
    ),
    Case(  # Claude at Databricks: by Anthropic's names, and the total says where they belong
        "databricks-cached-aside",
        "chat",
        {
            "prompt_tokens": 21,
            "completion_tokens": 393,
            "total_tokens": 188500,
            "cache_read_input_tokens": 188086,
            "cache_creation_input_tokens": 0,
        },
        Usage(188107, 393, 188086),
        SONNET_4_5,
        ((21, "3"), (188086, "0.30"), (393, "15")),
    ),
    Case(  # TokenUsage and CacheDetail: 40 + 200 + 1500 + 700 = 2440
        "bedrock-both-caches",
        "bedrock",
        {
            "inputTokens": 40,
            "outputTokens": 200,
            "totalTokens": 2440,
            "cacheReadInputTokens": 1500,
            "cacheWriteInputTokens": 700,
            "cacheDetails": [{"inputTokens": 500, "ttl": "1h"}, {"inputTokens": 200, "ttl": "5m"}],
        },
        Usage(2240, 200, 1500, cache_write_tokens=700, cache_write_1h_tokens=500),
        SONNET_4_5,
        ((40, "3"), (1500, "0.30"), (200, "3.75"), (500, "6"), (200, "15")),
    ),
    Case(  # Create embeddings
        "openai-embeddings",
        "embeddings",
        {"prompt_tokens": 8, "total_tokens": 8},
        Usage(8, 0),
        Prices("0.02"),
        ((8, "0.02"),),
    ),
    Case(  # Text embeddings at Voyage
        "voyage-embeddings",
        "embeddings",
        {"total_tokens": 10},
        Usage(10, 0),
        Prices("0.06"),
        ((10, "0.06"),),
    ),
)
