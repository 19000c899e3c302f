"""How a record's values are kept: exact to the microsatoshi, in an order that text has too."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.money import MicroSats, sats
from arbstr.store.migrate import migrate
from arbstr.store.rows import storable, time_text


def test_the_exact_cost_is_found_again_whatever_its_size() -> None:
    """A cost kept as REAL satoshis gives back its microsatoshis, up to 2⁵¹ of them, so that sums agree to the last."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    insert = (
        "INSERT INTO requests (correlation_id, timestamp, endpoint, streaming, cost_source, latency_ms, success,"
        " cost_sats, provider_cost_sats) VALUES (?1, '', '', 0, '', 0, 1, ?2, ?2)"
    )

    @given(st.integers(0, 2**51))
    def check(amount: int) -> None:
        connection.execute("DELETE FROM requests")
        connection.execute(insert, ["x", sats(MicroSats(amount))])
        found = connection.execute("SELECT cost_micro_sats, provider_cost_micro_sats FROM requests").fetchone()
        assert found == (amount, amount)

    check()
    connection.close()


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_times_sort_as_text(one: float, other: float) -> None:
    """Newest first is the order of an index over text, so every time has the same shape."""
    assert len(time_text(one)) == len("2027-01-15T08:00:00.000000Z")
    assert (time_text(one) <= time_text(other)) or one > other


@given(st.floats(0, 4e9))
def test_a_time_is_rfc_3339_in_utc(seconds: float) -> None:
    """What others read back is the time that was meant, to the microsecond."""
    read_back = datetime.fromisoformat(time_text(seconds))

    assert abs(read_back - datetime.fromtimestamp(seconds, UTC)) <= timedelta(microseconds=1)


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_any_text_can_be_stored(text: str) -> None:
    """Whatever a JSON string can hold comes back as it was, but for what SQLite cannot keep."""
    connection = sqlite3.connect(":memory:")
    kept = storable(text)

    found = connection.execute("SELECT ?, length(?)", [kept, kept]).fetchone()

    connection.close()
    assert found == (kept, len(text))


@pytest.mark.parametrize("text", [None, "", "plain", "ünïcödé 🎉"])
def test_usual_text_is_kept_as_it_is(text: str | None) -> None:
    """Nothing but lone surrogates and NUL is touched."""
    assert storable(text) == text
