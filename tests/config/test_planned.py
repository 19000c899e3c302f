"""Keys that do nothing yet: accepted where they ask for nothing, refused where they ask for something."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbstr.config import planned, shape
from tests.config.written import ALPHA, compiled, problems

EVERY_PLANNED_KEY = """
[providers.alpha]
base_url = "https://alpha.example/v1"
models = { m = { tier = "local", max_parallel = 1 } }
input_rate = 1
output_rate = 1
proxy = "http://127.0.0.1:3128"
max_parallel = 10
[models.x]
primary = { provider = "alpha", api_key = "${OTHER}", weight = 2 }
load_balance = { strategy = "weighted" }
[logging]
log_requests = true
log_responses = true
sample_rate = 0.5
redact_pii = false
[metrics]
listen = "127.0.0.1:9090"
[tracing]
exporter = "otlp"
[cache]
enabled = true
[routing]
complexity_threshold_low = 0.4
complexity_threshold_high = 0.7
"""

_BEHIND_A_SWITCH = {"endpoint", "backend", "url", "ttl", "max_size", "max_bytes", "scope"}


def _names(tree: planned.Tree) -> set[str]:
    """The keys at the ends of a tree."""
    inner = [_names(below) if isinstance(below, dict) else {name} for name, below in tree.items()]
    return set().union(*inner)


_NAMES = set().union(*(_names(tree) for tree in shape.PLANNED.values()))


def test_every_planned_key_is_refused_as_not_available(tmp_path: Path) -> None:
    """None is called unknown, none is ignored, each has its line."""
    lines = problems(tmp_path, EVERY_PLANNED_KEY, environ={"OTHER": "sk-0123456789"})

    told = [line.split(": ")[1] for line in lines if ": is not available in this version, expected " in line]
    assert len(told) == len(lines)
    assert _NAMES - {path.rpartition(".")[2] for path in told} == _BEHIND_A_SWITCH
    assert "models.x.primary.api_key" in told


def test_what_asks_for_nothing_is_accepted(tmp_path: Path) -> None:
    """A configuration may say already that it does not want what is to come."""
    text = (
        """
    metrics = { listen = "" }
    logging = { log_requests = false, log_responses = false, sample_rate = 1.0, redact_pii = true }
    tracing = { exporter = "none", endpoint = "", sample_rate = 0.5 }
    cache = { backend = "memory", ttl = "1h", max_size = 1000, max_bytes = "64MiB", scope = "key" }
    [providers.alpha]
    base_url = "https://alpha.example/v1"
    api = "chat"
    [models.x]
    primary = { provider = "alpha", weight = 1 }
    [models.y]
    """.replace("[models.y]", "")
        + ALPHA.replace("[providers.alpha]", "[providers.beta]")
    )
    text = text.replace('api = "chat"', 'api = "chat"\n    input_rate = 0\n    output_rate = 0')

    assert "x" in compiled(tmp_path, text).snapshot.routes


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("tracing = { exporter = 'zipkin', endpoint = 'http://127.0.0.1' }", "tracing.exporter"),
        ("cache = { enabled = true, backend = 'redis' }", "cache.enabled"),
        ("logging = { sample_rate = true }", "logging.sample_rate"),
        ("logging = { redact_pii = 1 }", "logging.redact_pii"),
    ],
)
def test_a_section_that_is_switched_on_is_told_once(tmp_path: Path, text: str, path: str) -> None:
    """The switch is what is not available; a value of the wrong type asks for something, whatever it is."""
    (line,) = problems(tmp_path, text)

    assert line.startswith(f"arbstr.toml: {path}: is not available in this version, expected ")


def test_a_typo_among_planned_keys_is_a_typo(tmp_path: Path) -> None:
    """Even in a section that is switched off."""
    assert problems(tmp_path, "cache = { enabled = false, tll = '1h' }") == [
        'arbstr.toml: cache.tll: is not a known key; did you mean "ttl"?'
    ]
