"""Cursors, which come back from callers as whatever they please."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.errors import InvalidRequest
from arbstr.domain.statistics import Sort
from arbstr.store.cursors import Cursor, Value, cursor_of

IDS = st.integers(1, 2**63 - 1)
PLACES: st.SearchStrategy[tuple[Sort, Value]] = st.one_of(
    st.tuples(st.just(Sort.TIMESTAMP), st.datetimes().map(lambda time: f"{time.isoformat(timespec='microseconds')}Z")),
    st.tuples(st.just(Sort.COST), st.none() | st.integers(0, 10**15)),
    st.tuples(st.just(Sort.LATENCY), st.floats(0, 1e12)),
)


def written(json: bytes) -> str:
    return base64.urlsafe_b64encode(json).decode().rstrip("=")


@given(PLACES, st.booleans(), IDS)
def test_a_cursor_comes_back(place: tuple[Sort, Value], descending: bool, id: int) -> None:
    """As a text that needs no escape in a URL."""
    sort, value = place
    cursor = Cursor(sort, descending, value, id)
    text = cursor.text()

    assert cursor_of(text, sort=sort, descending=descending) == cursor
    assert text.replace("-", "").replace("_", "").isalnum()
    assert len(text) < 100


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "abc", "ab cd", "%", "é", "\0", "' OR 1=1 --", "x" * 201, "A" * 10_000),
        *map(written, (b"", b"1", b"[]", b"{}", b"null", b'["timestamp",true,"x"]', b'["timestamp",true,"x",1,1]')),
        *map(written, (b'["timestamp",true,1,1]', b'["timestamp",true,null,1]', b'["cost_sats",true,1.5,1]')),
        *map(written, (b'["cost_sats",true,"1 OR 1",1]', b'["latency_ms",true,null,1]', b'["latency_ms",true,true,1]')),
        *map(written, (b'["latency_ms",true,NaN,1]', b'["latency_ms",true,1e999,1]', b'["id",true,1,1]')),
        *map(written, (b'["timestamp",true,"x","1"]', b'["timestamp",1,"x",1]', b'["timestamp",true,"\xff",1]')),
        *map(written, (b'["cost_sats",true,1,9223372036854775808]', b'["cost_sats",true,-9223372036854775809,1]')),
        written(b"[" * 100),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """Whichever order is asked for."""
    for sort in Sort:
        with pytest.raises(InvalidRequest, match="cannot be read") as refused:
            cursor_of(text, sort=sort, descending=True)

        assert refused.value.param == "cursor"


@given(st.text() | st.binary().map(written))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """Nothing else comes of it."""
    try:
        cursor_of(text, sort=Sort.TIMESTAMP, descending=True)
    except InvalidRequest:
        return
    raise AssertionError(text)


def test_a_cursor_of_another_order_is_refused() -> None:
    """With the order that it is of."""
    text = Cursor(Sort.COST, False, 5, 1).text()

    for sort, descending in ((Sort.COST, True), (Sort.TIMESTAMP, False), (Sort.LATENCY, False)):
        with pytest.raises(InvalidRequest, match="is of sort=cost_sats and order=asc"):
            cursor_of(text, sort=sort, descending=descending)
