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
    priced_only: bool = False
    """Who has no price may not serve."""

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
        self._too_dear: list[tuple[int, Deployment, Ceiling]] = []
        self._unpriced: list[Deployment] = []
        self._affordable = False

    def refuses(self, deployment: Deployment) -> str | None:
        """Why the terms exclude a deployment, or None. Circuits are not looked at."""
        terms, rates = self.terms, deployment.rates
        self.worst = None
        if rates is None:
            if terms.priced_only or terms.ceilings:
                self._unpriced.append(deployment)
                return _UNPRICED
            self._affordable = True
            return None
        if terms.bound is not None:
            self.worst = terms.bound(deployment, rates)
            for ceiling in terms.ceilings:
                most = Cost.of_pico(self.worst, rates.currency, terms.rate).within(ceiling.currency)
                if most is None:
                    self._unpriced.append(deployment)
                    return f"has no price in {ceiling.currency.value}: no exchange rate is known"
                if most > ceiling.amount:
                    self._too_dear.append((most, deployment, ceiling))
                    return f"may cost {amount_text(most, ceiling.currency)}, more than {ceiling.header} allows"
        self._affordable = True
        return None

    def refusal(self, model: str) -> CeilingTooLow | Unpriced | None:
        """What a caller is told where the terms alone have left nobody."""
        if self._affordable:
            return None
        if self._too_dear:
            most, cheapest, ceiling = min(self._too_dear, key=lambda entry: (entry[0], entry[1].name))
            return CeilingTooLow(
                f"this request may cost up to {amount_text(most, ceiling.currency)} at {cheapest.provider}, the "
                f"cheapest provider of {model!r}: more than the {amount_text(ceiling.amount, ceiling.currency)} of "
                f"{ceiling.header}",
                param=ceiling.header,
            )
        if self._unpriced:
            names = ", ".join(sorted({each.provider for each in self._unpriced}))
            return Unpriced(
                f"no provider of {model!r} has a known price ({names}), and what may be spent is limited: set its "
                'rates, or budget.unpriced = "allow"',
                param="model",
            )
        return None
