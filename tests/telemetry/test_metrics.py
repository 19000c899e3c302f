"""What Prometheus sees, read back with its own parser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from arbstr.domain.alert import AlertCounts
from arbstr.domain.health import CircuitState
from arbstr.domain.money import Currency, ExchangeRate, MicroSats
from arbstr.domain.routing import BudgetSettings
from arbstr.policy.budget import Account, Period
from arbstr.ports import LogHealth
from arbstr.telemetry.accounts import AccountMetrics
from arbstr.telemetry.metrics import CONTENT_TYPE, Metrics
from tests.telemetry.records import attempt, request

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"


def metrics(**changes: Any) -> Metrics:
    settings: dict[str, Any] = {
        "version": "0.1.0",
        "models": lambda: {"gpt-4o"},
        "circuits": lambda: {"alpha": CircuitState.CLOSED},
        "in_flight": lambda: 0,
        "log_health": lambda: LogHealth(ok=True, queued=0, written=0, dropped=0),
        "log_lines_dropped": lambda: 0,
    }
    return Metrics(**(settings | changes))


def samples(source: Metrics) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    """Everything exposed: (name, labels) → value."""
    text = source.expose().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(source: Metrics, name: str, **labels: str) -> float | None:
    return samples(source).get((name, frozenset(labels.items())))


def test_requests_are_counted_by_what_they_were() -> None:
    """Model, provider, status and streaming tell requests apart."""
    it = metrics()

    it.request(request())
    it.request(request())
    it.request(request(streaming=True))
    it.request(request(provider=None, success=False, status=503))

    name = "arbstr_requests_total"
    assert value(it, name, model="gpt-4o", provider="alpha", status="200", streaming="false") == 2
    assert value(it, name, model="gpt-4o", provider="alpha", status="200", streaming="true") == 1
    assert value(it, name, model="gpt-4o", provider="", status="503", streaming="false") == 1


def test_made_up_models_make_no_series() -> None:
    """A thousand invented names are one series, an unreadable body's missing name another."""
    it = metrics()

    for number in range(1000):
        it.request(request(model=f"model-{number}", provider=None, success=False, status=404))
    it.request(request(model=None, provider=None, success=False, status=400))

    name = "arbstr_requests_total"
    assert value(it, name, model="other", provider="", status="404", streaming="false") == 1000
    assert value(it, name, model="", provider="", status="400", streaming="false") == 1
    assert sum(1 for sample, _ in samples(it) if sample == name) == 2


def test_a_model_keeps_its_series_when_it_is_no_longer_configured() -> None:
    """The models are asked for at each request: a reload changes what is folded, and takes nothing back."""
    configured = {"gpt-4o"}
    it = metrics(models=lambda: configured)

    it.request(request())
    configured.clear()
    it.request(request())

    name = "arbstr_requests_total"
    assert value(it, name, model="gpt-4o", provider="alpha", status="200", streaming="false") == 1
    assert value(it, name, model="other", provider="alpha", status="200", streaming="false") == 1


@pytest.mark.parametrize(
    ("milliseconds", "first_bucket"),
    [(0.0, "0.01"), (10.0, "0.01"), (10.1, "0.025"), (600_000.0, "600.0"), (1e9, "+Inf")],
)
def test_a_duration_falls_into_the_bucket_that_includes_it(milliseconds: float, first_bucket: str) -> None:
    """Upper bounds are inclusive, buckets cumulative, and what is beyond all of them is still counted."""
    it = metrics()

    it.request(request(latency_ms=milliseconds))

    found = samples(it)
    name = "arbstr_request_duration_seconds"
    buckets = {dict(labels)["le"]: count for (sample, labels), count in found.items() if sample == f"{name}_bucket"}
    filled = [bound for bound, count in buckets.items() if count == 1]
    assert min(filled, key=float) == first_bucket
    assert buckets["+Inf"] == 1
    assert found[f"{name}_sum", frozenset({("provider", "alpha")})] == pytest.approx(milliseconds / 1000)
    assert found[f"{name}_count", frozenset({("provider", "alpha")})] == 1


def test_first_tokens_are_timed_where_there_was_one() -> None:
    """An answer without content adds nothing."""
    it = metrics()

    it.request(request(ttft_ms=120.0))
    it.request(request(ttft_ms=None))

    assert value(it, "arbstr_time_to_first_token_seconds_count", provider="alpha") == 1
    assert value(it, "arbstr_time_to_first_token_seconds_bucket", provider="alpha", le="0.1") == 0
    assert value(it, "arbstr_time_to_first_token_seconds_bucket", provider="alpha", le="0.25") == 1


def test_tokens_and_cost_are_summed_exactly() -> None:
    """A million requests of a microsatoshi each are one satoshi, not nearly one."""
    it = metrics()

    for _ in range(1000):
        it.request(request(cost=MicroSats(1), cached_input_tokens=30, reasoning_tokens=5))

    for kind, expected in {"input": 100_000, "output": 20_000, "cached": 30_000, "reasoning": 5_000}.items():
        assert value(it, "arbstr_tokens_total", kind=kind, provider="alpha", model="gpt-4o") == expected
    assert value(it, "arbstr_cost_sats_total", provider="alpha", model="gpt-4o") == 0.001


def test_an_unknown_cost_is_counted_instead_of_added() -> None:
    """A success without a price is a number of its own; a failure without one is nothing special."""
    it = metrics()

    it.request(request(cost=None, input_tokens=None, output_tokens=None))
    it.request(request(cost=None, success=False, status=502))

    assert value(it, "arbstr_unpriced_requests_total") == 1
    assert value(it, "arbstr_cost_sats_total", provider="alpha", model="gpt-4o") == 0


def test_attempts_are_counted_by_their_outcome() -> None:
    """Failures by their kind, which is never free text; a try that its caller did not wait for is none."""
    it = metrics()

    it.attempt(attempt())
    it.attempt(attempt(error="timeout: no first token in 30 s", status=None))
    it.attempt(attempt(error="something strange", status=None))
    it.attempt(attempt(status=None))

    name = "arbstr_upstream_attempts_total"
    assert value(it, name, provider="alpha", outcome="ok") == 1
    assert value(it, name, provider="alpha", outcome="timeout") == 1
    assert value(it, name, provider="alpha", outcome="other") == 1
    assert value(it, name, provider="alpha", outcome="abandoned") == 1


def test_a_retry_is_a_try_after_the_first() -> None:
    """By whom it was tried with, however it ended; a request that failed at its first try was not retried."""
    it = metrics()
    failed = attempt(error="server_error: busy", status=503)

    it.request(request(attempts=(failed,), success=False, status=502))
    it.request(request(attempts=(failed, failed, attempt("beta"))))
    it.request(request(attempts=(attempt(),)))
    it.request(request(attempts=()))

    assert value(it, "arbstr_retries_total", provider="alpha") == 1
    assert value(it, "arbstr_retries_total", provider="beta") == 1


def test_what_is_refused_before_it_is_a_request_is_counted_by_its_status() -> None:
    """It has no model and no provider, and is in no other number."""
    it = metrics()

    for status in (431, 408, 431):
        it.refused(status)

    assert value(it, "arbstr_refused_total", status="431") == 2
    assert value(it, "arbstr_refused_total", status="408") == 1
    assert [name for name, _ in samples(it) if name == "arbstr_requests_total"] == []


def test_states_are_asked_for_at_the_scrape() -> None:
    """Circuits, who is set aside, requests in flight and the two logs are shown as they are now."""
    circuits = {"alpha": CircuitState.CLOSED, "beta": CircuitState.HALF_OPEN, "gamma": CircuitState.OPEN}
    it = metrics(
        circuits=lambda: circuits,
        in_flight=lambda: 7,
        log_health=lambda: LogHealth(ok=False, queued=3, written=20, dropped=2, error="disk full"),
        log_lines_dropped=lambda: 11,
        parked=lambda: {"beta": "key", "gamma": "rate_limit"},
    )

    before = value(it, "arbstr_circuit_state", provider="alpha")
    circuits["alpha"] = CircuitState.OPEN

    assert before == 0
    assert value(it, "arbstr_circuit_state", provider="alpha") == 2
    assert value(it, "arbstr_circuit_state", provider="beta") == 1
    assert value(it, "arbstr_circuit_state", provider="gamma") == 2
    assert value(it, "arbstr_provider_parked", provider="alpha", reason="key") is None
    assert value(it, "arbstr_provider_parked", provider="beta", reason="key") == 1
    assert value(it, "arbstr_provider_parked", provider="gamma", reason="rate_limit") == 1
    assert value(it, "arbstr_in_flight") == 7
    assert value(it, "arbstr_log_rows_queued") == 3
    assert value(it, "arbstr_log_rows_written_total") == 20
    assert value(it, "arbstr_log_rows_dropped_total") == 2
    assert value(it, "arbstr_log_lines_dropped_total") == 11
    assert value(it, "arbstr_build_info", version="0.1.0") == 1


def test_malformed_events_are_counted() -> None:
    """A provider that sends rubbish inside its streams shows."""
    it = metrics()

    it.request(request(malformed_events=3))
    it.request(request(malformed_events=1))

    assert value(it, "arbstr_malformed_events_total") == 4


def test_the_exposition_is_prometheus_text() -> None:
    """The content type says the version of the format that every Prometheus reads."""
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert metrics().expose().endswith(b"\n")


def everything() -> AccountMetrics:
    """One of each of what is asked for at the scrape."""
    account = Account("key_1", "team-a", Currency.USD)
    account.limit({Period.HOUR: 10**9}, BudgetSettings())
    return AccountMetrics(
        meters=lambda: [account.meter(Period.HOUR, 0.0)],
        rate=lambda: ExchangeRate.of(Decimal(1000)),
        alerts=lambda: AlertCounts(sent=1, failed=0, dropped=0, waiting=0),
        now=lambda: 0.0,
    )


def test_every_metric_is_in_the_reference_as_it_is() -> None:
    """docs/reference/metrics.md lists each metric with its type and labels, and no metric that does not exist."""
    it = metrics(parked=lambda: {"alpha": "key"}, accounts=everything())
    it.request(request(ttft_ms=1.0, attempts=(attempt(), attempt()), key_id="key_1", key_name="team-a"))
    it.attempt(attempt(error="timeout: silent", status=None))
    it.refused(400)
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", REFERENCE.read_text(), re.MULTILINE)
    documented = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}

    exposed = {}
    for family in text_string_to_metric_families(it.expose().decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
        exposed[name] = (family.type, labels)

    assert exposed == documented
