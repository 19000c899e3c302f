"""The request log as the rest of arbstr sees it, on a real file."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from arbstr.domain.decision import Decision, Matched
from arbstr.domain.errors import LogUnavailable
from arbstr.domain.money import MicroSats, NanoUsd
from arbstr.domain.record import CostSource, StreamStatus
from arbstr.domain.request import Needs
from arbstr.domain.routing import Plan, Route, Strategy
from arbstr.domain.statistics import Filter
from arbstr.policy.decision import shown
from arbstr.ports import RecordSink, RequestLog
from arbstr.store.errors import StoreError
from arbstr.store.sqlite import SqliteLog
from tests.store.records import Problems, attempt, request


def test_it_is_a_request_log(tmp_path: Path) -> None:
    """What the service hands to the pipeline and the edge fits their ports."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())

    as_log: RequestLog = log
    as_sink: RecordSink = log

    as_sink.attempt(attempt())
    assert as_log.health().ok
    assert log.close()


async def test_an_entry_says_everything(tmp_path: Path) -> None:
    """Each field of a record is found again, under the contract's names."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    first = attempt(
        provider="beta",
        status=503,
        error="server_error: busy",
        cost=MicroSats(250_000),
        cost_usd=NanoUsd(250_001),
        duration_ms=12.3456,
    )
    plan = Plan(route=Route("gpt-4o", Strategy.CHEAPEST, ()), strategy=Strategy.CHEAPEST, policy=None, candidates=())
    decision = Decision(plan, Matched.HEADER, 400, None, 1, Needs())
    record = request(
        streaming=True,
        policy="code",
        key_id="key-1",
        key_name="the team's",
        input_tokens=100,
        output_tokens=20,
        cached_input_tokens=60,
        cache_write_tokens=30,
        reasoning_tokens=7,
        cost=MicroSats(1_250_001),
        cost_usd=NanoUsd(1_250_000_001),
        failed_cost=MicroSats(250_000),
        failed_cost_usd=NanoUsd(250_001),
        price_source="catalogue openai/gpt-4o 2026-11-02",
        sats_per_usd=1000.25,
        charged_at=1_800_000_001.5,
        provider_cost=MicroSats(2_000_000),
        cost_source=CostSource.ESTIMATED,
        latency_ms=250.12345,
        ttft_ms=99.0,
        stream_duration_ms=151.5,
        success=False,
        stream_status=StreamStatus.TRUNCATED,
        status=502,
        error_message="cut short",
        malformed_events=2,
        attempts=(first, attempt()),
        tier="frontier",
        error_code="upstream_error",
        decision=decision,
        baseline_cost=MicroSats(3_000_001),
        baseline_cost_usd=NanoUsd(3_000_000_001),
    )

    log.request(record)
    log.flush(10)

    entry = await log.find(record.correlation_id)
    await log.aclose()
    database = sqlite3.connect(tmp_path / "log.db")
    charged = database.execute("SELECT charged_at FROM requests").fetchall()
    database.close()
    assert charged == [("2027-01-15T08:00:01.500000Z",)]
    assert entry == {
        "id": record.correlation_id,
        "timestamp": "2027-01-15T08:00:00.000000Z",
        "endpoint": "chat.completions",
        "model": "gpt-4o",
        "provider": "alpha",
        "upstream_model": "gpt-4o-2024-08-06",
        "policy": "code",
        "key_id": "key-1",
        "key_name": "the team's",
        "tier": "frontier",
        "streaming": True,
        "success": False,
        "stream_status": "truncated",
        "malformed_events": 2,
        "tokens": {"input": 100, "output": 20, "cached_input": 60, "cache_write": 30, "reasoning": 7},
        "cost": {
            "sats": 1.250001,
            "usd": 1.250000001,
            "source": "estimated",
            "provider_sats": 2.0,
            "failed_sats": 0.25,
            "failed_usd": 0.000250001,
            "price_source": "catalogue openai/gpt-4o 2026-11-02",
            "sats_per_usd": 1000.25,
            "baseline_sats": 3.000001,
            "baseline_usd": 3.000000001,
        },
        "timing": {"latency_ms": 250.123, "ttft_ms": 99.0, "stream_duration_ms": 151.5},
        "error": {"status": 502, "code": "upstream_error", "message": "cut short"},
        "decision": shown(decision),
        "attempts": [
            {
                "provider": "beta",
                "model": "gpt-4o-2024-08-06",
                "status": 503,
                "error": "server_error: busy",
                "started_at": "2027-01-15T08:00:00.000000Z",
                "duration_ms": 12.346,
                "cost": 0.25,
                "cost_usd": 0.000250001,
            },
            {
                "provider": "alpha",
                "model": "gpt-4o-2024-08-06",
                "status": 200,
                "error": None,
                "started_at": "2027-01-15T08:00:00.000000Z",
                "duration_ms": 240.0,
                "cost": 1.6,
                "cost_usd": None,
            },
        ],
    }


async def test_an_unknown_cost_is_null_and_a_success_has_no_error(tmp_path: Path) -> None:
    """Unknown is never a silent 0, and a request that failed before any provider has no names."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    unknown = request(cost=None, cost_source=CostSource.NONE, input_tokens=None, provider=None, model=None, attempts=())

    log.request(unknown)
    log.flush(10)

    entry = await log.find(unknown.correlation_id)
    await log.aclose()
    assert entry is not None
    assert {name for name, value in entry["cost"].items() if value is not None} == {"source"}
    assert entry["cost"]["source"] == "none"
    assert (entry["tokens"]["input"], entry["provider"], entry["model"], entry["error"]) == (None, None, None, None)
    assert entry["attempts"] == []


async def test_a_row_is_written_without_being_asked_for(tmp_path: Path) -> None:
    """The writer comes by itself; nobody needs to flush."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    record = request()

    log.request(record)
    async with asyncio.timeout(20):
        while await log.find(record.correlation_id) is None:
            await asyncio.sleep(0.005)

    assert log.health().written == 1
    assert await log.aclose()


async def test_the_same_id_twice_is_one_row(tmp_path: Path) -> None:
    """A repeated id keeps the first row and harms no other."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    first, other = request(model="first"), request()

    log.request(first)
    log.request(request(correlation_id=first.correlation_id, model="second"))
    log.request(other)
    log.flush(10)

    page = await log.page(Filter(), page=1, per_page=10, descending=False)
    await log.aclose()
    assert [entry["model"] for entry in page.entries] == ["first", "gpt-4o"]
    assert log.health().dropped == 0


async def test_text_that_sqlite_cannot_keep_is_replaced(tmp_path: Path) -> None:
    """Lone surrogates and NUL, which a caller can put into a model's name, cost no row."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    odd = request(
        model="a\ud800b\0c",
        success=False,
        status=404,
        error_message="no model “a\udfff”",
        attempts=(attempt(error="unreadable: \0"),),
    )

    log.request(odd)
    log.flush(10)

    entry = await log.find(odd.correlation_id)
    await log.aclose()
    assert entry is not None
    assert entry["model"] == "a\ufffdb\ufffdc"
    assert entry["error"]["message"] == "no model “a\ufffd”"
    assert entry["attempts"][0]["error"] == "unreadable: \ufffd"
    assert log.health().dropped == 0


async def test_long_texts_are_cut(tmp_path: Path) -> None:
    """What a caller or a provider can make long is kept short, so that the queue is bounded in bytes."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    long = request(
        model="m" * 1_000_000,
        policy="p" * 1_000_000,
        success=False,
        status=404,
        error_message="e" * 1_000_000,
        attempts=(attempt(error="f" * 1_000_000),),
    )

    log.request(long)
    log.request(request(model="n" * 1_000_000))
    log.flush(10)

    page = await log.page(Filter(), page=1, per_page=10, descending=False)
    entry = await log.find(long.correlation_id)
    await log.aclose()
    assert entry is not None
    assert entry["model"] == "m" * 199 + "…"
    assert entry["policy"] == "p" * 199 + "…"
    assert entry["error"]["message"] == "e" * 499 + "…"
    assert entry["attempts"][0]["error"] == "f" * 499 + "…"
    assert page.entries[1]["model"] == "n" * 199 + "…"


async def test_ten_thousand_rows_arrive(tmp_path: Path) -> None:
    """Nothing of a burst is lost on the way through queue, batches and transactions."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())

    for number in range(10_000):
        log.request(request(input_tokens=number))
    assert log.flush(60)

    page = await log.page(Filter(), page=1, per_page=1)
    await log.aclose()
    database = sqlite3.connect(tmp_path / "log.db")
    found = database.execute("SELECT count(*), sum(input_tokens), sum(cost_micro_sats) FROM requests").fetchone()
    attempts = database.execute("SELECT count(*) FROM attempts").fetchone()
    database.close()
    assert page.total == 10_000
    assert found == (10_000, sum(range(10_000)), 10_000 * 1_600_000)
    assert attempts == (10_000,)


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    """A proper end loses nothing and leaves one file behind, not a write-ahead log; a second close is harmless."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems(), flush_interval=3600)

    log.request(request())
    written = await log.aclose()

    assert written
    assert log.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log.db", "log.db.lock"]
    again = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    assert (await again.page(Filter(), page=1, per_page=1)).total == 1
    again.close()


async def test_a_closed_log_refuses_politely(tmp_path: Path) -> None:
    """A row that comes too late is counted, a query is told."""
    log = SqliteLog.open(tmp_path / "log.db", on_problem=Problems())
    await log.aclose()

    log.request(request())

    assert log.health().dropped == 1
    with pytest.raises(LogUnavailable, match="closed"):
        await log.page(Filter(), page=1, per_page=1)


def test_a_file_that_cannot_be_opened_leaves_no_lock(tmp_path: Path) -> None:
    """After a refused start the same process may try again, for example with a repaired file."""
    path = tmp_path / "log.db"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match="not a database"):
        SqliteLog.open(path, on_problem=Problems())

    path.unlink()
    log = SqliteLog.open(path, on_problem=Problems())

    assert log.close()


def test_the_folder_may_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the same file for as long as the process runs."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    log = SqliteLog.open(Path("log.db"), on_problem=Problems())

    monkeypatch.chdir(tmp_path / "elsewhere")
    log.request(request())

    assert log.flush(10)
    assert log.health().ok
    assert log.close()
    assert list((tmp_path / "elsewhere").iterdir()) == []
