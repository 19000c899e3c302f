"""The configuration that ``arbstr init`` writes: one that works as it is, with a word on what one may want to change.

Lines that begin with ``#`` and no space are settings: with the sign removed they are valid too.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MODE = 0o600

TEMPLATE = """\
# The configuration of arbstr. `arbstr check` says what is wrong with it, `arbstr serve` runs it.
#
# Any string may hold ${NAME}, which is taken from the environment. Every key can also be set from there, over what
# stands here: ARBSTR_SERVER__LISTEN is [server] listen. Durations are "100ms", "30s", "1h", or seconds as a number.

[server]
# Where to listen. Beyond loopback, where others can reach it and spend your money, it needs gateway keys
# (`arbstr keys create NAME`), or the second line.
listen = "127.0.0.1:8080"
#allow_unauthenticated = true

[store]
# The request log: one row for each request. Relative to the folder of this file.
url = "sqlite:///arbstr.db"

# A provider: any API that speaks OpenAI's chat completions or, by its `kind`, Anthropic's, Azure, Bedrock, Gemini or
# Ollama. Name as many as you like; each request goes to the cheapest healthy one that lists its model.
[providers.openai]
base_url = "https://api.openai.com/v1"
# Its key: without this line, the variable ARBSTR_OPENAI_API_KEY; if that is unset too, it is called without a key.
#api_key = "${OPENAI_API_KEY}"
models = ["gpt-4o", "gpt-4o-mini"]
# What it charges is in the catalogue that comes with arbstr, as for most vendors: `arbstr prices gpt-4o`. Prices of
# your own go before it, for all its models or in the table of one: in satoshis per 1,000 tokens and per request,
#input_rate = 2.5
#output_rate = 10
#base_fee = 0.1
# or in dollars per million tokens: rates = { input = 2.5, output = 10, cached_input = 1.25 }

# A provider on this machine, which costs nothing. It sells gpt-4o-mini under another name; a model may also have rates,
# a context window and timeouts of its own.
#[providers.local]
#base_url = "http://127.0.0.1:11434/v1"
#models = ["llama3.2", { name = "gpt-4o-mini", upstream_model = "llama3.2", context_window = 131_072 }]
#tier = "local"
#input_rate = 0
#output_rate = 0

# A route, where the cheapest is not what you want: in this order, and under other names upstream.
#[models."assistant"]
#primary = { provider = "openai", model = "gpt-4o" }
#fallbacks = [{ provider = "openai", model = "gpt-4o-mini" }]

# A policy, chosen by the header `X-Arbstr-Policy: frugal`, or by a word of the last user message. Where prices are in
# dollars, this one needs [pricing.exchange].
#[[policies.rules]]
#name = "frugal"
#max_sats_per_1k_output = 5
#keywords = ["summarise", "translate"]

# What a dollar is worth in satoshis, where some prices or budgets are in the one and some in the other. It can also be
# asked for, of several sources.
#[pricing.exchange]
#sats_per_usd = 1000

# What may be spent by all together: a request that may exceed it is refused. Keys can have budgets of their own.
#[budget]
#currency = "usd"
#max_cost_per_day = 10

# What each caller may use: each key, or each address where no key is asked for.
#[limits]
#rpm = 600
#max_parallel = 50

# Ask callers for a key even before the first one was made.
#[auth]
#required = true

# Whom to tell of spent budgets, keys that stopped working and circuits that opened. Also by "slack" and "email".
#[[alerts]]
#type = "webhook"
#url = "https://ops.example.com/arbstr"

[logging]
# debug, info, warning or error; as json, or as text for people.
level = "info"
format = "json"
"""


def write_template(path: Path) -> None:
    """Write the template to a new file that only its owner can read. Raises ``OSError``; never overwrites."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
