"""Which requests a query means: alike for statistics, series, savings and the log itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from arbstr.domain.statistics import Filter
from tests.edge.log_reader import DAY, NOW, OLD_B, SECRETS, TEAM_A, TEAM_B, WEEK, Asker, refused
from tests.pipeline.rig import CHEAP, MODEL

PATHS = ("/v1/stats", "/v1/stats/series", "/v1/savings", "/v1/requests")
KEYS = (OLD_B, TEAM_A, TEAM_B)

SURROGATE = "%ED%A0%80"
HOSTILE = (
    *(
        "' OR 1=1 --",
        '"; DROP TABLE requests; --',
        "gpt-4o' UNION SELECT * FROM keys --",
        "%' AND '%'='",
        "\\",
        "$1",
        "?",
    ),
    *(
        "\0",
        "gpt-4o\0",
        "\r\nX-Injected: 1",
        "\u202e\U0001f512",
        "x" * 10_000,
        "../../etc/passwd",
        "[object Object]",
        "NaN",
    ),
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("name", "value", "field", "meant"),
    [
        ("model", MODEL, "model", MODEL),
        ("model", "", "model", ""),
        ("provider", CHEAP, "provider", CHEAP),
        ("provider", "", "provider", ""),
        ("policy", "frugal", "policy", "frugal"),
        ("policy", "", "policy", ""),
        ("key", "team-a", "key_id", "key_a"),
        ("key", "key_old", "key_id", "key_old"),
        ("key", "team-b", "key_id", "key_b"),
        ("key", "", "key_id", ""),
        ("tier", "local", "tier", "local"),
        ("tier", "", "tier", ""),
        ("success", "true", "success", True),
        ("success", "false", "success", False),
        ("streaming", "true", "streaming", True),
        ("streaming", "false", "streaming", False),
        ("status", "100", "status", 100),
        ("status", "599", "status", 599),
        ("min_cost", "0", "min_cost", 0),
        ("min_cost", "12.5", "min_cost", 12_500_000),
        ("min_cost", "0.0000001", "min_cost", 1),
        ("min_cost", "999999999999", "min_cost", 999_999_999_999_000_000),
    ],
)
async def test_a_parameter_is_a_condition(path: str, name: str, value: str, field: str, meant: object) -> None:
    """By itself; an empty value means requests that have none. Of keys with a name, the one that is not revoked."""
    asker = Asker(keys=KEYS)
    span = {} if path == "/v1/requests" else WEEK

    assert await asker.which(path, **{name: value}) == {**span, field: meant}


@pytest.mark.parametrize("path", PATHS)
async def test_conditions_hold_together(path: str) -> None:
    """All of them are asked at once."""
    asker = Asker(keys=KEYS)
    given = {"range": "last_1h", "model": MODEL, "provider": CHEAP, "policy": "frugal", "key": "team-a"}
    more = {"tier": "frontier", "success": "false", "streaming": "true", "status": "429", "min_cost": "1"}

    assert await asker.which(path, **given, **more) == {
        "since": NOW - 3600,
        "until": NOW,
        "model": MODEL,
        "provider": CHEAP,
        "policy": "frugal",
        "key_id": "key_a",
        "tier": "frontier",
        "success": False,
        "streaming": True,
        "status": 429,
        "min_cost": 1_000_000,
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("range", "last_year", "expected one of last_1h, last_24h, last_7d, last_30d"),
        ("since", "0001-01-01T00:00:00Z", "between the years 2000 and 2100"),
        ("until", "9999-12-31T23:59:59Z", "between the years 2000 and 2100"),
        ("since", "2027-01-15T08:00:01Z", "since is later than now"),
        ("tier", "huge", "expected one of local, standard, frontier"),
        ("success", "maybe", "expected one of true, false"),
        ("success", "", "expected one of true, false"),
        ("streaming", "TRUE", "expected one of true, false"),
        ("status", "99", "expected a whole number from 100 to 599"),
        ("status", "600", "expected a whole number from 100 to 599"),
        ("status", "0200", "expected a whole number from 100 to 599"),
        ("status", "4xx", "expected a whole number from 100 to 599"),
        ("status", "٤٠٤", "expected a whole number from 100 to 599"),
        ("min_cost", "-1", "expected satoshis such as 0.25 or 100"),
        ("min_cost", "1e3", "expected satoshis such as 0.25 or 100"),
        ("min_cost", "inf", "expected satoshis such as 0.25 or 100"),
        ("min_cost", "1" * 13, "expected satoshis such as 0.25 or 100"),
        ("min_cost", "", "expected satoshis such as 0.25 or 100"),
    ],
)
async def test_a_value_that_cannot_be_is_refused(path: str, name: str, value: str, said: str) -> None:
    """It is named with what was expected, and the log is not asked."""
    asker = Asker()

    message = refused(await asker.get(path, **{name: value}), 400, name)

    assert said in message
    assert asker.log.asked == []


@pytest.mark.parametrize("path", PATHS)
async def test_both_forms_of_a_range_do_not_mix(path: str) -> None:
    """A preset, or instants."""
    asker = Asker()

    message = refused(await asker.get(path, range="last_1h", since="2027-01-15T00:00:00Z"), 400, "range")

    assert "cannot be combined" in message


@pytest.mark.parametrize("path", PATHS)
async def test_a_parameter_that_does_not_exist_is_refused(path: str) -> None:
    """By its name, with those that do; and one that is given twice."""
    asker = Asker()

    message = refused(await asker.get(path, modle="gpt-4o"), 400, "modle")
    twice = refused(await asker.raw(path, "model=gpt-4o&model=gpt-4o"), 400, None)

    assert "unknown parameter 'modle', expected range, since, until, model, provider, policy, key, tier," in message
    assert "given twice" in twice
    assert asker.log.asked == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("name", "code"), [("model", "model_not_found"), ("provider", "not_found"), ("policy", "not_found")]
)
async def test_what_nobody_has_heard_of_is_not_found(path: str, name: str, code: str) -> None:
    """Unless it is configured, or a request in the log has it."""
    asker = Asker()

    unheard = await asker.get(path, **{name: "gone"})
    asker.log.known = [Filter(**{name: "gone"})]  # type: ignore[arg-type]
    seen = await asker.get(path, **{name: "gone"})

    assert f"the {name} 'gone' is not configured, and no request in the log has it" in refused(unheard, 404, name)
    assert unheard.error()["code"] == code
    assert seen.status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_a_key_that_does_not_exist_is_not_found(path: str) -> None:
    """By a name or an id."""
    asker = Asker(keys=KEYS)

    assert "'key_c'" in refused(await asker.get(path, key="key_c"), 404, "key")
    assert asker.log.asked == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_key_sees_its_own_requests_alone(path: str) -> None:
    """Whether it names itself or not; another's, and those without a key, are the operator's to see."""
    asker = Asker(keys=KEYS)

    filters = [await asker.holding(TEAM_A).which(path, **given) for given in ({}, {"key": "team-a"}, {"key": "key_a"})]
    others = [await asker.holding(TEAM_A).get(path, key=key) for key in ("team-b", "key_b", "nobody", "")]
    everything = await asker.which(path)

    assert [which["key_id"] for which in filters] == ["key_a"] * 3
    assert {refused(other, 403, "key") for other in others} == {"a key sees its own requests alone"}
    assert "key_id" not in everything


@pytest.mark.parametrize("path", PATHS)
async def test_a_key_hears_nothing_of_what_others_asked_for(path: str) -> None:
    """A model that only others have used, and that it may not, does not exist for it."""
    asker = Asker(keys=KEYS)
    asker.log.known = [Filter(model="others"), Filter(model="others", key_id="key_a")]

    refused(await asker.holding(TEAM_B).get(path, model="others"), 404, "model")
    refused(await asker.holding(TEAM_B).get(path, model=MODEL), 404, "model")
    refused(await asker.holding(TEAM_B).get(path, provider=CHEAP), 404, "provider")
    assert (await asker.holding(TEAM_A).which(path, model="others"))["key_id"] == "key_a"
    assert (await asker.holding(TEAM_A).which(path, model=MODEL, provider=CHEAP))["key_id"] == "key_a"


@pytest.mark.parametrize("path", PATHS)
async def test_strangers_see_nothing(path: str) -> None:
    """Where keys exist, a wrong one is refused before anything is read."""
    asker = Asker(keys=[TEAM_A])

    response = await asker.holding(TEAM_B).get(path, model="' OR 1=1 --")

    assert response.status == 401
    assert SECRETS["team-b"] not in response.body.decode()
    assert asker.log.asked == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "name",
    [
        *("range", "since", "until", "model", "provider", "policy", "key", "tier", "success", "streaming", "status"),
        *("min_cost", "group_by", "bucket", "by", "page", "per_page", "sort", "order", "nonsense"),
    ],
)
async def test_hostile_values_are_words_at_most(path: str, name: str) -> None:
    """In whichever parameter: a clear refusal, with the value cut to what a message bears; nothing is asked."""
    asker = Asker(keys=KEYS)

    for value in HOSTILE:
        response = await asker.get(path, **{name: value})
        assert response.status in (400, 404), (value[:40], response.body)
        assert len(response.error()["message"]) < 400
        assert "x-injected" not in response.headers

    assert asker.log.asked == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "query", [f"model={SURROGATE}", "model=%FF", "%00=1", "model", "&", "=", "model=%C0%80", "a=1;b=2&c"]
)
async def test_a_query_that_cannot_be_read_is_refused(path: str, query: str) -> None:
    """Halves of characters, other bytes, and what has no value."""
    asker = Asker()

    assert (await asker.raw(path, query)).status == 400
    assert asker.log.asked == []


@pytest.mark.parametrize("path", PATHS)
async def test_hostile_names_that_were_seen_are_asked_for_as_they_are(path: str) -> None:
    """Nothing is taken for anything but the name that it is."""
    asker = Asker()
    names = ["' OR 1=1 --", "a\0b", "%25", "日本語", "x" * 10_000]
    asker.log.known = [Filter(model=name) for name in names]

    asked: list[Any] = [(await asker.which(path, model=name))["model"] for name in names]

    assert asked == names


@pytest.mark.parametrize("path", PATHS)
async def test_a_log_that_cannot_be_read_says_so(path: str) -> None:
    """503 with a time to come again."""
    asker = Asker()
    asker.log.broken = True

    response = await asker.get(path)

    assert (response.status, response.error()["code"], response.headers["retry-after"]) == (503, "log_unavailable", "1")


async def test_a_plus_in_an_offset_may_be_a_plus() -> None:
    """In a URL it stands for a space."""
    asker = Asker()

    encoded = await asker.raw("/v1/stats", f"since={quote('2027-01-14T09:00:00+01:00')}")
    plain = await asker.raw("/v1/stats", "since=2027-01-14T09:00:00+01:00")

    assert encoded.body == plain.body
    assert {asked[0].since for asked in asker.log.asked} == {NOW - DAY}
