"""What Prometheus is told of keys, budgets, alerts and the exchange rate."""

from __future__ import annotations

from decimal import Decimal

from prometheus_client.parser import text_string_to_metric_families

from arbstr.domain.alert import AlertCounts
from arbstr.domain.money import Currency, ExchangeRate, MicroSats, NanoUsd
from arbstr.domain.routing import BudgetSettings
from arbstr.policy.budget import Account, Period
from arbstr.telemetry.accounts import AccountMetrics
from tests.telemetry.records import request
from tests.telemetry.test_metrics import metrics

NOW = 1_000_000.0


def account() -> Account:
    """A key with a budget of ten dollars an hour, of which two and a half are spent."""
    account = Account("key_1", "team-a", Currency.USD)
    account.limit({Period.HOUR: 10 * 10**9}, BudgetSettings())
    meter = account.meter(Period.HOUR, NOW)
    meter.spent, meter.reserved = 2_500_000_000, 500_000_000
    return account


def accounts(
    *, rate: ExchangeRate | None = None, alerts: AlertCounts | None = None, held: Account | None = None
) -> AccountMetrics:
    return AccountMetrics(
        meters=lambda: [] if held is None else [held.meter(Period.HOUR, NOW)],
        rate=lambda: rate,
        alerts=lambda: alerts,
        now=lambda: NOW,
    )


def exposed(of: AccountMetrics, *records: object) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    it = metrics(accounts=of)
    for record in records:
        it.request(record)  # type: ignore[arg-type]
    families = text_string_to_metric_families(it.expose().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_key_is_known_by_id_and_name() -> None:
    """What it asked, used and spent, failed attempts included; requests without a key are not in it."""
    good = request(
        key_id="key_1",
        key_name="team-a",
        output_tokens=200,
        cost=MicroSats(1_500_000),
        cost_usd=NanoUsd(2_000_000),
        failed_cost=MicroSats(500_000),
    )
    bad = request(key_id="key_1", key_name="team-a", success=False, status=502, cost=None, output_tokens=None)

    told = exposed(accounts(), good, bad, request())

    key = frozenset({("key_id", "key_1"), ("key_name", "team-a")})
    assert told["arbstr_key_requests_total", key | {("success", "true")}] == 1
    assert told["arbstr_key_requests_total", key | {("success", "false")}] == 1
    assert told["arbstr_key_tokens_total", key | {("kind", "output")}] == 200
    assert told["arbstr_key_cost_sats_total", key] == 2.0
    assert told["arbstr_key_cost_usd_total", key] == 0.002


def test_a_budget_is_shown_in_its_currency() -> None:
    """Limit, spent and reserved of each running window that is limited."""
    told = exposed(accounts(held=account()))

    labels = frozenset({("key_id", "key_1"), ("key_name", "team-a"), ("period", "hour"), ("currency", "usd")})
    assert told["arbstr_budget_limit", labels] == 10
    assert told["arbstr_budget_spent", labels] == 2.5
    assert told["arbstr_budget_reserved", labels] == 0.5


def test_the_exchange_rate_has_an_age() -> None:
    """A polled one does; a configured one is always of now."""
    polled = ExchangeRate.of(Decimal(1000), source="median of 3 sources", at=NOW - 30)

    assert exposed(accounts(rate=polled))["arbstr_exchange_rate_age_seconds", frozenset()] == 30
    assert exposed(accounts(rate=ExchangeRate.of(Decimal(1000))))["arbstr_exchange_rate_age_seconds", frozenset()] == 0
    assert ("arbstr_exchange_rate_sats_per_usd", frozenset()) not in exposed(accounts())


def test_alerts_are_counted_by_what_became_of_them() -> None:
    """Where somebody is to be told at all."""
    told = exposed(accounts(alerts=AlertCounts(sent=3, failed=2, dropped=1, waiting=0)))

    assert told["arbstr_alerts_total", frozenset({("result", "sent")})] == 3
    assert told["arbstr_alerts_total", frozenset({("result", "dropped")})] == 1
