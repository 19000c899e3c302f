"""What a replay came to: the same requests, then and now."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from arbstr.domain.decision import Matched
from arbstr.domain.money import Cost, Currency
from arbstr.policy.replay import Ending, Logged, Outcome


class Sum:
    """What some requests cost together, in each currency as far as it is known."""

    __slots__ = ("in_sats", "in_usd", "requests", "sats", "unpriced", "usd")

    def __init__(self) -> None:
        self.requests = 0
        self.sats = 0
        """In millionths, of those whose cost is known in satoshis …"""
        self.in_sats = 0
        """… and how many these are."""
        self.usd = 0
        """In thousand millionths."""
        self.in_usd = 0
        self.unpriced = 0
        """Those whose cost is known in neither."""

    def add(self, cost: Cost | None) -> None:
        self.requests += 1
        if cost is None:
            self.unpriced += 1
            return
        if cost.sats is not None:
            self.sats += cost.sats
            self.in_sats += 1
        if cost.usd is not None:
            self.usd += cost.usd
            self.in_usd += 1


class Comparison:
    """Requests whose cost is known then and now in one currency."""

    __slots__ = ("currency", "now", "requests", "then")

    def __init__(self, currency: Currency) -> None:
        self.currency = currency
        self.requests = 0
        self.then = 0
        self.now = 0
        """Both in the currency's smallest units."""

    def add(self, then: Cost, now: Cost) -> None:
        before, after = then.within(self.currency), now.within(self.currency)
        if before is None or after is None:
            return
        self.requests += 1
        self.then += before
        self.now += after

    @property
    def change(self) -> Fraction | None:
        """By what share it is dearer now; below 0: cheaper. None where it cost nothing then and costs something now."""
        if not self.then:
            return None if self.now else Fraction(0)
        return Fraction(self.now - self.then, self.then)

    def dearer(self, than: Fraction) -> bool:
        """Whether it is dearer now by more than this share."""
        change = self.change
        return change is None or change > than


class Report:
    """Counts up rows and what becomes of them. ``decided`` is the number of rows for which something was decided."""

    def __init__(self) -> None:
        self.decided = 0
        self.kept_out: Counter[str] = Counter()
        """Requests that did not come so far that anything was decided, by the code of their error."""
        self.then: dict[str, Sum] = {}
        """What was served, by provider."""
        self.now: dict[str, Sum] = {}
        """What would be, with the cost of what was served then too: of the rest no tokens are known."""
        self.total_then = Sum()
        self.total_now = Sum()
        self.rejected_then: Counter[str] = Counter()
        self.rejected_now: Counter[str] = Counter()
        self.failed = 0
        """Requests for which somebody was found then, and that came to nothing."""
        self.failed_cost = Sum()
        """What failed requests, and failed attempts of those that were served, cost then."""
        self.moved = 0
        """Served then and now, by different providers."""
        self.lost = 0
        """Served then and not now."""
        self.gained = 0
        """Given to a provider now, and failed or rejected then."""
        self.unrecorded = 0
        """Rows without a decision: decided by their input tokens alone."""
        self.by_keyword = 0
        """Requests whose policy a keyword chose …"""
        self.policy_gone = 0
        """… and those of them for which no rule holds now, as there is none of that name."""
        self.compared = {currency: Comparison(currency) for currency in Currency}

    def keep_out(self, row: Logged) -> None:
        """A row of which nothing is decided."""
        self.kept_out[row.code or "unknown"] += 1

    def add(self, row: Logged, outcome: Outcome) -> None:
        self.decided += 1
        self._count_what_was_known(row, outcome)
        served = row.ending is Ending.SERVED
        if served:
            self.total_then.add(row.cost)
            _of(self.then, row.provider or "unknown").add(row.cost)
            if row.failed_cost is not None:
                self.failed_cost.add(row.failed_cost)
        elif row.ending is Ending.FAILED:
            self.failed += 1
            for cost in (row.cost, row.failed_cost):
                if cost is not None:
                    self.failed_cost.add(cost)
        else:
            self.rejected_then[row.code or "unknown"] += 1
        deployment = outcome.deployment
        if deployment is None:
            self.rejected_now[outcome.code or "unknown"] += 1
            self.lost += served
            return
        if not served:
            self.gained += 1
            _of(self.now, deployment.provider).requests += 1
            return
        self.moved += row.provider != deployment.provider
        self.total_now.add(outcome.cost)
        _of(self.now, deployment.provider).add(outcome.cost)
        if row.cost is not None and outcome.cost is not None:
            for comparison in self.compared.values():
                comparison.add(row.cost, outcome.cost)

    def _count_what_was_known(self, row: Logged, outcome: Outcome) -> None:
        if row.asked is None:
            self.unrecorded += 1
        if row.policy is None or (row.asked is not None and row.asked.matched is not Matched.KEYWORD):
            return
        self.by_keyword += 1
        self.policy_gone += outcome.policy is None

    @property
    def requests(self) -> int:
        """Rows that were read."""
        return self.decided + self.kept_out.total()

    @property
    def served_now(self) -> int:
        return self.total_now.requests + self.gained

    @property
    def comparison(self) -> Comparison:
        """In the currency in which most requests can be compared; in satoshis where that is equal."""
        in_sats, in_usd = self.compared[Currency.SATS], self.compared[Currency.USD]
        return in_usd if in_usd.requests > in_sats.requests else in_sats

    @property
    def tells_nothing(self) -> bool:
        """Something was served then, and nothing of it can be compared."""
        return self.total_then.requests > 0 and self.comparison.requests == 0


def _of(sums: dict[str, Sum], provider: str) -> Sum:
    found = sums.get(provider)
    if found is None:
        found = sums[provider] = Sum()
    return found
