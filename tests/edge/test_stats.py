"""/v1/stats, its series and /v1/savings: what is asked of the log, and how it is answered."""

from __future__ import annotations

import pytest

from arbstr.domain.routing import PolicyRule, Tier
from arbstr.domain.span import PRESETS
from arbstr.domain.statistics import Bucket, Figures, Group, Point, Saved, Savings, Statistics
from arbstr.edge.stats import MOST_BUCKETS
from tests.edge.log_reader import NOW, OLD_B, TEAM_A, TEAM_B, WEEK, Asker, refused
from tests.pipeline.rig import CHEAP, DEAR, MODEL

KEYS = (OLD_B, TEAM_A, TEAM_B)


def totals(groups: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    return {name: group["counts"]["total"] for name, group in groups.items()}


class TestStats:
    async def test_the_last_week_is_the_default(self) -> None:
        """Counts, costs and performance, and which time they are of."""
        asker = Asker()
        asker.log.answer = Statistics(Figures(requests=3, successes=2))

        answer = await asker.ask("/v1/stats")

        assert asker.log.asked[0][0].since == WEEK["since"]
        assert set(answer) == {"since", "until", "counts", "costs", "performance"}
        assert (answer["since"], answer["until"]) == ("2027-01-08T08:00:00Z", "2027-01-15T08:00:00Z")
        assert answer["counts"] == {"total": 3, "success": 2, "error": 1, "streaming": 0, "errors_by_code": {}}

    @pytest.mark.parametrize("name", PRESETS)
    async def test_presets_end_now(self, name: str) -> None:
        """And begin as long ago as they say."""
        assert await Asker().which("/v1/stats", range=name) == {"since": NOW - PRESETS[name], "until": NOW}

    async def test_instants_are_taken_as_they_are(self) -> None:
        """To the microsecond."""
        given = {"since": "2027-01-01T00:00:00.25Z", "until": "2027-01-02T01:00:00+01:00"}
        answer = await Asker().ask("/v1/stats", **given)

        assert (answer["since"], answer["until"]) == ("2027-01-01T00:00:00.250000Z", "2027-01-02T00:00:00Z")

    @pytest.mark.parametrize(
        ("group", "plural", "configured"),
        [
            ("model", "models", {MODEL}),
            ("provider", "providers", {CHEAP, DEAR}),
            ("policy", "policies", {"frugal"}),
            ("key", "keys", {"key_a", "key_b"}),
            ("tier", "tiers", {"standard"}),
        ],
    )
    async def test_groups_have_all_that_is_configured(self, group: str, plural: str, configured: set[str]) -> None:
        """What had no traffic has zeros; a key that is revoked is shown where it had some."""
        asker = Asker(keys=KEYS)
        asker.log.answer = Statistics(Figures(requests=2), {"other": Figures(requests=2)})

        answer = await asker.ask("/v1/stats", group_by=group)

        assert asker.log.asked[0][1] is Group(group)
        assert totals(answer[plural]) == {"other": 2} | dict.fromkeys(configured, 0)

    @pytest.mark.parametrize(
        ("group", "plural", "value"),
        [("model", "models", MODEL), ("provider", "providers", DEAR), ("key", "keys", "team-b")],
    )
    async def test_what_was_asked_for_alone_is_listed_alone(self, group: str, plural: str, value: str) -> None:
        """Others have no zeros then."""
        answer = await Asker(keys=KEYS).ask("/v1/stats", group_by=group, **{group: value})

        assert list(answer[plural]) == ["key_b" if group == "key" else value]

    async def test_keys_are_named(self) -> None:
        """By their ids in the map, which stay when a name goes to another, and with their names."""
        asker = Asker(keys=KEYS)
        asker.log.answer = Statistics(Figures(requests=1), {"key_old": Figures(requests=1), "": Figures()})

        keys = (await asker.ask("/v1/stats", group_by="key"))["keys"]

        assert {id: key["name"] for id, key in keys.items()} == {
            "": None,
            "key_a": "team-a",
            "key_b": "team-b",
            "key_old": "team-b",
        }

    @pytest.mark.parametrize(
        ("group", "plural", "listed"),
        [
            ("model", "models", []),
            ("provider", "providers", []),
            ("tier", "tiers", []),
            ("policy", "policies", ["frugal"]),
            ("key", "keys", ["key_b"]),
        ],
    )
    async def test_a_key_is_shown_what_it_may_use(self, group: str, plural: str, listed: list[str]) -> None:
        """Nothing of models that it is not for, of their providers, and of other keys."""
        asker = Asker(keys=KEYS)

        hers = await asker.holding(TEAM_B).ask("/v1/stats", group_by=group)
        his = await asker.holding(TEAM_A).ask("/v1/stats", group_by=group)

        assert list(hers[plural]) == listed
        assert len(his[plural]) >= 1
        assert {asked[0].key_id for asked in asker.log.asked} == {"key_a", "key_b"}

    async def test_a_group_that_does_not_exist_is_refused(self) -> None:
        """With those that do."""
        message = refused(await Asker().get("/v1/stats", group_by="colour"), 400, "group_by")

        assert message == "group_by is 'colour', expected one of model, provider, policy, key, tier"

    async def test_tiers_and_policies_are_those_of_the_configuration(self) -> None:
        """Each once."""
        asker = Asker(rules=(PolicyRule("a"), PolicyRule("b")))

        assert list((await asker.ask("/v1/stats", group_by="policy"))["policies"]) == ["a", "b"]
        assert list((await asker.ask("/v1/stats", group_by="tier"))["tiers"]) == [Tier.STANDARD.value]


class TestSeries:
    @pytest.mark.parametrize(
        ("given", "bucket"),
        [({}, "hour"), ({"bucket": "minute"}, "minute"), ({"bucket": "hour"}, "hour"), ({"bucket": "day"}, "day")],
    )
    async def test_buckets(self, given: dict[str, str], bucket: str) -> None:
        """Hours, unless asked for otherwise; a week of minutes is not too much."""
        asker = Asker()
        asker.log.answer = [Point(int(NOW) - 60, Figures(requests=1)), Point(int(NOW), Figures())]

        answer = await asker.ask("/v1/stats/series", **given)

        assert asker.log.asked[0][1] is Bucket[bucket.upper()]
        assert answer["bucket"] == bucket
        assert [(point["start"], point["counts"]["total"]) for point in answer["data"]] == [
            ("2027-01-15T07:59:00Z", 1),
            ("2027-01-15T08:00:00Z", 0),
        ]

    @pytest.mark.parametrize(
        ("bucket", "since", "count"),
        [
            ("minute", "2027-01-08T07:58:59Z", "10,082 minutes"),
            ("minute", "2000-01-01T00:00:00Z", "14,221,920 minutes"),
            ("hour", "2000-01-01T00:00:00Z", "237,032 hours"),
        ],
    )
    async def test_there_is_a_most_of_buckets(self, bucket: str, since: str, count: str) -> None:
        """Beyond, the refusal says how many there would be; the log is not asked."""
        asker = Asker()

        message = refused(await asker.get("/v1/stats/series", bucket=bucket, since=since), 400, "since")

        assert message == f"the range has {count}, expected at most 10,081"
        assert asker.log.asked == []

    async def test_the_most_of_buckets_can_be_had(self) -> None:
        """A week of minutes that begins within one, and a quarter of a century of days."""
        asker = Asker()

        await asker.ask("/v1/stats/series", bucket="minute", since="2027-01-08T07:59:59Z")
        await asker.ask("/v1/stats/series", bucket="day", since="2000-01-01T00:00:00Z")

        assert len(asker.log.asked) == 2
        assert MOST_BUCKETS == 10_081

    async def test_a_bucket_that_does_not_exist_is_refused(self) -> None:
        """With those that do."""
        message = refused(await Asker().get("/v1/stats/series", bucket="fortnight"), 400, "bucket")

        assert message == "bucket is 'fortnight', expected one of minute, hour, day"


class TestSavings:
    @pytest.mark.parametrize(
        ("given", "by", "plural"),
        [
            ({}, None, "days"),
            ({"by": "day"}, None, "days"),
            ({"by": "model"}, Group.MODEL, "models"),
            ({"by": "provider"}, Group.PROVIDER, "providers"),
        ],
    )
    async def test_by_day_model_or_provider(self, given: dict[str, str], by: Group | None, plural: str) -> None:
        """By day, unless asked for otherwise."""
        asker = Asker()
        asker.log.answer = Savings(Saved(requests=2), {"x": Saved(requests=2)})

        answer = await asker.ask("/v1/savings", **given)

        assert asker.log.asked[0][1] is by
        assert answer["by"] == given.get("by", "day")
        assert answer["total"]["requests"] == answer[plural]["x"]["requests"] == 2

    async def test_days_are_bounded_and_models_are_not(self) -> None:
        """A century of days is refused, one of models answered."""
        asker = Asker()
        century = {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}

        refused(await asker.get("/v1/savings", **century), 400, "since")
        await asker.ask("/v1/savings", by="model", **century)

        assert len(asker.log.asked) == 1

    async def test_what_does_not_exist_is_refused(self) -> None:
        """With what does."""
        message = refused(await Asker().get("/v1/savings", by="hour"), 400, "by")

        assert message == "by is 'hour', expected one of day, model, provider"


@pytest.mark.parametrize("path", ["/v1/stats/", "/v1/stats/daily", "/v1/stats/series/x", "/v1/savings/x"])
async def test_nothing_is_below_them(path: str) -> None:
    """404, not an answer to another question."""
    assert (await Asker().get(path)).status == 404
