"""``arbstr explain`` without a gateway that runs. Beside one: ``tests/process/test_terminal.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.config.written import ALPHA, BETA
from tests.test_cli import answering, run, written

DEAR = BETA.replace("30", "300")
FRUGAL = "[[policies.rules]]\nname = 'frugal'\nmax_sats_per_1k_output = 50\nkeywords = ['cheap']\n"
HERE = "Decided here, as if all circuits were closed and nothing was spent: no gateway was there to ask."


def explain(folder: Path, *words: str, text: str = ALPHA + DEAR + FRUGAL, **environ: str) -> Result:
    written(folder, text)
    return run(folder, "explain", "gpt-4o", *words, **environ)


def decided(folder: Path, *words: str, **more: str) -> dict[str, Any]:
    result = explain(folder, *words, "--json", **more)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_candidates_stand_in_order_with_cost_and_reason(tmp_path: Path) -> None:
    """A line for what was decided by, then a row for each; on stderr, who decided."""
    result = explain(tmp_path, "--max-tokens", "1000")

    first, heading, *rows = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, HERE + "\n")
    assert first == "gpt-4o: cheapest"
    assert heading.split() == ["order", "provider", "model", "est.", "sats", "est.", "usd", "reason"]
    assert [row.split()[:3] for row in rows] == [["1", "alpha", "gpt-4o"], ["2", "beta", "gpt-4o"]]


def test_who_is_rejected_stands_below_with_the_reason(tmp_path: Path) -> None:
    """A keyword of the prompt chooses a policy, and it says so."""
    result = explain(tmp_path, "--prompt", "a cheap one")

    first, _, chosen, rejected = result.stdout.splitlines()
    assert first == "gpt-4o: cheapest, by policy frugal (keyword)"
    assert chosen.split()[:2] == ["1", "alpha"]
    assert rejected.split()[:2] == ["–", "beta"]
    assert "rejected (policy): policy 'frugal': output dearer than 50 sats" in rejected


def test_programs_get_the_answer_of_the_endpoint(tmp_path: Path) -> None:
    """The same fields as ``POST /v1/route/explain``, and who decided; what was asked for counts."""
    found = decided(tmp_path, "--policy", "frugal", "--max-tokens", "7", "--prompt", "12345", "--stream")

    assert set(found) == {
        "model",
        "policy",
        "matched",
        "strategy",
        "candidates",
        "rejected",
        "baseline",
        "request",
        "refusal",
        "decided_by",
    }
    assert (found["policy"], found["matched"], found["decided_by"]) == ("frugal", "header", "here")
    assert found["request"]["max_tokens"] == 7
    assert decided(tmp_path, "--prompt", "123456")["request"]["input_bytes"] == found["request"]["input_bytes"] + 1


def test_what_would_be_refused_is_said(tmp_path: Path) -> None:
    """A budget that no candidate has a known price for: who asks sees the status and the code."""
    unpriced = "[providers.new]\nurl = 'https://new.example/v1'\nmodels = ['gpt-4o']\n"
    budget = "[budget]\nenabled = true\ncurrency = 'sats'\nmax_cost_per_hour = 1\n"
    result = explain(tmp_path, text=unpriced + budget)

    assert result.exit_code == 0
    assert "It would be refused: 400 unpriced_model: " in result.stdout


@pytest.mark.parametrize(
    ("words", "code", "wrong"),
    [
        (["--policy", "nope"], 1, "unknown policy 'nope' in X-Arbstr-Policy (known: frugal)"),
        (["--policy", "a\nb: c"], 2, "a header cannot say this name"),
        (["--policy", "ä"], 2, "a header cannot say this name"),
        (["--max-tokens", "0"], 2, "0 is not in the range"),
        (["--max-tokens", "9" * 30], 2, "is not in the range"),
    ],
)
def test_a_request_that_cannot_be_is_one_line(tmp_path: Path, words: list[str], code: int, wrong: str) -> None:
    """What the request itself would be refused with is 1; options that make no sense are 2."""
    result = explain(tmp_path, *words)

    assert result.exit_code == code
    assert wrong in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_model_that_nobody_has_is_one_line(tmp_path: Path) -> None:
    """As the gateway would answer."""
    written(tmp_path)

    result = run(tmp_path, "explain", "gpt-9")

    assert (result.exit_code, result.stderr) == (1, "Error: no route and no provider lists the model 'gpt-9'\n")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 500),
        (b"[]", 200),
        (b'{"error": []}', 400),
        (b'{"candidates": []}', 200),
        (b'{"error": {"code": []}}', 400),
    ],
)
def test_whoever_else_listens_there_is_not_asked(tmp_path: Path, body: bytes, status: int) -> None:
    """An answer that is not of arbstr's, or of no use: it is decided here."""
    with answering(body, status) as address:
        result = explain(tmp_path, ARBSTR_SERVER__LISTEN=address)

    assert (result.exit_code, result.stderr) == (0, HERE + "\n")
