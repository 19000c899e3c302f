"""A request log as a company of some teams makes it: what the benchmark of the log's queries is asked about.

Each of KEYS keys is one program: it asks for few models, streams or does not, and has its own sizes; some are busy and
some are not. A model is sold by one to three providers. A few in a hundred requests fail.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from arbstr.domain.decision import Decision
from arbstr.domain.money import MicroSats, NanoUsd, Rates, pico_each
from arbstr.domain.record import AttemptRecord, CostSource, RequestRecord, StreamStatus
from arbstr.domain.request import Needs
from arbstr.domain.routing import Candidate, Deployment, Plan, Route, Strategy

KEYS = 25
MODELS = tuple(f"model-{number:02}" for number in range(12))
PROVIDERS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
TIERS = ("local", "standard", "standard", "standard", "frontier", "frontier")
POLICIES = (None, None, None, "frugal", "code")
FAILURES = ((429, "rate_limit_exceeded"), (502, "upstream_error"), (503, "circuit_open"), (504, "upstream_timeout"))
SATS_PER_USD = 1000.0


@dataclass(frozen=True)
class Program:
    """What one key asks for."""

    key: int
    models: tuple[int, ...]
    policy: str | None
    streaming: bool
    size: float


def programs(rng: random.Random) -> tuple[list[Program], list[float]]:
    """All of them, and how busy each is."""
    found = [
        Program(
            key=key,
            models=tuple(rng.sample(range(len(MODELS) - 1), rng.choice((1, 1, 2, 3)))),
            policy=rng.choice(POLICIES),
            streaming=rng.random() < 0.5,
            size=rng.uniform(5, 8),
        )
        for key in range(KEYS)
    ]
    return found, [1 / (1 + key) ** 0.7 for key in range(KEYS)]


def decision(model: int) -> Decision:
    """One with as many candidates as a request has as a rule."""
    offers = tuple(
        Deployment(PROVIDERS[(model + step) % 6], f"{MODELS[model]}-2026", _rates(model)) for step in range(3)
    )
    plan = Plan(
        route=Route(MODELS[model], Strategy.CHEAPEST, offers),
        strategy=Strategy.CHEAPEST,
        policy=None,
        candidates=tuple(Candidate(offer, None, "cheapest") for offer in offers),
        baseline=offers[-1],
    )
    return Decision(plan, None, 2400, 1000, 1, Needs())


def _rates(model: int) -> Rates:
    return Rates(input=pico_each(Decimal(1 + model), 1000), output=pico_each(Decimal(4 + 4 * model), 1000), base_fee=0)


def records(count: int, *, since: float, until: float, seed: int = 1) -> Iterator[RequestRecord]:
    """``count`` requests between two instants, in the order in which they were received."""
    asking, busy = programs(random.Random(1))  # the same for every seed
    rng = random.Random(seed)
    decisions = [decision(model) for model in range(len(MODELS))]
    chosen = rng.choices(asking, busy, k=100_003)
    step = (until - since) / count
    for number in range(count):
        program = chosen[number % len(chosen)]
        model = rng.choice(program.models) if rng.random() > 0.0001 else len(MODELS) - 1  # the rarest of all
        yield _record(rng, number, since + step * (number + rng.random()), program, model, decisions[model])


def _record(rng: random.Random, number: int, at: float, program: Program, model: int, why: Decision) -> RequestRecord:
    offer = rng.choice((0, 0, 0, 1))
    provider = PROVIDERS[(model + offer) % 6]
    failed = rng.random() < 0.02
    status, code = rng.choice(FAILURES) if failed else (200, None)
    tokens, output = int(rng.lognormvariate(program.size, 0.8)), int(rng.lognormvariate(5, 0.9))
    cost = MicroSats((tokens * (1 + model) + output * (4 + 4 * model)) * 1000)
    latency = round(rng.lognormvariate(6.5 + model / 10, 0.7), 3)
    ident = f"{int(at * 1000):012x}{rng.getrandbits(80):020x}"
    ident = f"{ident[:8]}-{ident[8:12]}-7{ident[13:16]}-8{ident[17:20]}-{ident[20:]}"
    name = f"{MODELS[model]}-2026"
    return RequestRecord(
        correlation_id=ident,
        timestamp=at,
        model=MODELS[model],
        provider=None if failed else provider,
        upstream_model=None if failed else name,
        policy=program.policy,
        key_id=f"key_{program.key:032x}",
        key_name=f"team {program.key}",
        streaming=program.streaming,
        input_tokens=None if failed else tokens,
        output_tokens=None if failed else output,
        cached_input_tokens=None if failed else tokens // 3,
        reasoning_tokens=None,
        cost=None if failed else cost,
        cost_usd=None if failed else NanoUsd(cost),
        provider_cost=None,
        cost_source=CostSource.NONE if failed else CostSource.PROVIDER,
        price_source=None if failed else "config",
        sats_per_usd=SATS_PER_USD,
        charged_at=at,
        latency_ms=latency,
        ttft_ms=None if failed else round(latency / 4, 3),
        stream_duration_ms=round(latency * 3 / 4, 3) if program.streaming and not failed else None,
        success=not failed,
        stream_status=StreamStatus.COMPLETE if program.streaming and not failed else None,
        status=status,
        error_message="alpha: upstream failed" if failed else None,
        error_code=code,
        malformed_events=0,
        tier=None if failed else TIERS[(model + offer) % 6],
        decision=why,
        baseline_cost=None if failed else MicroSats(cost * 2),
        baseline_cost_usd=None if failed else NanoUsd(cost * 2),
        attempts=(AttemptRecord(ident, provider, name, at, latency, None if failed else 200, cost=cost),),
    )
