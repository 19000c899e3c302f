"""``arbstr replay``, as an operator and his pipeline meet it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from arbstr.domain.decision import Decision, Matched
from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.record import CostSource
from arbstr.domain.request import Needs
from arbstr.domain.routing import Plan, Route, Strategy
from arbstr.store.sqlite import SqliteLog
from tests.config.written import ALPHA, BETA
from tests.store.records import Problems, request
from tests.test_cli import PAGE, PATIENCE, _read_all, run, written

NOON = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""
RANGE = ("--since", "2027-01-15T08:00:00Z", "--until", "2027-01-15T09:00:00Z")
SERVED: dict[str, Any] = {"timestamp": NOON, "input_tokens": 100, "output_tokens": 20, "cost": MicroSats(1_600_000)}
"""At the prices of ALPHA: 10 and 30 for a thousand."""
CHEAPER = ALPHA.replace("alpha", "cheap").replace("10", "5")
"""1.1 satoshis for the same."""
DEARER = ALPHA.replace("10", "11")
"""1.7, which is 6.25 % more."""


def decision(policy: str | None = None, matched: Matched | None = None) -> Decision:
    plan = Plan(Route("gpt-4o", Strategy.CHEAPEST, ()), Strategy.CHEAPEST, policy, ())
    return Decision(plan, matched, 400, None, 1, Needs())


def logged(folder: Path, *rows: dict[str, Any], name: str = "arbstr.db") -> Path:
    """A log with these rows, each SERVED but for what it says."""
    log = SqliteLog.open(folder / name, on_problem=Problems())
    for row in rows:
        log.request(request(**{**SERVED, "decision": decision(), **row}))
    assert log.flush(20)
    log.close()
    return folder / name


def other(folder: Path, text: str) -> str:
    return str(written(folder, text, name="other.toml"))


def replay(folder: Path, *words: str, **environ: str) -> Result:
    return run(folder, "replay", *RANGE, *words, **environ)


def told(folder: Path, *words: str, **environ: str) -> dict[str, Any]:
    """The report as JSON."""
    result = replay(folder, *words, "--json", **environ)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_then_and_now_are_tables(tmp_path: Path) -> None:
    """What it cost and would cost, who would serve it, what is rejected; and on stderr how to read that."""
    written(tmp_path)
    failed = {"success": False, "status": 502, "error_code": "upstream_error", "cost": None, "provider": None}
    unknown = {"success": False, "status": 404, "error_code": "model_not_found", "cost": None, "provider": None}
    refused = {"success": False, "status": 401, "error_code": "invalid_api_key", "model": None, "provider": None}
    lost = {"failed_cost": MicroSats(250_000)}
    logged(tmp_path, {}, lost, failed, {**unknown, "model": "gpt-5"}, {**refused, "cost": None})

    result = replay(tmp_path, "--config", other(tmp_path, CHEAPER))

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"5 requests of {tmp_path}/arbstr.db from 2027-01-15 08:00:00Z to 2027-01-15 09:00:00Z, by"
        f" {tmp_path}/other.toml",
        "",
        "requests          then  now  change",
        "served               2    3       –",
        "rejected             1    1       –",
        "failed               1    –       –",
        "cost in sats       3.2  2.2  -31.2%",
        "failures in sats  0.25    –       –",
        "",
        "provider  then  sats then  now  sats now",
        "cheap        0          –    3       2.2",
        "alpha        2        3.2    0         –",
        "",
        "rejected         then  now",
        "model_not_found     1    1",
    ]
    assert result.stderr.splitlines() == [
        "To another provider: 2. Served then and not now: 0.",
        "To a provider now, failed or rejected then: 1. What they would cost is not known.",
        "Refused before anything was decided, and left out: 1 (invalid_api_key 1).",
    ]


def test_it_is_one_document_for_programs(tmp_path: Path) -> None:
    """Every figure that the tables have, and more."""
    written(tmp_path)
    logged(tmp_path, {"cost_usd": NanoUsd(1000)}, {"timestamp": NOON + 1, "cost": None, "provider": "gone"})
    path = other(tmp_path, CHEAPER + "[pricing.exchange]\nsats_per_usd = 1000\n")

    document = told(tmp_path, "--config", path, "--outage", "cheap@2027-01-15T08:00:01Z..", "--fail-if-dearer", "5")

    assert document == {
        "object": "replay",
        "config": path,
        "store": f"{tmp_path}/arbstr.db",
        "since": "2027-01-15T08:00:00Z",
        "until": "2027-01-15T09:00:00Z",
        "outages": [{"provider": "cheap", "from": "2027-01-15T08:00:01Z", "to": None}],
        "requests": 2,
        "decided": 2,
        "kept_out": {},
        "then": {
            "served": 2,
            "failed": 0,
            "rejected": {},
            "cost": {"sats": 1.6, "usd": 0.000001, "unpriced": 1},
            "failed_cost": {"sats": None, "usd": None, "unpriced": 0},
        },
        "now": {
            "served": 1,
            "rejected": {"circuit_open": 1},
            "cost": {"sats": 1.1, "usd": 0.0011, "unpriced": 0},
        },
        "compared": {"requests": 1, "currency": "sats", "then": 1.6, "now": 1.1, "change_percent": -31.25},
        "providers": [
            {
                "provider": "cheap",
                "then": {"requests": 0, "sats": None, "usd": None, "unpriced": 0},
                "now": {"requests": 1, "sats": 1.1, "usd": 0.0011, "unpriced": 0},
            },
            {
                "provider": "alpha",
                "then": {"requests": 1, "sats": 1.6, "usd": 0.000001, "unpriced": 0},
                "now": {"requests": 0, "sats": None, "usd": None, "unpriced": 0},
            },
            {
                "provider": "gone",
                "then": {"requests": 1, "sats": None, "usd": None, "unpriced": 1},
                "now": {"requests": 0, "sats": None, "usd": None, "unpriced": 0},
            },
        ],
        "moved": 1,
        "lost": 1,
        "gained": 0,
        "unrecorded": 0,
        "by_keyword": 0,
        "policy_gone": 0,
        "fail_if_dearer": {"percent": 5.0, "failed": False},
        "notes": ["To another provider: 1. Served then and not now: 1."],
    }


def test_the_page_names_every_field(tmp_path: Path) -> None:
    """Of the document: alone, or with what it is part of."""
    written(tmp_path)
    logged(tmp_path, {})
    section = PAGE.read_text().partition("## arbstr replay\n")[2].partition("\n## ")[0]
    named = {part for name in re.findall(r"`([a-z_.]+)`", section) for part in (name, name.partition(".")[0])}

    document = told(tmp_path)

    fields = {*document, *(f"{part}.{name}" for part in ("then", "now") for name in document[part])}
    assert fields - named == {"object"}


def test_other_names_of_models(tmp_path: Path) -> None:
    """A configuration that knows none of them rejects everything, and says so."""
    written(tmp_path)
    logged(tmp_path, {}, {})

    document = told(tmp_path, "--config", other(tmp_path, ALPHA.replace("gpt-4o", "gpt-5")))

    assert document["now"]["rejected"] == {"model_not_found": 2}
    assert (document["now"]["served"], document["lost"]) == (0, 2)


def test_what_has_no_price_is_not_free(tmp_path: Path) -> None:
    """It is counted, and not compared."""
    written(tmp_path)
    logged(tmp_path, {})
    unpriced = '[providers.own]\nbase_url = "https://own.example/v1"\nmodels = ["gpt-4o"]\n'

    document = told(tmp_path, "--config", other(tmp_path, unpriced))
    table = replay(tmp_path, "--config", "other.toml")

    assert document["now"]["cost"] == {"sats": None, "usd": None, "unpriced": 1}
    assert document["compared"]["requests"] == 0
    assert document["notes"][1:] == ["To who has no price, so not compared: 1."]
    assert re.search(r"^cost in sats +1\.6 +– +–$", table.stdout, re.MULTILINE)
    assert re.search(r"^of unknown cost +0 +1 +–$", table.stdout, re.MULTILINE)


def test_what_compares_stands_apart_where_not_all_does(tmp_path: Path) -> None:
    """So that nobody takes a smaller sum of fewer requests for a better price; in dollars, where those are known."""
    written(tmp_path)
    in_usd = {"cost": None, "cost_usd": NanoUsd(4_000_000)}
    logged(tmp_path, in_usd, {**in_usd, "cost_source": CostSource.NONE, "cost_usd": None})
    rates = "rates = { currency = 'usd', per = 1000, input = 0.01, output = 0.1 }"
    text = ALPHA.replace("input_rate = 10\noutput_rate = 30", rates)

    result = replay(tmp_path, "--config", other(tmp_path, text))

    assert re.search(r"^cost in usd +0\.004 +0\.006 +–$", result.stdout, re.MULTILINE)
    assert re.search(r"^of 1 that compare, in usd +0\.004 +0\.003 +-25\.0%$", result.stdout, re.MULTILINE)
    assert "usd now" in result.stdout


class TestPolicies:
    RULE = "[[policies.rules]]\nname = 'code'\nallowed_models = ['o3']\n"

    def test_one_that_a_keyword_chose_holds_by_its_name(self, tmp_path: Path) -> None:
        """The log keeps no texts, which is said; what is gone holds no more."""
        written(tmp_path)
        chosen = {"policy": "code", "decision": decision("code", Matched.KEYWORD)}
        logged(tmp_path, chosen, {**chosen, "policy": "gone"}, {"decision": None})

        document = told(tmp_path, "--config", other(tmp_path, ALPHA + self.RULE + "keywords = ['def']\n"))

        assert document["now"]["rejected"] == {"policy_violation": 1}
        assert (document["by_keyword"], document["policy_gone"], document["unrecorded"]) == (2, 1, 1)
        assert document["notes"][1:] == [
            "Without a decision in the log, so decided by their input tokens alone: 1.",
            "With a policy that a keyword chose: 2. The log keeps no texts, so the rule of the same name holds; for 1"
            " there is none.",
            "Keywords of this configuration choose nothing here: the log keeps no texts.",
        ]


class TestOutages:
    ROWS: tuple[dict[str, Any], ...] = ({}, {"timestamp": NOON + 60}, {"timestamp": NOON + 120})
    TWO = ALPHA + BETA.replace("10", "20")

    @pytest.mark.parametrize(
        ("words", "providers"),
        [
            ([], {"alpha": 3}),
            (["alpha@2027-01-15T08:01:00Z..2027-01-15T08:02:00Z"], {"alpha": 2, "beta": 1}),
            (["alpha@2027-01-15T09:01+01:00..2027-01-15T08:02Z"], {"alpha": 2, "beta": 1}),
            (["alpha@2027-01-15T08:01:00Z.."], {"alpha": 1, "beta": 2}),
            (["alpha@..2027-01-15T08:01:00Z"], {"alpha": 2, "beta": 1}),
            (["alpha@.."], {"beta": 3}),
            (["alpha"], {"beta": 3}),
            (["alpha", "beta@2027-01-15T08:02Z.."], {"beta": 2}),
        ],
    )
    def test_a_provider_is_out_in_its_window(self, tmp_path: Path, words: list[str], providers: dict[str, int]) -> None:
        """Others take its place, and where there are none the request is rejected."""
        written(tmp_path, self.TWO)
        logged(tmp_path, *self.ROWS)

        document = told(tmp_path, *(word for each in words for word in ("--outage", each)))

        found = {each["provider"]: each["now"]["requests"] for each in document["providers"]}
        assert {name: count for name, count in found.items() if count} == providers
        assert document["now"]["rejected"].get("circuit_open", 0) == 3 - sum(providers.values())

    def test_the_heading_says_it(self, tmp_path: Path) -> None:
        """Who is out, and when."""
        written(tmp_path, self.TWO)
        logged(tmp_path, {})

        result = replay(tmp_path, "--outage", "alpha@2027-01-15T08:01Z..2027-01-15T08:02Z", "--outage", "beta")

        assert result.stdout.splitlines()[0].endswith(
            ", alpha out from 2027-01-15 08:01:00Z until 2027-01-15 08:02:00Z, beta out"
        )


class TestFailIfDearer:
    @pytest.mark.parametrize(
        ("text", "limit", "code"),
        [(DEARER, "5%", 1), (DEARER, "6.25", 0), (DEARER, "6.2 %", 1), (CHEAPER, "0%", 0), (ALPHA, "0", 0)],
    )
    def test_it_is_the_exit_code(self, tmp_path: Path, text: str, limit: str, code: int) -> None:
        """Above the limit, not at it. The report is there in any case."""
        written(tmp_path)
        logged(tmp_path, {}, {})

        result = replay(tmp_path, "--config", other(tmp_path, text), "--fail-if-dearer", limit, "--json")

        assert result.exit_code == code
        assert json.loads(result.stdout)["fail_if_dearer"]["failed"] is bool(code)
        assert ("arbstr: 3.4 sats instead of 3.2 sats: dearer by 6.25 %, more than" in result.stderr) is bool(code)

    def test_from_nothing_to_something_is_dearer(self, tmp_path: Path) -> None:
        """By whatever share."""
        written(tmp_path)
        logged(tmp_path, {"cost": MicroSats(0)})

        result = replay(tmp_path, "--fail-if-dearer", "900%")

        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            "arbstr: it cost nothing and would cost 1.6 sats: dearer by more than 900 %"
        ]

    def test_what_cannot_be_compared_passes_no_gate(self, tmp_path: Path) -> None:
        """A configuration that serves nothing is not cheaper."""
        written(tmp_path)
        logged(tmp_path, {})

        result = replay(tmp_path, "--outage", "alpha", "--fail-if-dearer", "5%")

        assert result.exit_code == 1
        assert "arbstr: no request can be compared" in result.stderr

    def test_an_empty_range_does(self, tmp_path: Path) -> None:
        """Nothing was logged, and nothing is dearer: said, and fine."""
        written(tmp_path)
        logged(tmp_path, {"timestamp": NOON - 1}, {"timestamp": NOON + 3600})

        result = replay(tmp_path, "--fail-if-dearer", "5%")

        assert result.exit_code == 0
        assert result.stdout.splitlines()[2:] == [
            "requests  then  now  change",
            "served       0    0       –",
            "rejected     0    0       –",
            "failed       0    –       –",
        ]
        assert result.stderr == "No request was logged in this range.\n"


class TestWhichRows:
    def test_by_default_the_last_seven_days(self, tmp_path: Path) -> None:
        """Until now."""
        written(tmp_path)
        now = time.time()
        logged(tmp_path, *({"timestamp": now - days * 86_400} for days in (0.001, 6.9, 7.1)))

        counts = [
            json.loads(run(tmp_path, "replay", *words, "--json").stdout)["requests"]
            for words in ((), ("--range", "last_1h"), ("--range", "last_30d"))
        ]

        assert counts == [2, 1, 3]

    def test_at_most_so_many(self, tmp_path: Path) -> None:
        """The newest."""
        written(tmp_path)
        logged(tmp_path, {"provider": "old"}, {"timestamp": NOON + 1}, {"timestamp": NOON + 2})

        document = told(tmp_path, "--limit", "2")

        assert document["requests"] == 2
        assert [each["provider"] for each in document["providers"]] == ["alpha"]

    def test_what_was_before_is_learnt_from(self, tmp_path: Path) -> None:
        """How long answers are is known when the range begins."""
        fee = BETA.replace("= 30", "= 0\nbase_fee = 5")
        written(tmp_path, ALPHA + fee)
        before = ({"timestamp": NOON - 100 + nth} for nth in range(10))
        logged(tmp_path, *before, {})

        document = told(tmp_path)
        alone = told(tmp_path, "--since", "2026-01-01T00:00:00Z")

        assert (document["requests"], [each["provider"] for each in document["providers"]]) == (1, ["alpha"])
        assert {each["provider"]: each["now"]["requests"] for each in alone["providers"]} == {"alpha": 1, "beta": 10}

    def test_a_log_of_many_rows(self, tmp_path: Path) -> None:
        """All of them, whatever the size of a batch."""
        written(tmp_path)
        logged(tmp_path, *({"timestamp": NOON + nth / 10} for nth in range(4500)))

        document = told(tmp_path)

        assert document["requests"] == document["now"]["served"] == 4500
        assert document["now"]["cost"]["sats"] == 7200


class TestWhichLog:
    def test_of_the_configuration_in_use(self, tmp_path: Path) -> None:
        """--config names the other one: its own log, if it has one, is not meant."""
        written(tmp_path)
        logged(tmp_path, {})
        logged(tmp_path, {}, {}, name="another.db")
        text = CHEAPER + "[store]\nurl = 'sqlite:///another.db'\n"

        beside = told(tmp_path, "--config", other(tmp_path, text))
        named = told(tmp_path, "--config", "other.toml", "--store", "another.db")
        by_variable = told(tmp_path, ARBSTR_CONFIG="other.toml")

        assert (beside["requests"], named["requests"], by_variable["requests"]) == (1, 2, 2)
        assert named["store"] == str(tmp_path / "another.db")

    def test_of_the_other_one_where_there_is_none_in_use(self, tmp_path: Path) -> None:
        """Then there is only that."""
        logged(tmp_path, {})

        assert told(tmp_path, "--config", other(tmp_path, ALPHA))["requests"] == 1

    @pytest.mark.parametrize("content", [None, b"no database at all" * 100])
    def test_one_that_cannot_be_read(self, tmp_path: Path, content: bytes | None) -> None:
        """One line that names it, and 1; nothing is made."""
        written(tmp_path)
        if content is not None:
            (tmp_path / "arbstr.db").write_bytes(content)

        result = replay(tmp_path, "--json")

        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert f"{tmp_path}/arbstr.db: " in result.stderr
        assert json.loads(result.stdout)["ok"] is False
        assert (tmp_path / "arbstr.db").exists() is (content is not None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--outage", "nobody"], "'nobody' names no provider of this configuration, expected alpha"),
        (["--outage", "alpha@2027-01-15T08:00:00Z"], "has no FROM..TO"),
        (["--outage", "alpha@noon.."], "'noon' is no such instant"),
        (["--outage", "alpha@2027-01-15T08:00Z..2027-01-15T08:00Z"], "ends before it begins"),
        (["--fail-if-dearer", "-5%"], "'-5%' is no percentage"),
        (["--fail-if-dearer", "lots"], "'lots' is no percentage"),
        (["--limit", "0"], "0 is not in the range x>=1"),
        (["--range", "last_7d"], "range cannot be combined with since and until"),
        (["--until", "2027-01-01T00:00:00Z"], "since is later than until"),
        (["--since", "yesterday"], "'yesterday' is no such instant"),
    ],
)
def test_a_line_that_makes_no_sense_is_2(tmp_path: Path, words: list[str], said: str) -> None:
    """And says what was expected, before anything is read."""
    written(tmp_path)

    result = replay(tmp_path, *words)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_another_configuration_that_is_wrong_is_78(tmp_path: Path) -> None:
    """It is named."""
    written(tmp_path)
    logged(tmp_path, {})

    result = replay(tmp_path, "--config", other(tmp_path, ALPHA + "[polices]\n"))

    assert result.exit_code == 78
    assert "other.toml: polices: is not a known key" in result.stderr


def test_a_terminal_sees_how_far_it_is(tmp_path: Path) -> None:
    """A bar on stderr, which is gone at the end; a file or a pipe sees none."""
    written(tmp_path)
    logged(tmp_path, *({"timestamp": NOON + nth / 10} for nth in range(1500)))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ARBSTR_")}
    words = [sys.executable, "-m", "arbstr", "replay", *RANGE]
    ours, theirs = pty.openpty()

    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, env=clean | {"TERM": "xterm"}, text=True
    ) as process:
        os.close(theirs)
        shown = _read_all(ours)
        assert process.stdout is not None
        table = process.stdout.read()
        assert process.wait(PATIENCE) == 0

    assert "0/1500" in shown
    assert re.search(r"^served +1,500 +1,500", table, re.MULTILINE)
    assert replay(tmp_path).stderr == ""
