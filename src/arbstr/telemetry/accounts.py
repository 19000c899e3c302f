"""What Prometheus scrapes of keys, budgets, alerts and the exchange rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from arbstr.domain.alert import AlertCounts
from arbstr.domain.money import ExchangeRate
from arbstr.domain.record import RequestRecord
from arbstr.policy.budget import Meter


class _Used:
    """What one key has used, costs in microsatoshis and nanodollars."""

    __slots__ = ("errors", "input", "micro_sats", "nano_usd", "output", "requests")

    def __init__(self) -> None:
        self.requests = self.errors = self.input = self.output = self.micro_sats = self.nano_usd = 0


class AccountMetrics:
    """Counts by key, and asks for the rest at the scrape.

    ``meters`` gives the windows that are limited, ``rate`` the exchange rate, ``alerts`` how sending them fares;
    ``now`` is in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        meters: Callable[[], Iterable[Meter]],
        rate: Callable[[], ExchangeRate | None],
        alerts: Callable[[], AlertCounts | None],
        now: Callable[[], float],
    ) -> None:
        self._meters = meters
        self._rate = rate
        self._alerts = alerts
        self._now = now
        self._used: defaultdict[tuple[str, str], _Used] = defaultdict(_Used)

    def request(self, record: RequestRecord) -> None:
        if record.key_id is None:
            return
        used = self._used[record.key_id, record.key_name or ""]
        used.requests += 1
        used.errors += not record.success
        used.input += record.input_tokens or 0
        used.output += record.output_tokens or 0
        used.micro_sats += (record.cost or 0) + (record.failed_cost or 0)
        used.nano_usd += (record.cost_usd or 0) + (record.failed_cost_usd or 0)

    def collect(self) -> Iterator[Metric]:
        yield from self._keys()
        yield from self._budgets()
        yield from self._others()

    def _keys(self) -> Iterator[Metric]:
        labels = ["key_id", "key_name"]
        requests = CounterMetricFamily("arbstr_key_requests", "Requests by key.", labels=[*labels, "success"])
        tokens = CounterMetricFamily("arbstr_key_tokens", "Tokens by key.", labels=[*labels, "kind"])
        sats = CounterMetricFamily("arbstr_key_cost_sats", "Satoshis spent by key.", labels=labels)
        usd = CounterMetricFamily("arbstr_key_cost_usd", "Dollars spent by key.", labels=labels)
        for (key, name), used in self._used.items():
            requests.add_metric([key, name, "true"], used.requests - used.errors)
            requests.add_metric([key, name, "false"], used.errors)
            tokens.add_metric([key, name, "input"], used.input)
            tokens.add_metric([key, name, "output"], used.output)
            sats.add_metric([key, name], used.micro_sats / 10**6)
            usd.add_metric([key, name], used.nano_usd / 10**9)
        yield from (requests, tokens, sats, usd)

    def _budgets(self) -> Iterator[Metric]:
        labels = ["key_id", "key_name", "period", "currency"]
        limit = GaugeMetricFamily("arbstr_budget_limit", "What may be spent in the running window.", labels=labels)
        spent = GaugeMetricFamily("arbstr_budget_spent", "What was spent in it.", labels=labels)
        reserved = GaugeMetricFamily("arbstr_budget_reserved", "What requests in flight may cost.", labels=labels)
        for meter in self._meters():
            account = meter.account
            values = [account.id, account.name if account.id else "", meter.period.value, account.currency.value]
            unit = account.currency.smallest
            limit.add_metric(values, (meter.limit or 0) / unit)
            spent.add_metric(values, meter.spent / unit)
            reserved.add_metric(values, meter.reserved / unit)
        yield from (limit, spent, reserved)

    def _others(self) -> Iterator[Metric]:
        rate, counts = self._rate(), self._alerts()
        if rate is not None:
            yield GaugeMetricFamily(
                "arbstr_exchange_rate_sats_per_usd", "Satoshis for a dollar.", value=rate.sats_per_usd
            )
            age = max(0.0, self._now() - rate.at) if rate.at else 0.0
            yield GaugeMetricFamily("arbstr_exchange_rate_age_seconds", "How old that is.", value=age)
        if counts is not None:
            alerts = CounterMetricFamily("arbstr_alerts", "Alerts by what became of them.", labels=["result"])
            for result in ("sent", "failed", "dropped"):
                alerts.add_metric([result], getattr(counts, result))
            yield alerts
