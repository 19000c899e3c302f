"""``arbstr stats``: figures and savings, for people and for programs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.record import RequestRecord
from tests.config.written import ALPHA, BETA
from tests.store.records import request
from tests.store.test_retention import logged
from tests.test_cli import run, written


def stats(folder: Path, *words: str) -> Result:
    written(folder, ALPHA + BETA)
    return run(folder, "stats", *words)


def told(folder: Path, *words: str) -> dict[str, Any]:
    result = stats(folder, *words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def recent(**changes: Any) -> RequestRecord:
    """A request of a minute ago."""
    return request(timestamp=time.time() - 60, **changes)


def figures(result: Result) -> dict[str, str]:
    """The table of figures by what they are."""
    rows = [line.rsplit("  ", 1) for line in result.stdout.splitlines()[1:]]
    return {name.strip(): value.strip() for name, value in rows}


def test_the_figures_are_those_of_the_rows(tmp_path: Path) -> None:
    """How many, what they cost and how long they took, of the last seven days; errors by their code."""
    logged(
        tmp_path,
        recent(cost=MicroSats(1_500_000), latency_ms=100.0),
        recent(cost=MicroSats(2_000_001), latency_ms=100.0),
        recent(cost=None, success=False, status=502, error_code="upstream_error", provider=None, latency_ms=100.0),
        request(timestamp=time.time() - 8 * 86400),
    )

    result = stats(tmp_path)

    found = figures(result)
    assert result.exit_code == 0
    assert (found["requests"], found["succeeded"], found["failed"]) == ("3", "2 (66.7%)", "1 (33.3%)")
    assert found["upstream_error"] == "1 (33.3%)"
    assert (found["cost in sats"], found["input tokens"]) == ("3.500001", "300")
    assert found["avg latency"] == "100 ms"
    assert found["p95 time to first token"] == "–"
    assert result.stderr.startswith("From 20")


def test_programs_get_the_answer_of_the_endpoint(tmp_path: Path) -> None:
    """The sections of ``/v1/stats``; with groups also what is configured and has no traffic."""
    logged(tmp_path, recent(), recent(provider="gone"))

    plain = told(tmp_path)
    grouped = told(tmp_path, "--group-by", "provider")
    narrowed = told(tmp_path, "--group-by", "provider", "--provider", "alpha")

    assert set(plain) == {"since", "until", "counts", "costs", "performance"}
    assert plain["counts"]["total"] == 2
    assert {name: each["counts"]["total"] for name, each in grouped["providers"].items()} == {
        "alpha": 1,
        "beta": 0,
        "gone": 1,
    }
    assert list(narrowed["providers"]) == ["alpha"]


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("model", ["gpt-4o", "m"]),
        ("provider", ["alpha", "beta"]),
        ("policy", ["(none)"]),
        ("key", ["(none)", "key_1"]),
        ("tier", ["local", "standard"]),
    ],
)
def test_groups_are_rows(tmp_path: Path, group: str, names: list[str]) -> None:
    """One for each, those without a name as ``(none)``."""
    logged(tmp_path, recent(model="m", key_id="key_1", tier="local"), recent(model="m", tier="local"))

    heading, *rows = stats(tmp_path, "--group-by", group).stdout.splitlines()

    assert heading.split()[:3] == [group, "requests", "failed"]
    assert [row.split("  ")[0].strip() for row in rows] == names


def test_savings_stand_by_day_with_their_sum(tmp_path: Path) -> None:
    """What was spent with failed attempts, what it would have been, and what is left of that."""
    logged(
        tmp_path,
        recent(cost=MicroSats(4_000_000), baseline_cost=MicroSats(10_000_000), failed_cost=MicroSats(1_000_000)),
        recent(cost=MicroSats(5_000_000), baseline_cost=MicroSats(10_000_000)),
    )

    result = stats(tmp_path, "--savings")
    as_json = told(tmp_path, "--savings")
    by_model = told(tmp_path, "--savings", "--group-by", "model")

    heading, *rows = result.stdout.splitlines()
    assert heading.split("  ")[0] == "day"
    assert "usd" not in heading
    assert len(rows) in (9, 10)  # eight days or nine, and all of them
    assert rows[-1].split() == ["in", "all", "2", "2", "10", "1", "20", "10", "50.0%"]
    assert (as_json["by"], as_json["total"]["saved_sats"]) == ("day", 10.0)
    assert by_model["models"]["gpt-4o"]["saved_sats"] == 10.0


def test_savings_in_dollars_have_their_columns(tmp_path: Path) -> None:
    """A currency in which nothing was spent has none."""
    logged(tmp_path, recent(cost=None, cost_usd=NanoUsd(10**9), baseline_cost_usd=NanoUsd(4 * 10**9)))

    heading, *rows = stats(tmp_path, "--savings", "--group-by", "provider").stdout.splitlines()

    assert "sats" not in heading
    assert rows[-1].split()[-4:] == ["0", "4", "3", "75.0%"]


def test_an_empty_log_is_zeros(tmp_path: Path) -> None:
    """And dashes where there is nothing to tell."""
    logged(tmp_path)

    found = figures(stats(tmp_path))

    assert (found["requests"], found["cost in sats"], found["p50 latency"]) == ("0", "0", "–")
    assert stats(tmp_path, "--savings").stdout.splitlines()[-1].split()[:4] == ["in", "all", "0", "0"]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--group-by", "colour"], "'colour' is not one of"),
        (["--savings", "--group-by", "key"], "--savings can be told apart by model or provider, or by day"),
        (["--savings", "--since", "2001-01-01T00:00:00Z"], "days, expected at most 3,660"),
        (["--range", "last_7d", "--since", "2026-01-01T00:00:00Z"], "range cannot be combined with since and until"),
        (["--tier", "golden"], "--tier is 'golden', expected one of local, standard, frontier"),
    ],
)
def test_a_question_that_makes_no_sense_is_2(tmp_path: Path, words: list[str], wrong: str) -> None:
    """One line that names the option."""
    logged(tmp_path)

    result = stats(tmp_path, *words)

    assert (result.exit_code, result.stdout) == (2, "")
    assert wrong in " ".join(result.stderr.split())
