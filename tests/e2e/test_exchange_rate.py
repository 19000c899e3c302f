"""What a dollar is worth, as callers see it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from tests.e2e.gateway import gateway

RATE = """
[pricing.exchange]
sats_per_usd = 1000
"""


async def test_costs_are_told_in_both_currencies(tmp_path: Path) -> None:
    """In the header, in the row, in the stream's metadata; and health says what the rate is, and whose."""
    async with gateway(tmp_path, more=RATE) as running:
        reply = await running.chat()
        stream = await running.chat(stream=True)
        row = await running.row(reply)
        async with running.http.get(f"{running.url}/health") as response:
            health = await response.json()

    sats = float(reply.headers["x-arbstr-cost-sats"])
    assert float(reply.headers["x-arbstr-cost-usd"]) == sats / 1000
    assert (row["cost"]["sats"], row["cost"]["usd"], row["cost"]["sats_per_usd"]) == (sats, sats / 1000, 1000.0)
    assert b'"arbstr_cost_usd":' in stream.body
    assert health["exchange_rate"] == {"sats_per_usd": 1000.0, "source": "config", "age_s": 0.0, "stale": False}


async def test_without_a_rate_nothing_is_made_up(tmp_path: Path) -> None:
    """Satoshis alone then."""
    async with gateway(tmp_path) as running:
        reply = await running.chat()
        row = await running.row(reply)
        async with running.http.get(f"{running.url}/health") as response:
            health = await response.json()

    assert "x-arbstr-cost-usd" not in reply.headers
    assert (row["cost"]["usd"], row["cost"]["sats_per_usd"]) == (None, None)
    assert health["exchange_rate"] is None


async def test_what_a_killed_process_had_leased_counts_in_another_currency_too(tmp_path: Path) -> None:
    """Nobody gets it back by naming the budget in dollars between two starts."""
    async with gateway(tmp_path, more=RATE):
        pass  # it makes the database
    with contextlib.closing(sqlite3.connect(tmp_path / "arbstr.db")) as database, database:
        database.execute("INSERT INTO leases VALUES ('', 'total', 0, 'sats', 5000 * 1000000)")

    async with gateway(tmp_path, more=f'{RATE}\n[budget]\ncurrency = "usd"\nmax_cost_total = 40') as running:
        async with running.http.get(f"{running.url}/v1/budget") as response:
            budget = await response.json()

    assert budget["total"]["spent"] == 5
