"""What Prometheus scrapes."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from arbstr.domain.errors import FailureKind
from arbstr.domain.health import CircuitState
from arbstr.domain.record import AttemptRecord, RequestRecord
from arbstr.ports import LogHealth
from arbstr.telemetry.accounts import AccountMetrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FIRST_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds, inclusive."""

CIRCUIT_VALUES = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}

OTHER = "other"
"""Stands for every model that is not configured: callers can make up names, but not time series."""

_OUTCOMES = frozenset(kind.value for kind in FailureKind)


class _Histogram:
    """Counts per bucket; the last one is what exceeds every bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """``(upper bound, observations up to it)`` as the exposition wants them."""
        buckets, seen = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            buckets.append((bound, float(seen)))
        return buckets


class _Account:
    """What one model cost at one provider."""

    __slots__ = ("cached", "cost", "cost_usd", "input", "output", "reasoning")

    def __init__(self) -> None:
        self.input = self.output = self.cached = self.reasoning = self.cost = self.cost_usd = 0


class Metrics:
    """A :class:`~arbstr.ports.RecordSink` that counts in plain integers, and shows them when it is scraped.

    No metric objects on the way of a request: recording one costs 1 to 2 µs. What is a state rather than a sum is
    asked for at the scrape: ``circuits`` gives each provider's circuit, ``in_flight`` the requests being served,
    ``log_health`` the request log's writer, ``log_lines_dropped`` the lines that stdout did not take, ``parked`` the
    providers that are set aside now, with the reason: ``key`` (it is out of use) or ``rate_limit`` (the account cools
    down). ``models`` gives the models that are configured now.
    """

    def __init__(
        self,
        *,
        version: str,
        models: Callable[[], Container[str]],
        circuits: Callable[[], Mapping[str, CircuitState]],
        in_flight: Callable[[], int],
        log_health: Callable[[], LogHealth],
        log_lines_dropped: Callable[[], int],
        parked: Callable[[], Mapping[str, str]] = dict,
        accounts: AccountMetrics | None = None,
    ) -> None:
        self._version = version
        self._models = models
        self._circuits = circuits
        self._in_flight = in_flight
        self._log_health = log_health
        self._log_lines_dropped = log_lines_dropped
        self._parked = parked
        self._more = accounts
        self._requests: defaultdict[tuple[str, str, int, bool], int] = defaultdict(int)
        self._accounts: defaultdict[tuple[str, str], _Account] = defaultdict(_Account)
        self._durations: defaultdict[str, _Histogram] = defaultdict(lambda: _Histogram(DURATION_BUCKETS))
        self._first_tokens: defaultdict[str, _Histogram] = defaultdict(lambda: _Histogram(FIRST_TOKEN_BUCKETS))
        self._attempts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._retries: defaultdict[str, int] = defaultdict(int)
        self._refused: defaultdict[int, int] = defaultdict(int)
        self._malformed_events = 0
        self._unpriced_requests = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def attempt(self, record: AttemptRecord) -> None:
        if record.error is None:
            self._attempts[record.provider, "abandoned" if record.status is None else "ok"] += 1
            return
        kind = record.error.partition(":")[0]
        self._attempts[record.provider, kind if kind in _OUTCOMES else OTHER] += 1

    def request(self, record: RequestRecord) -> None:
        provider = record.provider or ""
        model = record.model or ""
        if model and model not in self._models():
            model = OTHER
        self._requests[model, provider, record.status, record.streaming] += 1
        self._durations[provider].observe(record.latency_ms / 1000)
        if record.ttft_ms is not None:
            self._first_tokens[provider].observe(record.ttft_ms / 1000)
        if provider:
            self._charge(self._accounts[provider, model], record)
        for again in record.attempts[1:]:
            self._retries[again.provider] += 1
        self._malformed_events += record.malformed_events
        if self._more is not None:
            self._more.request(record)

    def refused(self, status: int) -> None:
        """The HTTP layer answered ``status`` by itself, as a rule to what did not become a request."""
        self._refused[status] += 1

    def _charge(self, account: _Account, record: RequestRecord) -> None:
        account.input += record.input_tokens or 0
        account.output += record.output_tokens or 0
        account.cached += record.cached_input_tokens or 0
        account.reasoning += record.reasoning_tokens or 0
        if record.cost is not None:
            account.cost += record.cost
        if record.cost_usd is not None:
            account.cost_usd += record.cost_usd
        if record.cost is None and record.cost_usd is None and record.success:
            self._unpriced_requests += 1

    def expose(self) -> bytes:
        """Everything in the Prometheus text format, to be sent as :data:`CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """For the registry: the families in the order of docs/reference/metrics.md."""
        yield from self._request_families()
        yield from self._account_families()
        yield from self._attempt_families()
        yield from self._state_families()
        if self._more is not None:
            yield from self._more.collect()

    def _request_families(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "arbstr_requests", "Requests that are over.", labels=["model", "provider", "status", "streaming"]
        )
        for (model, provider, status, streaming), count in self._requests.items():
            requests.add_metric([model, provider, str(status), "true" if streaming else "false"], count)
        yield requests
        refused = CounterMetricFamily("arbstr_refused", "Answered by the HTTP layer itself.", labels=["status"])
        for code, count in self._refused.items():
            refused.add_metric([str(code)], count)
        yield refused
        for name, text, histograms in (
            ("arbstr_request_duration_seconds", "From receipt to the last byte.", self._durations),
            ("arbstr_time_to_first_token_seconds", "From receipt to the first content.", self._first_tokens),
        ):
            family = HistogramMetricFamily(name, text, labels=["provider"])
            for provider, histogram in histograms.items():
                family.add_metric([provider], histogram.cumulative(), histogram.total)
            yield family
        yield CounterMetricFamily(
            "arbstr_malformed_events", "Stream events that could not be read.", value=self._malformed_events
        )

    def _account_families(self) -> Iterator[Metric]:
        tokens = CounterMetricFamily("arbstr_tokens", "Tokens used.", labels=["kind", "provider", "model"])
        cost = CounterMetricFamily("arbstr_cost_sats", "Satoshis spent.", labels=["provider", "model"])
        usd = CounterMetricFamily("arbstr_cost_usd", "Dollars spent.", labels=["provider", "model"])
        for (provider, model), account in self._accounts.items():
            tokens.add_metric(["input", provider, model], account.input)
            tokens.add_metric(["output", provider, model], account.output)
            tokens.add_metric(["cached", provider, model], account.cached)
            tokens.add_metric(["reasoning", provider, model], account.reasoning)
            cost.add_metric([provider, model], account.cost / 10**6)
            usd.add_metric([provider, model], account.cost_usd / 10**9)
        yield tokens
        yield cost
        yield usd
        yield CounterMetricFamily(
            "arbstr_unpriced_requests", "Successful requests whose cost is unknown.", value=self._unpriced_requests
        )

    def _attempt_families(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily("arbstr_upstream_attempts", "Upstream tries.", labels=["provider", "outcome"])
        for (provider, outcome), count in self._attempts.items():
            attempts.add_metric([provider, outcome], count)
        yield attempts
        retries = CounterMetricFamily(
            "arbstr_retries", "Upstream tries after the first one of their request.", labels=["provider"]
        )
        for provider, count in self._retries.items():
            retries.add_metric([provider], count)
        yield retries
        circuits = GaugeMetricFamily(
            "arbstr_circuit_state", "Circuit: 0 closed, 1 half-open, 2 open.", labels=["provider"]
        )
        for provider, state in self._circuits().items():
            circuits.add_metric([provider], CIRCUIT_VALUES[state])
        yield circuits
        parked = GaugeMetricFamily("arbstr_provider_parked", "1 while set aside.", labels=["provider", "reason"])
        for provider, reason in self._parked().items():
            parked.add_metric([provider, reason], 1)
        yield parked

    def _state_families(self) -> Iterator[Metric]:
        health = self._log_health()
        yield GaugeMetricFamily("arbstr_in_flight", "Requests being served now.", value=self._in_flight())
        yield GaugeMetricFamily("arbstr_log_rows_queued", "Rows waiting to be written.", value=health.queued)
        yield CounterMetricFamily("arbstr_log_rows_written", "Rows written.", value=health.written)
        yield CounterMetricFamily("arbstr_log_rows_dropped", "Rows that will never be written.", value=health.dropped)
        yield CounterMetricFamily(
            "arbstr_log_lines_dropped", "Lines that stdout did not take.", value=self._log_lines_dropped()
        )
        build = GaugeMetricFamily("arbstr_build_info", "Always 1; the label says what runs.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
