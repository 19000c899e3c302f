"""The keys of the configuration that are about money, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

import msgspec

from arbstr.config.kinds import (
    Amount,
    Exceeded,
    Key,
    Name,
    Rate,
    RateUnit,
    Resource,
    Seconds,
    Share,
    UnpricedIs,
)
from arbstr.config.problems import Path, Problems
from arbstr.domain.money import Currency, ExchangeRate, Rates, pico_each, smallest
from arbstr.domain.routing import BudgetSettings, PolicyRule, Route


class RateTable(msgspec.Struct, frozen=True):
    """``rates = { currency = "usd", per = 1_000_000, input = 2.5, output = 10 }``"""

    input: Annotated[Rate, Key("Of input tokens.", expected="the price of input tokens")]
    output: Annotated[Rate, Key("Of output tokens.", expected="the price of output tokens")]
    currency: Annotated[Currency, Key("What they are in.")] = Currency.USD
    per: Annotated[
        int | None,
        Key("So many tokens cost that much. Default: 1,000,000 in dollars, 1,000 in satoshis.", low=1, high=10**9),
    ] = None
    cached_input: Annotated[Rate | None, Key("Of input tokens read from a cache. Default: as input.")] = None
    cache_write: Annotated[Rate | None, Key("Of input tokens written to a cache. Default: as input.")] = None
    cache_write_1h: Annotated[Rate | None, Key("… for an hour. Default: as `cache_write`.")] = None
    reasoning: Annotated[Rate | None, Key("Of output tokens that are thought and not said. Default: as output.")] = None
    base_fee: Annotated[Rate, Key("For each request.")] = Rate(Decimal(0))

    def compiled(self) -> Rates:
        per = self.per or (1_000_000 if self.currency is Currency.USD else 1_000)
        return Rates(
            input=pico_each(self.input, per),
            output=pico_each(self.output, per),
            base_fee=pico_each(self.base_fee, 1),
            currency=self.currency,
            cached_input=_each(self.cached_input, per),
            cache_write=_each(self.cache_write, per),
            cache_write_1h=_each(self.cache_write_1h, per),
            reasoning=_each(self.reasoning, per),
        )


def _each(amount: Decimal | None, per: int) -> int | None:
    return None if amount is None else pico_each(amount, per)


class Budget(msgspec.Struct, frozen=True):
    enabled: Annotated[bool, Key("Whether the limits below hold for the gateway as a whole.")] = True
    currency: Annotated[
        Currency, Key("What its limits are in; also those of keys that do not name a currency of their own.")
    ] = Currency.SATS
    max_cost_per_hour: Annotated[Amount | None, Key("The most that may be spent in an hour of UTC.")] = None
    max_cost_per_day: Annotated[Amount | None, Key("The most that may be spent in a day of UTC.")] = None
    max_cost_per_month: Annotated[Amount | None, Key("The most that may be spent in a calendar month of UTC.")] = None
    max_cost_total: Annotated[Amount | None, Key("The most that may ever be spent.")] = None
    alert_threshold: Annotated[
        Share, Key("Share of a limit from which answers carry a warning, and an alert is sent.")
    ] = Share(Decimal("0.8"))
    action_on_exceeded: Annotated[
        Exceeded, Key("What happens to a request that may exceed a limit: 429, or a warning. Also for budgets of keys.")
    ] = "reject"
    default_reserve_tokens: Annotated[
        int, Key("Output that is reserved for a request that names no `max_tokens`.", low=1, high=10_000_000)
    ] = 4096
    unpriced: Annotated[
        UnpricedIs, Key("Whether a provider without a known price may be asked where a budget rejects.")
    ] = "refuse"
    lease: Annotated[
        Share,
        Key(
            "Share of a limit that is written down ahead of being spent. What a killed process had written down and "
            "not spent counts as spent until the window ends."
        ),
    ] = Share(Decimal("0.01"))


class Source(msgspec.Struct, frozen=True):
    url: Annotated[Resource, Key("Answers JSON.", expected="a URL")]
    path: Annotated[
        str,
        Key(
            "Where the number stands in it: names and indexes with dots between: `data.amount`.",
            expected="the place of the number",
        ),
    ]
    unit: Annotated[RateUnit, Key("What the number is: the dollars of a bitcoin, or the satoshis of a dollar.")] = (
        "usd_per_btc"
    )


class ExchangeTable(msgspec.Struct, frozen=True):
    sats_per_usd: Annotated[
        Rate | None, Key("A fixed rate; with `sources` the one that holds until they have answered.")
    ] = None
    sources: Annotated[tuple[Source, ...], Key("Who is asked for the rate; the median of their answers holds.")] = ()
    poll: Annotated[Seconds, Key("How often.", low=1)] = Seconds(60.0)
    max_age: Annotated[Seconds, Key("From this age on a rate is called stale.", low=1)] = Seconds(600.0)


class Pricing(msgspec.Struct, frozen=True):
    exchange: Annotated[ExchangeTable, Key("What a dollar is worth in satoshis.")] = ExchangeTable()


class Savings(msgspec.Struct, frozen=True):
    baseline: Annotated[
        Name,
        Key(
            "Whose price a request's is compared with, to say what was saved: `dearest`, "
            "the dearest of its candidates, or a provider's name."
        ),
    ] = Name("dearest")


class Auth(msgspec.Struct, frozen=True):
    required: Annotated[
        bool, Key("Ask for a key even while none exists. From the first key on one is asked for in any case.")
    ] = False


def compile_budget(budget: Budget) -> BudgetSettings:
    currency = budget.currency

    def amount(limit: Decimal | None) -> int | None:
        return None if limit is None or not budget.enabled else max(1, smallest(limit, currency))

    return BudgetSettings(
        currency=currency,
        hour=amount(budget.max_cost_per_hour),
        day=amount(budget.max_cost_per_day),
        month=amount(budget.max_cost_per_month),
        total=amount(budget.max_cost_total),
        alert_threshold=float(budget.alert_threshold),
        hard=budget.action_on_exceeded == "reject",
        default_reserve_tokens=budget.default_reserve_tokens,
        refuses_unpriced=budget.unpriced == "refuse",
        lease_share=float(budget.lease),
    )


def compile_rate(exchange: ExchangeTable) -> ExchangeRate | None:
    return None if exchange.sats_per_usd is None else ExchangeRate.of(exchange.sats_per_usd)


_SET = "expected satoshis per dollar (sats_per_usd = 1000), or pricing.exchange.sources"


def check_exchange(
    exchange: ExchangeTable,
    budget: BudgetSettings,
    routes: Iterable[Route],
    rules: Iterable[PolicyRule],
    problems: Problems,
) -> None:
    """Whatever compares satoshis with dollars needs to know what a dollar is worth."""
    path: Path = ("pricing", "exchange", "sats_per_usd")
    if exchange.sats_per_usd == 0:
        problems.add(path, "is 0, expected what a dollar is worth in satoshis")
    if exchange.sources and exchange.max_age < exchange.poll and not problems.within(path[:-1]):
        wrong = f"is shorter than poll, expected {exchange.poll:g}s or more"
        problems.add((*path[:-1], "max_age"), wrong)
    for index, source in enumerate(exchange.sources):
        if source in exchange.sources[:index]:
            problems.add((*path[:-1], "sources", index), "is given twice, expected each source once")
    if exchange.sats_per_usd is not None or exchange.sources:
        return
    if any(problems.within((section,)) for section in ("pricing", "providers", "models", "budget", "policies")):
        return  # what seems to be in two currencies may not be
    priced: dict[Currency, str] = {}
    for route in routes:
        mine = {
            each.rates.currency: each.provider
            for each in route.deployments
            if each.rates is not None and not each.rates.free  # nothing is nothing in both
        }
        priced |= mine
        if len(mine) > 1:
            sats, usd = mine[Currency.SATS], mine[Currency.USD]
            problems.add(path, f"is missing: {sats} sells {route.model} for satoshis and {usd} for dollars, {_SET}")
            return
    for currency, provider in priced.items():
        if budget.limited and currency is not budget.currency:
            problems.add(
                path,
                f"is missing: the budget is in {budget.currency.value} and {provider} sells for {currency.value}, "
                f"{_SET}",
            )
            return
    if Currency.USD in priced and any(rule.max_output_rate is not None for rule in rules):
        problems.add(
            path,
            f"is missing: a policy has max_sats_per_1k_output and {priced[Currency.USD]} sells for dollars, {_SET}",
        )
