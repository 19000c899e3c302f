"""What money has to say about who may serve a request: ceilings that its caller set, and what has no price."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbstr.domain.errors import CeilingTooLow, Unpriced
from arbstr.domain.money import Cost, Currency, ExchangeRate, Pico, Rates, amount_text
from arbstr.domain.routing import Deployment


class Ceiling(msgspec.Struct, frozen=True):
    """The most that a caller lets a request cost."""

    amount: int
    """In the currency's smallest units."""
    currency: Currency
    header: str
    """What the caller said it by."""


class Terms(msgspec.Struct, frozen=True):
    """What holds for one request."""

    rate: ExchangeRate | None = None
    bound: Callable[[Deployment, Rates], Pico] | None = None
    """The most that a request can cost there, in pico of the rates' currency; None where nobody needs to know."""
    ceilings: tuple[Ceiling, ...] = ()
    currencies: tuple[Currency, ...] = ()
    """Who has no price in one of these may not serve: those of the budgets that are not to be passed."""

    @property
    def binding(self) -> bool:
        """Whether anybody may be excluded, or must be known the worst of."""
        return self.bound is not None


FREE = Terms()
"""Nothing is limited, and no exchange rate known."""

_UNPRICED = "has no price, and what may be spent is limited"


class Money:
    """Who is too dear for a request, and who has no price."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.worst: Pico | None = None
        """The most that the request can cost at the deployment that was looked at last."""
        self._too_dear: list[tuple[int, int, str, Deployment, Ceiling]] = []
        """By what cheaper ones come first: who is below one ceiling has only the next one above it."""
        self._unpriced: list[tuple[str, Currency | None]] = []
        """Providers without a known price, or without one in that currency."""
        self._affordable = False

    def refuses(self, deployment: Deployment) -> str | None:
        """Why the terms exclude a deployment, or None. Circuits are not looked at."""
        terms, rates = self.terms, deployment.rates
        self.worst = None
        if rates is None:
            if terms.currencies or terms.ceilings:
                self._unpriced.append((deployment.provider, None))
                return _UNPRICED
            self._affordable = True
            return None
        if terms.bound is not None:
            self.worst = terms.bound(deployment, rates)
            if terms.rate is None and self.worst:  # what is free is so in every currency
                for currency in (*terms.currencies, *[ceiling.currency for ceiling in terms.ceilings]):
                    if currency is not rates.currency:
                        self._unpriced.append((deployment.provider, currency))
                        return f"has no price in {currency.value}: no exchange rate is known"
            for nth, ceiling in enumerate(terms.ceilings):
                most = Cost.of_pico(self.worst, rates.currency, terms.rate).within(ceiling.currency) or 0
                if most > ceiling.amount:
                    self._too_dear.append((-nth, most, deployment.name, deployment, ceiling))
                    return f"may cost {amount_text(most, ceiling.currency)}, more than {ceiling.header} allows"
        self._affordable = True
        return None

    def refusal(self, model: str) -> CeilingTooLow | Unpriced | None:
        """What a caller is told where the terms alone have left nobody."""
        if self._affordable:
            return None
        if self._too_dear:
            _, most, _, cheapest, ceiling = min(self._too_dear, key=lambda entry: entry[:3])
            return CeilingTooLow(
                f"this request may cost up to {amount_text(most, ceiling.currency)} at {cheapest.provider}, the "
                f"cheapest provider of {model!r}: more than the {amount_text(ceiling.amount, ceiling.currency)} of "
                f"{ceiling.header}",
                param=ceiling.header,
            )
        if self._unpriced:
            return Unpriced(self._without_price(model), param="model")
        return None

    def _without_price(self, model: str) -> str:
        """That nobody has a known price, and what can be done about it."""
        names = ", ".join(sorted({provider for provider, _ in self._unpriced}))
        currencies = {currency for _, currency in self._unpriced if currency is not None}
        known, remedy = "a known price", "its rates"
        if currencies:
            known = f"a known price in {' and '.join(sorted(each.value for each in currencies))}"
            remedy = "its rates, or pricing.exchange"
        if self.terms.currencies and not self.terms.ceilings:
            remedy += ', or budget.unpriced = "allow"'
        return f"no provider of {model!r} has {known} ({names}), and what may be spent is limited: set {remedy}"
