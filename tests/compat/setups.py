"""The configurations of the two servers: what LiteLLM answers, and how the gateway reaches it.

LiteLLM has one model group for each way to answer. The gateway knows the same proxy under many provider names, one for
each group and use, so that the circuit that one test opens is not met by another.
"""

from __future__ import annotations

import json

TEXT = "Hello from the other side, naïve café ✓"
TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Bern"}'},
}

# What makes each model group of LiteLLM fail, in its own configuration's words.
FAILING: dict[str, dict[str, object]] = {
    "rate-limited": {"mock_response": "litellm.RateLimitError"},
    "broken": {"mock_response": "litellm.InternalServerError"},
    "overloaded": {"mock_response": "Exception: mock_streaming_error"},
    "timed-out": {"mock_response": "late", "mock_timeout": True, "timeout": 0.1},
    "unreachable": {"api_base": "http://127.0.0.1:9/v1"},
    "too-long": {"mock_response": "litellm.ContextWindowExceededError"},
    "filtered": {"mock_response": "Exception: content_filter_policy"},
}
# Failures that come before any model group: LiteLLM knows no such model, or is called without a key.
UNKNOWN_MODEL, NO_KEY = "no-such-model", "no-key"

USES = ("whole", "streamed", "alone")


def litellm_config() -> str:
    """LiteLLM's configuration. It neither retries nor cools down by itself: surviving failures is our part."""
    groups: dict[str, dict[str, object]] = {
        "says-hello": {"mock_response": TEXT},
        "calls-tool": {"mock_response": "", "mock_tool_calls": [TOOL_CALL]},
    }
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "dummy", **params}}
        for name, params in {**groups, **FAILING}.items()
    ]
    config = {
        "model_list": models,
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        "general_settings": {"master_key": "os.environ/COMPAT_MASTER_KEY"},
    }
    return json.dumps(config)  # JSON is YAML


def gateway_config(*, port: int, litellm_port: int, database: str) -> str:
    """The gateway's configuration.

    Model `hello` and `tool` are served by `litellm`; `GROUP-whole` and `GROUP-streamed` by a provider of the same name
    whose model group fails, and by `spare`, which is dearer and does not fail; `GROUP-alone` by the failing one only.
    """
    lines = [
        f'[server]\nlisten = "127.0.0.1:{port}"',
        f'[store]\nurl = "sqlite:///{database}"',
        '[resilience.retry]\ninitial_backoff = "10ms"',
        _provider("litellm", litellm_port, {"hello": "says-hello", "tool": "calls-tool"}, rates=(10, 30, 1)),
    ]
    spare: dict[str, str] = {}
    for group in (*FAILING, UNKNOWN_MODEL, NO_KEY):
        for use in USES:
            name = f"{group}-{use}"
            lines.append(
                _provider(name, litellm_port, {name: group}, rates=(1, 1, 0), window=1000, key=group != NO_KEY)
            )
            if use != "alone":
                spare[name] = "says-hello"
    lines.append(_provider("spare", litellm_port, spare, rates=(10, 30, 1), window=100_000))
    return "\n\n".join(lines) + "\n"


def _provider(
    name: str,
    port: int,
    models: dict[str, str],
    *,
    rates: tuple[int, int, int],
    window: int | None = None,
    key: bool = True,
) -> str:
    input_rate, output_rate, base_fee = rates
    lines = [f"[providers.{name}]", 'kind = "openai"', f'base_url = "http://127.0.0.1:{port}/v1"']
    lines += ['api_key = "${COMPAT_MASTER_KEY}"'] if key else []
    lines += [f"input_rate = {input_rate}", f"output_rate = {output_rate}", f"base_fee = {base_fee}"]
    for model, upstream in models.items():
        lines += [f'[providers.{name}.models."{model}"]', f'upstream_model = "{upstream}"']
        lines += [f"context_window = {window}"] if window else []
    return "\n".join(lines)
