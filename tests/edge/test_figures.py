"""Figures as JSON."""

from __future__ import annotations

from typing import Any

from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.span import instant
from arbstr.domain.statistics import Figures, Filter, Group, Point, Saved, Savings, Spread, Statistics
from arbstr.edge.figures import savings_answer, series_answer, stats_answer

DAY = Filter(since=instant("2026-11-20T00:00:00Z"), until=instant("2026-11-21T00:00:00.5Z"))
SOME = Figures(
    requests=8,
    successes=5,
    streaming=2,
    input_tokens=100,
    output_tokens=200,
    cached_input_tokens=30,
    cache_write_tokens=20,
    reasoning_tokens=10,
    cost=MicroSats(1_250_001),
    cost_usd=NanoUsd(3_000_000_001),
    failed_cost=MicroSats(1),
    failed_cost_usd=NanoUsd(2),
    provider_cost=MicroSats(1_500_000),
    estimated=2,
    unpriced=1,
    latency=Spread(100.00049, 90.0, 190.0, 199.0),
    ttft=Spread(10.0, 9.0, 19.0, 19.9),
    tokens_per_second=41.66666,
    errors={"circuit_open": 1, "upstream_error": 2},
)


def leaves(value: object) -> list[object]:
    return [leaf for inner in value.values() for leaf in leaves(inner)] if isinstance(value, dict) else [value]


def test_every_figure_has_its_place() -> None:
    """Costs in satoshis and dollars with their fractions, errors by their code, the most frequent first."""
    answer = stats_answer(DAY, Statistics(SOME))

    assert answer == {
        "since": "2026-11-20T00:00:00Z",
        "until": "2026-11-21T00:00:00.500000Z",
        "counts": {
            "total": 8,
            "success": 5,
            "error": 3,
            "streaming": 2,
            "errors_by_code": {
                "upstream_error": {"count": 2, "share": 0.25},
                "circuit_open": {"count": 1, "share": 0.125},
            },
        },
        "costs": {
            "total_cost_sats": 1.250001,
            "total_cost_usd": 3.000000001,
            "failed_cost_sats": 0.000001,
            "failed_cost_usd": 0.000000002,
            "provider_cost_sats": 1.5,
            "estimated_requests": 2,
            "unpriced_requests": 1,
            "total_input_tokens": 100,
            "total_output_tokens": 200,
            "total_cached_input_tokens": 30,
            "total_cache_write_tokens": 20,
            "total_reasoning_tokens": 10,
        },
        "performance": {
            "avg_latency_ms": 100.0,
            "p50_latency_ms": 90.0,
            "p95_latency_ms": 190.0,
            "p99_latency_ms": 199.0,
            "avg_ttft_ms": 10.0,
            "p50_ttft_ms": 9.0,
            "p95_ttft_ms": 19.0,
            "p99_ttft_ms": 19.9,
            "tokens_per_second": 41.667,
        },
    }
    assert list(answer["counts"]["errors_by_code"]) == ["upstream_error", "circuit_open"]


def test_where_nothing_happened_everything_is_zero() -> None:
    """And has the same fields; a range that is open has no ends."""
    some, nothing = stats_answer(DAY, Statistics(SOME)), stats_answer(Filter(), Statistics(Figures()))

    assert (nothing.pop("since"), nothing.pop("until"), nothing["counts"].pop("errors_by_code")) == (None, None, {})
    assert set(leaves(nothing)) == {0}
    assert {name: set(section) for name, section in nothing.items()} == {
        "counts": set(some["counts"]) - {"errors_by_code"},
        "costs": set(some["costs"]),
        "performance": set(some["performance"]),
    }


def test_groups_are_in_the_order_of_their_names() -> None:
    """Those that were listed and had nothing to do among them, and requests without one under an empty name."""
    found = Statistics(SOME, {"m": SOME, "": Figures(requests=1)})
    models = stats_answer(DAY, found, group_by=Group.MODEL, listed=("z", "a", "m"))["models"]

    assert [(name, group["counts"]["total"]) for name, group in models.items()] == [
        ("", 1),
        ("a", 0),
        ("m", 8),
        ("z", 0),
    ]
    assert all(set(group) == {"counts", "costs", "performance"} for group in models.values())


def test_each_group_has_its_map() -> None:
    """Under the plural of what it is by; keys, by their ids, have their names."""
    found = Statistics(SOME, {"key_1": SOME, "key_2": SOME})
    answers = {group: stats_answer(DAY, found, group_by=group, key_names={"key_1": "team-a"}) for group in Group}

    assert [
        next(name for name in answer if name.endswith("s") and "key_1" in answer[name]) for answer in answers.values()
    ] == [*("models", "providers", "policies", "keys", "tiers")]
    assert {id: key["name"] for id, key in answers[Group.KEY]["keys"].items()} == {"key_1": "team-a", "key_2": None}
    assert "name" not in answers[Group.TIER]["tiers"]["key_1"]


def test_a_series_is_a_list_of_buckets() -> None:
    """Each with the instant that it starts at, and the three sections."""
    start = int(instant("2026-11-20T00:00:00Z"))
    answer = series_answer(DAY, [Point(start, SOME), Point(start + 86_400, Figures())], bucket="day")

    first, second = answer["data"]
    assert {name: answer[name] for name in answer if name != "data"} == {
        "since": "2026-11-20T00:00:00Z",
        "until": "2026-11-21T00:00:00.500000Z",
        "bucket": "day",
    }
    assert (first["start"], second["start"]) == ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z")
    assert first == {"start": first["start"]} | sections(stats_answer(DAY, Statistics(SOME)))
    assert second["counts"]["total"] == 0


def sections(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("counts", "costs", "performance")}


def test_what_was_saved_is_net() -> None:
    """The baseline less what was spent, failed attempts included, in both currencies."""
    part = Saved(
        requests=4,
        compared=2,
        cost=MicroSats(5_000_000),
        baseline=MicroSats(10_000_000),
        failed_cost=MicroSats(500_000),
        cost_usd=NanoUsd(7_000_000_000),
        baseline_usd=NanoUsd(6_000_000_000),
        failed_cost_usd=NanoUsd(1),
    )
    answer = savings_answer(DAY, Savings(part, {"2026-11-20": part, "2026-11-21": Saved()}))

    assert answer["total"] == {
        "requests": 4,
        "compared": 2,
        "spent_sats": 5.5,
        "failed_sats": 0.5,
        "baseline_sats": 10,
        "saved_sats": 4.5,
        "spent_usd": 7.000000001,
        "failed_usd": 1e-9,
        "baseline_usd": 6,
        "saved_usd": -1.000000001,
    }
    assert answer["by"] == "day"
    assert list(answer["days"]) == ["2026-11-20", "2026-11-21"]
    assert set(answer["days"]["2026-11-21"].values()) == {0}


def test_savings_by_model_and_provider() -> None:
    """In a map of that name."""
    found = Savings(Saved(), {"gpt-4o": Saved(requests=1)})

    assert savings_answer(DAY, found, by=Group.MODEL)["models"]["gpt-4o"]["requests"] == 1
    assert savings_answer(DAY, found, by=Group.PROVIDER)["by"] == "provider"
    assert "gpt-4o" in savings_answer(DAY, found, by=Group.PROVIDER)["providers"]
