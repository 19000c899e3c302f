"""Logged requests, decided again under another configuration: by the planner, and by what was known at the time.

A request is decided as of its receipt. What its model's answers are expected to be long is learnt from the answers
that had ended by then, as a running gateway learns it; everybody is well, but for whom an :class:`Outage` takes out.
What was spent, ceilings, limits and keys' models are not looked at: the log does not keep all that they would need.

What it costs is the tokens that it really used, by the rates of whoever is now the first candidate. A dollar is worth
what it was when the request came; only where that is not known, what the other configuration says.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections.abc import Sequence

import msgspec

from arbstr.domain.decision import Matched
from arbstr.domain.errors import CircuitsOpen, GatewayError, InvalidRequest, ModelNotFound
from arbstr.domain.money import Cost, ExchangeRate, Pico, Rates
from arbstr.domain.request import ChatRequest
from arbstr.domain.routing import Deployment, PolicyRule, Snapshot
from arbstr.domain.usage import BYTES_PER_TOKEN, Usage
from arbstr.policy.asked import Asked
from arbstr.policy.planner import Standing, choose_rule, decide
from arbstr.policy.pricing import DEFAULT_OUTPUT_TOKENS, OutputMean, cost_of
from arbstr.policy.terms import Terms


class Ending(enum.Enum):
    """What had become of a request."""

    SERVED = "served"
    FAILED = "failed"
    """Somebody was found for it, and it came to nothing: providers failed or refused it, or its caller left."""
    REJECTED = "rejected"
    """Nobody could serve it, or nobody was allowed to."""
    KEPT_OUT = "kept_out"
    """It did not come so far that anything was decided: its key, a limit, a budget, its body. That is not repeated."""


def ending(*, success: bool, model: str | None, provider: str | None, code: str | None, decided: bool) -> Ending:
    """What the row of a request says of it. ``code`` is its error's, ``decided`` whether there was a decision."""
    if success:
        return Ending.SERVED
    if model is None:
        return Ending.KEPT_OUT
    if provider is not None or code in _FAILURES:
        return Ending.FAILED
    if code in _REJECTIONS or (decided and code == InvalidRequest.code):
        return Ending.REJECTED
    return Ending.KEPT_OUT


_FAILURES = frozenset({"upstream_error", "upstream_timeout", "client_closed_request", "internal_error"})
_REJECTIONS = frozenset(
    {
        "ceiling_too_low",
        "circuit_open",
        "context_length_exceeded",
        "model_not_found",
        "policy_violation",
        "unpriced_model",
    }
)


class Logged(msgspec.Struct, frozen=True):
    """One row of the request log, as far as it matters here."""

    at: float
    """Receipt, in seconds since the epoch."""
    ending: Ending
    model: str | None
    """As asked for."""
    endpoint: str = "chat.completions"
    policy: str | None = None
    provider: str | None = None
    code: str | None = None
    """Of the error that the caller was given."""
    asked: Asked | None = None
    """None where no decision was kept: then all that is known of the request is its input tokens."""
    usage: Usage | None = None
    cost: Cost | None = None
    failed_cost: Cost | None = None
    sats_per_usd: float | None = None
    seconds: float = 0.0
    """From receipt to the last byte."""


class Outage(msgspec.Struct, frozen=True):
    """A provider that nobody can reach, from ``since`` until before ``until``: seconds since the epoch."""

    provider: str
    since: float = -math.inf
    until: float = math.inf


class Outcome(msgspec.Struct, frozen=True):
    """What becomes of a request now. Either there is a deployment or a code."""

    deployment: Deployment | None = None
    """Who is asked first."""
    code: str | None = None
    """Of the error with which it is rejected."""
    policy: str | None = None
    """The rule that holds."""
    cost: Cost | None = None
    """Of what it used then. None where it was not served then, or has no price now."""


class Replay:
    """Decides rows again, one after the other, in the order in which the requests were received."""

    def __init__(self, snapshot: Snapshot, outages: Sequence[Outage] = ()) -> None:
        self._snapshot = snapshot
        self._outages = tuple(outages)
        self._rules = {rule.name: rule for rule in snapshot.rules}
        self._means: dict[str, OutputMean] = {}
        self._pending: list[tuple[float, int, str, int, int]] = []
        """Answers that had not ended yet: when they did, what tells equals apart, the route, tokens and choices."""
        self._answers = 0
        self._out: frozenset[str] = frozenset()
        budget = snapshot.budget
        held = budget.limited and budget.hard and budget.refuses_unpriced
        self._currencies = (budget.currency,) if held else ()
        """In which a price must be known."""
        self._rated: float | None = None
        """What the last row says of the exchange rate, and what holds by that."""
        self._terms = self._terms_for(snapshot.exchange_rate)

    def learn(self, row: Logged) -> None:
        """Take down how long an answer was, of a row that is not to be decided."""
        self._settle(row.at)
        self._expect(row)

    def decide(self, row: Logged) -> Outcome:
        """Who would serve the request now, at what cost. ``row`` was not kept out."""
        self._settle(row.at)
        outcome = self._decided(row)
        self._expect(row)
        deployment = outcome.deployment
        if row.ending is not Ending.SERVED or row.usage is None or deployment is None or deployment.rates is None:
            return outcome
        cost = cost_of(row.usage, deployment.rates, self._terms.rate)
        return Outcome(deployment, None, outcome.policy, cost)

    # What was known at the time.

    def _expect(self, row: Logged) -> None:
        """The answer will be known when it has ended. Those that this gateway had to estimate do not count."""
        usage, model = row.usage, row.model
        if row.ending is not Ending.SERVED or usage is None or usage.estimated or model is None:
            return
        route = self._snapshot.route_for(model)
        if route is None:
            return
        self._answers += 1
        choices = row.asked.n if row.asked is not None else 1
        entry = (row.at + row.seconds, self._answers, route.model, usage.output_tokens, choices)
        heapq.heappush(self._pending, entry)
        if len(self._pending) > MOST_PENDING:
            self._add(heapq.heappop(self._pending))

    def _settle(self, now: float) -> None:
        pending = self._pending
        while pending and pending[0][0] <= now:
            self._add(heapq.heappop(pending))

    def _add(self, entry: tuple[float, int, str, int, int]) -> None:
        _, _, model, tokens, choices = entry
        mean = self._means.get(model)
        if mean is None:
            mean = self._means[model] = OutputMean()
        mean.add(tokens, choices)

    def _mean_output(self, model: str) -> int:
        mean = self._means.get(model)
        return DEFAULT_OUTPUT_TOKENS if mean is None else mean.expected()

    # The decision.

    def _decided(self, row: Logged) -> Outcome:
        """The decision by what is known of the request, and of its time."""
        asked = row.asked
        if asked is None:
            tokens = row.usage.input_tokens if row.usage is not None else 0
            asked = Asked(tokens * BYTES_PER_TOKEN)
        if self._outages:
            self._out = frozenset(each.provider for each in self._outages if each.since <= row.at < each.until)
        if row.sats_per_usd != self._rated:
            self._rated = row.sats_per_usd
            self._terms = self._terms_for(_rate(row.sats_per_usd) or self._snapshot.exchange_rate)
        return self._first(row, asked)

    def _first(self, row: Logged, asked: Asked) -> Outcome:
        """Whom the planner would have asked first, or why nobody."""
        request = ChatRequest(
            row.model or "",
            False,
            {},
            asked.input_bytes,
            "",
            asked.max_tokens,
            asked.n,
            dialect=_DIALECTS.get(row.endpoint, row.endpoint),
        )
        try:
            rule = self._rule(row, request)
            plan = decide(
                request,
                rule,
                needs=asked.needs,
                snapshot=self._snapshot,
                mean_output=self._mean_output,
                standing=self._standing,
                terms=self._terms,
            )
        except (ModelNotFound, InvalidRequest) as error:
            return Outcome(code=error.code)
        policy = rule.name if rule is not None else None
        if plan.candidates:
            return Outcome(plan.candidates[0].deployment, policy=policy)
        refusal: type[GatewayError] | GatewayError = plan.refusal or CircuitsOpen
        return Outcome(code=refusal.code, policy=policy)

    def _rule(self, row: Logged, request: ChatRequest) -> PolicyRule | None:
        """The rule of the same name. Raises InvalidRequest where there is none and the caller, or its key, named it.
        Keywords chose it from a text that is not kept: then there is none where the name is gone."""
        if row.policy is None:
            return None
        matched = row.asked.matched if row.asked is not None else None
        if matched in (Matched.HEADER, Matched.KEY):
            return choose_rule(self._snapshot.rules, row.policy, request)
        return self._rules.get(row.policy)

    def _standing(self, deployment: Deployment) -> Standing:
        return Standing.OPEN if deployment.provider in self._out else Standing.READY

    def _terms_for(self, rate: ExchangeRate | None) -> Terms:
        return Terms(rate=rate, bound=_any_price if self._currencies else None, currencies=self._currencies)


MOST_PENDING = 10_000
"""Answers under way at a time; of more, the first to end counts early."""

_DIALECTS = {"chat.completions": "openai", "messages": "anthropic"}
"""What callers of an endpoint speak, where it is not called by the same name."""


def _rate(sats_per_usd: float | None) -> ExchangeRate | None:
    """The exchange rate that a row names, to the last digit."""
    return None if sats_per_usd is None else ExchangeRate(max(1, round(sats_per_usd * 1_000_000)))


def _any_price(deployment: Deployment, rates: Rates) -> Pico:
    """No ceiling is looked at, so that of the most that a request can cost only one thing matters: whether it is 0."""
    return rates.bound(1, 1)
