"""/v1/requests: pages of the log, and one entry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arbstr.domain.errors import InvalidRequest
from arbstr.domain.statistics import Filter, Sort
from arbstr.ports import Page
from tests.edge.log_reader import TEAM_A, TEAM_B, Asker, refused

NEWEST_FIRST = (Filter(), 1, 20, Sort.TIMESTAMP, True, None)
"""What is asked for where nothing is said."""


@pytest.mark.parametrize(
    ("given", "place", "meant"),
    [
        ({}, 1, 1),
        ({"page": "7"}, 1, 7),
        ({"page": "1000000000"}, 1, 10**9),
        ({"page": "1000000000000"}, 1, 10**12),
        ({"per_page": "1"}, 2, 1),
        ({"per_page": "100"}, 2, 100),
        ({"per_page": "101"}, 2, 100),
        ({"per_page": "1000000000000"}, 2, 100),
        ({"sort": "timestamp"}, 3, Sort.TIMESTAMP),
        ({"sort": "cost_sats"}, 3, Sort.COST),
        ({"sort": "latency_ms"}, 3, Sort.LATENCY),
        ({"order": "desc"}, 4, True),
        ({"order": "asc"}, 4, False),
        ({"cursor": "abc"}, 5, "abc"),
    ],
)
async def test_what_is_asked_of_the_log(given: dict[str, str], place: int, meant: object) -> None:
    """The newest twenty of all times, unless a parameter says otherwise; at most a hundred at once."""
    asker = Asker()
    await asker.ask("/v1/requests", **given)

    assert asker.log.asked == [(*NEWEST_FIRST[:place], meant, *NEWEST_FIRST[place + 1 :])]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        *[("page", value, "a whole number from 1 to") for value in ("0", "-1", "1.5", "", "x", "1" * 14, "٣", "1_0")],
        *[("per_page", value, "a whole number from 1 to") for value in ("0", "-1", "all", "1" * 5000)],
        *[("sort", value, "one of timestamp, cost_sats, latency_ms") for value in ("", "id", "cost_sats DESC")],
        *[("order", value, "one of desc, asc") for value in ("", "up", "DESC; --")],
    ],
)
async def test_what_cannot_be_is_refused(name: str, value: str, said: str) -> None:
    """With what was expected; the log is not asked."""
    asker = Asker()

    assert said in refused(await asker.get("/v1/requests", **{name: value}), 400, name)
    assert asker.log.asked == []


async def test_a_page_says_where_it_stands() -> None:
    """How many match and how many pages that is, whether that is an estimate, and where the next begins."""
    asker = Asker()
    asker.log.answer = Page([{"id": "a"}], 201, estimated=False, next_cursor="further")

    answer = await asker.ask("/v1/requests", page="2", per_page="100")

    assert answer == {
        "data": [{"id": "a"}],
        "page": 2,
        "per_page": 100,
        "total": 201,
        "total_pages": 3,
        "total_estimated": False,
        "next_cursor": "further",
        "since": None,
        "until": None,
    }


async def test_a_page_by_cursor_has_no_number() -> None:
    """Nobody counted those before it."""
    asker = Asker()
    asker.log.answer = Page([], 100_001, estimated=True)

    answer = await asker.ask("/v1/requests", cursor="abc", since="2027-01-01T00:00:00Z")

    assert (answer["page"], answer["total"], answer["total_estimated"]) == (None, 100_001, True)
    assert answer["next_cursor"] is None
    assert (answer["since"], answer["until"]) == ("2027-01-01T00:00:00Z", "2027-01-15T08:00:00Z")


async def test_an_end_alone_leaves_the_beginning_open() -> None:
    """All that the log has before it."""
    answer = await Asker().ask("/v1/requests", until="2027-01-01T00:00:00Z")

    assert (answer["since"], answer["until"]) == (None, "2027-01-01T00:00:00Z")


async def test_a_page_or_a_cursor() -> None:
    """Both at once would be two beginnings."""
    asker = Asker()

    message = refused(await asker.get("/v1/requests", cursor="abc", page="2"), 400, "cursor")

    assert "cannot be combined" in message
    assert asker.log.asked == []


async def test_what_the_log_refuses_is_refused() -> None:
    """A cursor is the log's own to read."""
    asker = Asker()

    async def refuse(*question: Any, **more: Any) -> Page:
        raise InvalidRequest("the cursor is not one of this log", param="cursor")

    asker.log.page = refuse  # type: ignore[method-assign]

    assert "not one of this log" in refused(await asker.get("/v1/requests", cursor="' OR 1=1"), 400, "cursor")


async def test_one_entry() -> None:
    """As the log has it; for a key only among its own."""
    asker = Asker(keys=[TEAM_A, TEAM_B])
    asker.log.answer = {"id": "abc", "attempts": [], "decision": None}

    operators = json.loads((await asker.get("/v1/requests/abc")).body)
    own = await asker.holding(TEAM_A).get("/v1/requests/abc")

    assert operators == asker.log.answer
    assert own.status == 200
    assert asker.log.asked == [("abc", None), ("abc", "key_a")]


@pytest.mark.parametrize("id", ["nope", "%00", "'%20OR%201=1--", "x" * 10_000, "a/b/c", "%ED%A0%80", "..%2f..%2fkeys"])
async def test_an_entry_that_does_not_exist(id: str) -> None:
    """404, whatever was asked for, and no more of it than a message bears."""
    response = await Asker().get(f"/v1/requests/{id}")

    assert (response.status, response.error()["code"]) == (404, "not_found")
    assert len(response.error()["message"]) < 500
