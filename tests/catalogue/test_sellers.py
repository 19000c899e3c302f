"""Who is behind a URL."""

from __future__ import annotations

import pytest

from arbstr.catalogue import file
from arbstr.catalogue.sellers import seller

PATTERNS = {key: provider.url for key, provider in file.read().providers.items()}


@pytest.mark.parametrize(
    ("kind", "url", "key"),
    [
        ("openai", "https://api.openai.com/v1", "openai"),
        ("openai", "https://API.OpenAI.com:443/v1", "openai"),
        ("openai", "https://openrouter.ai/api/v1", "openrouter"),
        ("openai", "https://api.groq.com/openai/v1", "groq"),
        ("openai", "https://api.deepseek.com", "deepseek"),
        ("openai", "https://api.mistral.ai/v1", "mistral"),
        ("openai", "https://api.together.xyz/v1", "together"),
        ("openai", "https://api.together.ai/v1", "together"),
        ("openai", "https://api.fireworks.ai/inference/v1", "fireworks"),
        ("openai", "https://api.x.ai/v1", "x-ai"),
        ("openai", "https://api.moonshot.ai/v1", "moonshotai"),
        ("openai", "https://router.huggingface.co/novita/v3/openai", "huggingface_novita"),
        ("anthropic", "https://api.anthropic.com", "anthropic"),
        ("anthropic", "https://api.deepseek.com/anthropic", "deepseek"),
        ("azure", "https://mine.openai.azure.com", "azure"),
        ("azure", "https://mine.services.ai.azure.com", "azure"),
        ("gemini", "https://generativelanguage.googleapis.com", "google"),
        ("gemini", "https://europe-west1-aiplatform.googleapis.com", "google"),
        ("gemini", "https://aiplatform.us.rep.googleapis.com", "google"),
        ("bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com", "aws"),
        ("bedrock", "https://bedrock-runtime-fips.us-east-1.amazonaws.com", "aws"),
        ("bedrock", "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", "aws"),
    ],
)
def test_a_known_provider_is_known_by_its_url(kind: str, url: str, key: str) -> None:
    """Whatever dialect it is spoken to in."""
    assert seller(kind, url, PATTERNS) == key


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("openai", "http://127.0.0.1:8000/v1"),
        ("openai", "https://llm.example/v1"),
        ("openai", "https://api.openai.company/v1"),
        ("openai", "https://api.openai.com.example/v1"),
        ("openai", "https://api.openai.com@llm.example/v1"),
        ("openai", "https://llm.example/a.googleapis.com"),
        ("openai", "http://api.openai.com/v1"),
        ("openai", "https://[half/v1"),
        ("anthropic", "https://claude.example"),
        ("bedrock", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ("ollama", "https://api.openai.com/v1"),
        ("mock", "mock://alpha"),
    ],
)
def test_nobody_is_taken_for_somebody_else(kind: str, url: str) -> None:
    """An address that merely looks like one that is known, one in China with prices of its own, what sells nothing."""
    assert seller(kind, url, PATTERNS) is None
