"""Rows as they come."""

from __future__ import annotations

from arbstr.domain.statistics import Filter
from arbstr.store.follow import MOST, latest, newer
from tests.store.records import request
from tests.store.test_retention import insert, memory

ALL = Filter()


def ids(entries: list[dict[str, object]]) -> list[object]:
    return [entry["id"] for entry in entries]


def test_it_begins_with_the_last_ones_in_the_order_of_writing() -> None:
    """Whatever their times; of those that match."""
    connection = memory(
        *(request(correlation_id=f"{nth}", timestamp=1_800_000_000.0 - nth, model="ab"[nth % 2]) for nth in range(6))
    )

    last, entries = latest(connection, ALL, most=3)
    _, some = latest(connection, Filter(model="a"), most=2)

    assert (last, ids(entries), ids(some)) == (6, ["3", "4", "5"], ["2", "4"])


def test_what_comes_is_told_once() -> None:
    """Also where what comes in between does not match."""
    connection = memory(request(correlation_id="old"))
    last, _ = latest(connection, ALL, most=0)
    insert(connection, *(request(correlation_id=f"{nth}", model="ab"[nth % 2]) for nth in range(3)))

    last, first = newer(connection, Filter(model="b"), after=last)
    last, nothing = newer(connection, Filter(model="b"), after=last)
    insert(connection, request(correlation_id="late", model="b"))
    _, second = newer(connection, Filter(model="b"), after=last)

    assert (ids(first), nothing, ids(second)) == (["1"], [], ["late"])


def test_many_at_once_come_in_pieces() -> None:
    """None is left out between two of them."""
    connection = memory(*(request(correlation_id=f"{nth}") for nth in range(MOST + 1)))

    last, first = newer(connection, ALL, after=0)
    _, second = newer(connection, ALL, after=last)

    assert ids(first + second) == [f"{nth}" for nth in range(MOST + 1)]
    assert len(first) == MOST


def test_an_empty_log_is_waited_at() -> None:
    """Its first row is a new one; and where rows are gone, what was told is not told again."""
    connection = memory()
    start, _ = latest(connection, ALL, most=20)
    insert(connection, request(correlation_id="first"))
    last, entries = newer(connection, ALL, after=start)
    connection.execute("DELETE FROM requests")

    assert (start, ids(entries)) == (0, ["first"])
    assert newer(connection, ALL, after=last) == (last, [])
