"""The request lines: what they say, and when there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from arbstr.domain.money import NanoUsd
from arbstr.domain.record import StreamStatus
from tests.telemetry.pipes import printed, printed_json
from tests.telemetry.records import attempt, request

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "log.md"


def test_a_request_is_one_line() -> None:
    """Everything an operator asks first; what is unknown is null, what does not apply is absent."""
    lines = printed_json(lambda it: it.requests.request(request(attempts=(attempt(),))))

    assert lines == [
        {
            "timestamp": "2027-01-15T08:00:00.250Z",
            "level": "info",
            "event": "request",
            "request_id": "0c0ffee0-0000-4000-8000-000000000001",
            "model": "gpt-4o",
            "provider": "alpha",
            "status": 200,
            "input_tokens": 100,
            "output_tokens": 20,
            "cost_sats": 1.6,
            "latency_ms": 250.0,
            "streaming": False,
            "attempts": 1,
        }
    ]


def test_a_stream_says_how_it_went() -> None:
    """First token and ending are on the line of a stream, the policy on that of a request that had one."""
    record = request(streaming=True, ttft_ms=99.12345, stream_status=StreamStatus.COMPLETE, policy="code")

    line = printed_json(lambda it: it.requests.request(record))[0]

    assert line["streaming"] is True
    assert line["ttft_ms"] == 99.123
    assert line["stream_status"] == "complete"
    assert line["policy"] == "code"


def test_failed_attempts_are_summed_up_on_the_request_s_line() -> None:
    """Retries read as in the response header, in the order of first appearance."""
    failed = (attempt("beta", "reset: gone"), attempt("alpha", "server_error: oh"), attempt("beta", "reset: gone"))

    line = printed_json(lambda it: it.requests.request(request(attempts=(*failed, attempt("gamma")))))[0]

    assert line["retries"] == "2/beta, 1/alpha"
    assert line["attempts"] == 4
    assert "error" not in line


def test_a_failed_request_is_a_warning_with_its_error() -> None:
    """Nobody answered: no provider, unknown tokens and cost as null, the error in words."""
    record = request(
        provider=None,
        input_tokens=None,
        output_tokens=None,
        cost=None,
        success=False,
        status=502,
        error_message="alpha: boom",
        attempts=(attempt(error="server_error: boom", status=500),),
    )

    line = printed_json(lambda it: it.requests.request(record))[0]

    assert line["level"] == "warning"
    assert line["error"] == "alpha: boom"
    assert line["retries"] == "1/alpha"
    assert (line["provider"], line["input_tokens"], line["cost_sats"]) == (None, None, None)


def test_a_failed_attempt_is_one_line() -> None:
    """Who failed, how, and after how long; an attempt that went well has none."""

    def use(it):  # type: ignore[no-untyped-def]
        it.requests.attempt(attempt())
        it.requests.attempt(attempt("beta", "server_error: boom", 500))

    assert printed_json(use) == [
        {
            "timestamp": "2027-01-15T08:00:00.012Z",
            "level": "warning",
            "event": "attempt failed",
            "request_id": "0c0ffee0-0000-4000-8000-000000000001",
            "provider": "beta",
            "model": "gpt-4o",
            "status": 500,
            "error": "server_error: boom",
            "duration_ms": 12.5,
        }
    ]


@pytest.mark.parametrize(("level", "expected"), [("info", 4), ("warning", 2), ("error", 0)])
def test_the_level_decides_which_lines_there_are(level: str, expected: int) -> None:
    """At warning only failures are printed: a 5xx and a failed attempt; a caller's own mistake is not one."""

    def use(it):  # type: ignore[no-untyped-def]
        it.requests.request(request())
        it.requests.request(request(success=False, status=400))
        it.requests.request(request(success=False, status=504))
        it.requests.attempt(attempt(error="timeout: silent", status=None))

    assert len(printed_json(use, level=level)) == expected


def test_the_text_format_has_the_same_fields() -> None:
    """People read the same line with less punctuation."""
    line = printed(lambda it: it.requests.request(request()), format="text").decode()

    assert line == (
        "2027-01-15T08:00:00.250Z info    request request_id=0c0ffee0-0000-4000-8000-000000000001 model=gpt-4o"
        " provider=alpha status=200 input_tokens=100 output_tokens=20 cost_sats=1.6 latency_ms=250.0"
        " streaming=false attempts=0\n"
    )


def test_a_name_made_up_by_a_caller_cannot_break_out() -> None:
    """Line feeds, surrogates and endless names stay inside one bounded line."""
    lines = printed_json(lambda it: it.requests.request(request(model='x\n{"event":"forged"}\ud800' + "y" * 5000)))

    assert len(lines) == 1
    assert lines[0]["event"] == "request"
    assert len(lines[0]["model"]) < 1100


def test_every_field_is_in_the_reference() -> None:
    """docs/reference/log.md names each field of both lines, and no other."""
    everything = request(
        success=False,
        status=502,
        error_message="boom",
        streaming=True,
        ttft_ms=1.0,
        stream_status=StreamStatus.TRUNCATED,
        policy="code",
        attempts=(attempt(error="reset: gone"),),
        cost_usd=NanoUsd(1_500_000),
        key_id="key_1",
        key_name="team-a",
    )
    failed = attempt(error="reset: gone")
    documented = {
        section.partition("\n")[0].strip("` "): set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
        for section in REFERENCE.read_text().split("\n## ")
    }

    of_request = printed_json(lambda it: it.requests.request(everything))[0]
    of_attempt = printed_json(lambda it: it.requests.attempt(failed))[0]

    assert set(of_request) == documented["request"]
    assert set(of_attempt) == documented["attempt failed"]
