"""What outlives the process, at its next start."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from arbstr.store.errors import StoreError
from tests.e2e.gateway import gateway


async def test_a_start_that_cannot_know_what_was_spent_is_refused_in_one_line(tmp_path: Path) -> None:
    """A gateway that began with nothing spent would let its limits be spent twice."""
    async with gateway(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "arbstr.db")) as database:
        database.execute("DROP TABLE leases")

    with pytest.raises(StoreError, match=r"arbstr\.db: The database of budgets cannot be read: no such table: leases"):
        async with gateway(tmp_path):
            pass
