"""Logged requests, decided again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.callers import CALLERS
from arbstr.domain.decision import Matched
from arbstr.domain.money import Cost, Currency, ExchangeRate, MicroSats, NanoUsd, PicoSats, Rates
from arbstr.domain.request import ChatRequest, Needs
from arbstr.domain.routing import BudgetSettings, Capabilities, Deployment, PolicyRule, Route, Snapshot, Strategy
from arbstr.domain.usage import Usage
from arbstr.policy.asked import Asked
from arbstr.policy.planner import Standing, decide
from arbstr.policy.pricing import DEFAULT_OUTPUT_TOKENS, ENOUGH_ANSWERS
from arbstr.policy.replay import MOST_PENDING, Ending, Logged, Outage, Outcome, Replay, ending
from arbstr.policy.terms import Terms


def deployment(name: str, input: str, output: str, fee: str = "0", *, model: str = "gpt-4o") -> Deployment:
    rates = Rates.per_thousand(input=Decimal(input), output=Decimal(output), base_fee=Decimal(fee))
    return Deployment(name, model, rates)


SHORT = deployment("short", "1", "20")
"""Cheaper for short answers …"""
LONG = deployment("long", "1", "1", "5")
"""… and for long ones: from 264 tokens of output on."""
UNPRICED = Deployment("unpriced", "gpt-4o", None)
IN_USD = Deployment("usd", "gpt-4o", Rates(1_000_000, 2_000_000, 0, Currency.USD))


def snapshot(*deployments: Deployment, rules: tuple[PolicyRule, ...] = ()) -> Snapshot:
    return Snapshot(routes={"gpt-4o": Route("gpt-4o", Strategy.CHEAPEST, deployments)}, rules=rules)


def row(at: float = 0.0, output: int = 100, **changes: object) -> Logged:
    """A request of 100 tokens that was served."""
    plain = Logged(at, Ending.SERVED, "gpt-4o", provider="short", asked=Asked(400), usage=Usage(100, output))
    return msgspec.structs.replace(plain, **changes)


def provider(outcome: Outcome) -> str | None:
    return outcome.deployment.provider if outcome.deployment is not None else None


class TestWhatBecameOfIt:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"success": True}, Ending.SERVED),
            ({"code": "upstream_error"}, Ending.FAILED),
            ({"code": "client_closed_request", "decided": False}, Ending.FAILED),
            ({"code": "invalid_request", "provider": "alpha"}, Ending.FAILED),
            ({"code": "policy_violation"}, Ending.REJECTED),
            ({"code": "invalid_request"}, Ending.REJECTED),
            ({"code": "model_not_found", "decided": False}, Ending.REJECTED),
            ({"code": "invalid_request", "decided": False}, Ending.KEPT_OUT),
            ({"code": "insufficient_quota"}, Ending.KEPT_OUT),
            ({"code": "invalid_api_key", "decided": False, "model": None}, Ending.KEPT_OUT),
            ({"code": "client_closed_request", "decided": False, "model": None}, Ending.KEPT_OUT),
        ],
    )
    def test_it_is_told_from_the_row(self, fields: dict[str, object], expected: Ending) -> None:
        """What nobody decided anything about is not decided now."""
        usual = {"success": False, "model": "gpt-4o", "provider": None, "code": None, "decided": True}

        assert ending(**(usual | fields)) is expected  # type: ignore[arg-type]


class TestWhoWouldServe:
    def test_the_cheapest_by_what_was_asked(self) -> None:
        """The bytes of the prompt, and the most that was to be answered."""
        again = Replay(snapshot(SHORT, LONG))

        assert provider(again.decide(row())) == "long"
        assert provider(again.decide(row(asked=Asked(400, max_tokens=100)))) == "short"
        assert provider(again.decide(row(asked=Asked(400, max_tokens=100, n=4)))) == "long"

    def test_an_older_row(self) -> None:
        """Its input is what its tokens say."""
        by_input = deployment("input", "10", "1")
        again = Replay(snapshot(by_input, deployment("output", "1", "2")))

        assert provider(again.decide(row(asked=None, usage=Usage(10, 1)))) == "input"
        assert provider(again.decide(row(asked=None, usage=Usage(10_000, 1)))) == "output"
        assert provider(again.decide(row(asked=None, usage=None, ending=Ending.FAILED))) == "input"

    def test_what_it_needs(self) -> None:
        """Who cannot do it is passed over."""
        blind = msgspec.structs.replace(SHORT, capabilities=Capabilities(vision=False))
        again = Replay(snapshot(blind, LONG))

        assert provider(again.decide(row(asked=Asked(400, 10)))) == "short"
        assert provider(again.decide(row(asked=Asked(400, 10, needs=Needs(vision=True))))) == "long"

    @pytest.mark.parametrize(
        ("endpoint", "dialect"),
        [
            ("chat.completions", "openai"),
            ("completions", "completions"),
            ("embeddings", "embeddings"),
            ("responses", "responses"),
            ("messages", "anthropic"),
        ],
    )
    def test_its_callers_dialect(self, endpoint: str, dialect: str) -> None:
        """Who has no such endpoint is passed over."""
        without = msgspec.structs.replace(SHORT, refuses=frozenset({dialect}))
        again = Replay(snapshot(without, LONG))

        assert dialect in CALLERS
        assert provider(again.decide(row(asked=Asked(400, 10), endpoint=endpoint))) == "long"
        assert provider(again.decide(row(asked=Asked(400, 10), endpoint="other"))) == "short"

    def test_a_model_that_nobody_lists(self) -> None:
        """It is rejected, as it would be."""
        outcome = Replay(snapshot(SHORT)).decide(row(model="gpt-5"))

        assert outcome == Outcome(code="model_not_found")

    def test_a_model_for_the_default_route(self) -> None:
        """The answers of all that it takes count together."""
        among = msgspec.structs.replace(snapshot(), default_route=Route("default", Strategy.CHEAPEST, (SHORT, LONG)))
        again = Replay(among)
        for number in range(ENOUGH_ANSWERS):
            again.learn(row(number, output=10, model=f"model-{number}"))

        assert provider(again.decide(row(100.0, model="another"))) == "short"

    def test_what_leaves_nobody_is_a_rejection(self) -> None:
        """With the code that its caller would be given."""
        frugal = PolicyRule("frugal", max_output_rate=PicoSats(1))
        again = Replay(snapshot(SHORT, rules=(frugal,)))

        outcome = again.decide(row(policy="frugal", asked=Asked(400, matched=Matched.HEADER)))

        assert outcome == Outcome(code="policy_violation", policy="frugal")

    def test_where_money_is_limited_a_price_is_needed(self) -> None:
        """As in a gateway: the budget itself is not spent."""
        among = msgspec.structs.replace(snapshot(UNPRICED), budget=BudgetSettings(day=1))

        both = msgspec.structs.replace(snapshot(UNPRICED, SHORT), budget=BudgetSettings(day=1))

        in_usd = msgspec.structs.replace(both, budget=BudgetSettings(Currency.USD, day=1))

        assert Replay(among).decide(row()).code == "unpriced_model"
        assert provider(Replay(both).decide(row())) == "short"
        assert Replay(in_usd).decide(row()).code == "unpriced_model"
        assert provider(Replay(in_usd).decide(row(sats_per_usd=1000.0))) == "short"
        assert provider(Replay(snapshot(UNPRICED)).decide(row())) == "unpriced"

    @pytest.mark.parametrize("matched", [Matched.HEADER, Matched.KEY])
    def test_a_policy_that_was_named(self, matched: Matched) -> None:
        """It holds; one that is gone is an error, as it would be."""
        again = Replay(snapshot(SHORT, LONG, rules=(PolicyRule("prior", strategy=Strategy.PRIORITY),)))

        named = again.decide(row(policy="prior", asked=Asked(400, matched=matched)))
        gone = again.decide(row(policy="gone", asked=Asked(400, matched=matched)))

        assert (provider(named), named.policy) == ("short", "prior")
        assert gone == Outcome(code="invalid_request")

    @pytest.mark.parametrize("asked", [Asked(400, matched=Matched.KEYWORD), None])
    def test_a_policy_that_a_keyword_chose(self, asked: Asked | None) -> None:
        """It holds by its name; where that is gone none does, as nobody knows the text. An older row says not how."""
        again = Replay(snapshot(SHORT, LONG, rules=(PolicyRule("prior", strategy=Strategy.PRIORITY),)))

        named = again.decide(row(policy="prior", asked=asked))
        gone = again.decide(row(policy="gone", asked=asked))

        assert (provider(named), named.policy) == ("short", "prior")
        assert (provider(gone), gone.policy) == ("long", None)


class TestTheLengthOfAnswers:
    def test_it_is_learnt_as_answers_end(self) -> None:
        """Until ten were seen it is 512; an answer that is still under way tells nothing."""
        again = Replay(snapshot(SHORT, LONG))
        before = [provider(again.decide(row(number, output=10))) for number in range(ENOUGH_ANSWERS - 1)]
        again.learn(row(20.0, output=10, seconds=5.0))

        assert set(before) == {"long"}
        assert provider(again.decide(row(24.9))) == "long"
        assert provider(again.decide(row(25.0))) == "short"

    @pytest.mark.parametrize(
        "changes",
        [
            {"ending": Ending.FAILED},
            {"usage": None},
            {"usage": Usage(100, 10, estimated=True)},
            {"model": None},
            {"model": "nobody-has-this"},
        ],
    )
    def test_of_other_rows_nothing_is_learnt(self, changes: dict[str, Any]) -> None:
        """What failed, what was estimated, what this configuration has no route for."""
        again = Replay(snapshot(SHORT, LONG))
        for number in range(2 * ENOUGH_ANSWERS):
            again.learn(row(number, output=10, **changes))

        assert provider(again.decide(row(1000.0))) == "long"

    def test_each_choice_counts_as_an_answer(self) -> None:
        """Five answers of two choices are ten."""
        again = Replay(snapshot(SHORT, LONG))
        for number in range(ENOUGH_ANSWERS // 2):
            again.learn(row(number, output=20, asked=Asked(400, n=2)))

        assert provider(again.decide(row(1000.0))) == "short"

    def test_answers_that_never_end_take_no_room(self) -> None:
        """Of more than are ever under way at a time, the first ones count."""
        again = Replay(snapshot(SHORT, LONG))
        for _ in range(MOST_PENDING + ENOUGH_ANSWERS - 1):
            again.learn(row(output=10, seconds=1e12))
        nine = provider(again.decide(row()))
        again.learn(row(output=10, seconds=1e12))

        assert (nine, provider(again.decide(row()))) == ("long", "short")


class TestOutages:
    def test_a_provider_is_out_in_its_window_alone(self) -> None:
        """From its beginning on, and before its end."""
        again = Replay(snapshot(SHORT, LONG), [Outage("long", 10.0, 20.0)])

        found = [provider(again.decide(row(at))) for at in (9.9, 10.0, 19.9, 20.0)]

        assert found == ["long", "short", "short", "long"]

    def test_one_without_times_is_out_for_good(self) -> None:
        """And where all are out, what there is is an error."""
        assert provider(Replay(snapshot(SHORT, LONG), [Outage("long")]).decide(row())) == "short"
        assert Replay(snapshot(LONG), [Outage("long")]).decide(row()) == Outcome(code="circuit_open")


class TestThePrice:
    def test_it_is_of_what_was_used(self) -> None:
        """Whoever would serve it now: cached and written tokens by their own rates."""
        rates = Rates(1_000_000, 2_000_000, 0, cached_input=100_000, cache_write=3_000_000, reasoning=5_000_000)
        usage = Usage(100, 50, cached_input_tokens=40, reasoning_tokens=20, cache_write_tokens=30)

        outcome = Replay(snapshot(Deployment("alpha", "gpt-4o", rates))).decide(row(usage=usage))

        assert outcome.cost == Cost(MicroSats(30 + 4 + 90 + 60 + 100), None)

    @pytest.mark.parametrize(
        "changes",
        [{"ending": Ending.FAILED}, {"ending": Ending.REJECTED, "usage": None}, {"usage": None}],
    )
    def test_what_was_not_served_has_none(self, changes: dict[str, Any]) -> None:
        """Nobody knows what its answer would have been."""
        outcome = Replay(snapshot(SHORT)).decide(row(**changes))

        assert (provider(outcome), outcome.cost) == ("short", None)

    def test_who_has_no_price_costs_nobody_knows_what(self) -> None:
        """It is not nothing."""
        outcome = Replay(snapshot(UNPRICED)).decide(row())

        assert (provider(outcome), outcome.cost) == ("unpriced", None)

    def test_a_dollar_is_worth_what_it_was(self) -> None:
        """What the configuration says holds where the row says nothing."""
        among = msgspec.structs.replace(snapshot(IN_USD), exchange_rate=ExchangeRate.of(Decimal(500)))
        again = Replay(among)

        own, ours, own_again = (again.decide(row(sats_per_usd=rate)).cost for rate in (1234.567891, None, 1234.567891))

        usd = NanoUsd(300_000)
        assert own == own_again == Cost(MicroSats(370_370), usd)
        assert ours == Cost(MicroSats(150_000), usd)

    def test_without_any_rate_it_is_in_the_prices_own_currency(self) -> None:
        """And dollars stand behind satoshis, as in the planner."""
        again = Replay(snapshot(IN_USD, SHORT), [Outage("short", 5.0)])

        assert again.decide(row()).cost == Cost(MicroSats(2_100_000), None)
        assert again.decide(row(6.0)).cost == Cost(None, NanoUsd(300_000))

    def test_a_rate_that_nobody_can_have_meant(self) -> None:
        """A row that somebody else has written does no harm."""
        outcome = Replay(snapshot(IN_USD)).decide(row(sats_per_usd=0.0))

        assert outcome.cost == Cost(MicroSats(0), NanoUsd(300_000))


@given(
    st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 2000), st.none() | st.integers(1, 800), st.integers(0, 30)),
        max_size=40,
    )
)
def test_it_decides_as_the_planner_did(answers: list[tuple[int, int, int | None, int]]) -> None:
    """Of requests a second apart: as one that learns from the answers that have ended."""
    among = snapshot(SHORT, LONG, deployment("middle", "2", "5", "1"))
    again = Replay(among)
    ended: list[tuple[int, int]] = []

    for at, (size, output, max_tokens, seconds) in enumerate(answers):
        known = [tokens for end, tokens in ended if end <= at]
        mean = sum(known) // len(known) if len(known) >= ENOUGH_ANSWERS else DEFAULT_OUTPUT_TOKENS
        expected = decide(
            ChatRequest("gpt-4o", False, {}, size, "", max_tokens),
            None,
            snapshot=among,
            mean_output=lambda _, mean=mean: mean,  # type: ignore[misc]
            standing=lambda _: Standing.READY,
            terms=Terms(),
        )

        found = again.decide(
            row(float(at), output, asked=Asked(size, max_tokens), usage=Usage(7, output), seconds=float(seconds))
        )

        ended.append((at + seconds, output))
        assert found.deployment == expected.candidates[0].deployment
