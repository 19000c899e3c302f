"""Where a request can go, and what decides it. A :class:`Snapshot` is compiled once per (re)load and never changes."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping

import msgspec

from arbstr.domain.errors import GatewayError
from arbstr.domain.limits import NO_LIMITS, Limits
from arbstr.domain.money import Cost, Currency, ExchangeRate, Pico, PicoSats, Rates

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Strategy(enum.Enum):
    """How a route orders its candidates."""

    CHEAPEST = "cheapest"
    PRIORITY = "priority"


class Commit(enum.Enum):
    """How long a stream is held so that it can still fall back."""

    FIRST_CONTENT = "first_content"
    COMPLETE = "complete"


class StreamMetadata(enum.Enum):
    """How the metadata after a stream's ``[DONE]`` is sent."""

    COMMENT = "comment"
    EVENT = "event"
    OFF = "off"


class Tier(enum.Enum):
    LOCAL = "local"
    STANDARD = "standard"
    FRONTIER = "frontier"


class Timeouts(msgspec.Struct, frozen=True):
    """All in seconds."""

    connect: float = 5.0
    """TCP and TLS."""
    first_token: float = 30.0
    """Streams: from the request sent to the first content-bearing event."""
    answer: float = 300.0
    """Whole answers: one attempt."""
    idle: float = 30.0
    """Between two reads of a stream."""


class Capabilities(msgspec.Struct, frozen=True):
    """What a model can do. None: not known, and then it is asked."""

    tools: bool | None = None
    vision: bool | None = None
    """Images in the request."""
    json: bool | None = None
    """Answers that must be JSON, by a schema or without."""
    reasoning: bool | None = None
    max_output: int | None = None
    """Tokens."""


class Deployment(msgspec.Struct, frozen=True):
    """One model at one provider: what a request is sent to."""

    provider: str
    """The provider's configured name: also the key of its circuit, its retry budget and its account's cooldown."""
    model: str
    """The name that the provider knows the model by."""
    rates: Rates | None
    """None: what it charges is not known."""
    tier: Tier = Tier.STANDARD
    timeouts: Timeouts = Timeouts()
    context_window: int | None = None
    """In tokens, where it is known."""
    capabilities: Capabilities = Capabilities()
    refuses: frozenset[str] = frozenset()
    """Dialects of callers whom this kind of provider cannot serve at all (``embeddings``)."""

    @property
    def name(self) -> str:
        """``provider/model``: stable across reloads."""
        return f"{self.provider}/{self.model}"


class Route(msgspec.Struct, frozen=True):
    """Who can serve a model, in configured order."""

    model: str
    strategy: Strategy
    deployments: tuple[Deployment, ...]
    commit: Commit = Commit.FIRST_CONTENT


class PolicyRule(msgspec.Struct, frozen=True):
    """A named restriction, chosen by header or by keyword."""

    name: str
    allowed_models: frozenset[str] | None = None
    """None allows every model."""
    strategy: Strategy | None = None
    max_output_rate: PicoSats | None = None
    """A candidate whose output rate is above it is rejected. Picosatoshis per token."""
    keywords: tuple[str, ...] = ()
    """Case-insensitive whole words of the last user message; a rule without any is chosen only by header."""


class BudgetSettings(msgspec.Struct, frozen=True):
    """What may be spent. Amounts are in ``currency``'s smallest units; None is no limit."""

    currency: Currency = Currency.SATS
    hour: int | None = None
    day: int | None = None
    month: int | None = None
    total: int | None = None
    alert_threshold: float = 0.8
    """Share of a limit from which there are warnings."""
    hard: bool = True
    """What is over a limit is refused; else it passes with a warning."""
    default_reserve_tokens: int = 4096
    """Output reserved for a request that names no ``max_tokens``."""
    refuses_unpriced: bool = True
    """Where a budget is hard, who has no price is not asked."""
    lease_share: float = 0.01
    """Share of a limit that is leased ahead: what a killed process may seem to have spent and did not."""

    @property
    def limited(self) -> bool:
        return any(limit is not None for limit in (self.hour, self.day, self.month, self.total))


class RetrySettings(msgspec.Struct, frozen=True):
    """Seconds throughout."""

    max_attempts: int = 3
    """On one provider, the first included."""
    initial_backoff: float = 0.25
    max_backoff: float = 10.0
    backoff_multiplier: float = 2.0
    retryable_statuses: frozenset[int] = frozenset({408, 429, 500, 502, 503, 504, 529})


class BreakerSettings(msgspec.Struct, frozen=True):
    failure_threshold: int = 3
    """Consecutive failures that open the circuit."""
    success_threshold: int = 1
    """Successful probes that close it."""
    timeout: float = 30.0
    """Seconds from opening to the first probe."""
    half_open_max_requests: int = 1
    """Probes at a time."""


class ProviderView(msgspec.Struct, frozen=True):
    """What may be shown of a provider: nothing here is secret."""

    name: str
    kind: str
    base_url: str
    masked_key: str | None
    key_source: str
    """Where the key comes from: ``none``, ``literal``, ``${NAME}``, the name of the environment variable,
    ``token_command``, or what finds the vendor's own credentials."""
    tier: Tier
    deployments: tuple[Deployment, ...]


class Snapshot(msgspec.Struct, frozen=True):
    """All that decides about a request, frozen. A request keeps the snapshot it began with."""

    routes: Mapping[str, Route]
    """By the model's public name."""
    default_route: Route | None = None
    """``[models.default]``: takes models that nobody lists."""
    rules: tuple[PolicyRule, ...] = ()
    """In configured order; the first match wins."""
    providers: tuple[ProviderView, ...] = ()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    knows_capabilities: bool = False
    """Of some deployment it is known what its model can do, so that requests must be looked at for what they need."""
    request_timeout: float = 600.0
    """Seconds for everything, all attempts."""
    max_body: int = 32 * 1024 * 1024
    """Bytes of a request's body, decoded."""
    max_in_flight: int = 1000
    stream_metadata: StreamMetadata = StreamMetadata.COMMENT
    budget: BudgetSettings = BudgetSettings()
    """Of the gateway as a whole. Without a limit it is none, and its other settings are those of keys' budgets."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose word on where a request comes from counts."""
    limits: Limits = NO_LIMITS
    """Of callers without a key that has limits of its own, each by itself."""
    baseline: str | None = None
    """The provider whose price others' are compared with; None: the dearest candidate of each request."""
    exchange_rate: ExchangeRate | None = None
    """The configured one; one that is polled takes its place."""
    rate_max_age: float = 600.0
    """Seconds from which on a polled exchange rate is called stale."""
    prices_until: float | None = None
    """When one of the prices in it changes, in seconds since the epoch, where that is known."""
    auth_required: bool = False
    """A key is asked for even where none exists."""

    def route_for(self, model: str) -> Route | None:
        return self.routes.get(model, self.default_route)


class Candidate(msgspec.Struct, frozen=True):
    """A deployment that may serve this request."""

    deployment: Deployment
    expected: Pico | None
    """What it is expected to cost, in pico of its rates' currency; None: it has no price."""
    reason: str
    """``cheapest``, ``priority``, ``probe`` … : why it stands where it stands."""
    worst: Pico | None = None
    """The most that the request can cost there; None where nobody needed to know."""

    def expected_cost(self, rate: ExchangeRate | None) -> Cost | None:
        rates = self.deployment.rates
        return None if rates is None or self.expected is None else Cost.of_pico(self.expected, rates.currency, rate)

    def worst_cost(self, rate: ExchangeRate | None) -> Cost | None:
        rates = self.deployment.rates
        return None if rates is None or self.worst is None else Cost.of_pico(self.worst, rates.currency, rate)


class Why(enum.Enum):
    """What kind of reason there is against a deployment."""

    POLICY = "policy"
    CAPABILITY = "capability"
    """It cannot do what is asked for, or not so much of it."""
    PRICE = "price"
    CIRCUIT = "circuit"
    KEY = "key"
    """The provider's key, which is out of use."""
    LIMIT = "limit"
    """The provider's own."""


class Rejection(msgspec.Struct, frozen=True):
    """A deployment that lists the model but may not serve this request."""

    deployment: Deployment
    reason: str
    why: Why = Why.CAPABILITY


class Plan(msgspec.Struct, frozen=True):
    """Ordered candidates: first to last is the order in which they are tried."""

    route: Route
    strategy: Strategy
    policy: str | None
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...] = ()
    refusal: GatewayError | None = None
    """What the caller is told where nobody may serve it, whatever their health."""
    rate: ExchangeRate | None = None
    """What a dollar was worth then."""
    baseline: Deployment | None = None
    """Whose price the request's is compared with, to say what was saved."""
