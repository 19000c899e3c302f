"""What requests came to, over a whole gateway: the figures of real requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.gateway import MODEL, Ask, Gateway, gateway
from tests.e2e.test_admin_keys import created
from tests.test_docs import reference, section
from tests.test_docs_answers import code, first_column, names

ONE_TRY = '[resilience.retry]\ninitial_backoff = "1ms"\nmax_backoff = "2ms"\nmax_attempts = 1\n'
RULE = '[[policies.rules]]\nname = "frugal"\nallowed_models = ["gpt-4o"]\n'
ALPHA, BETA = 3.5, 6.0
"""Satoshis: 100 tokens in, 200 out and the fee, at each provider."""


async def broken(ask: Ask) -> None:
    await ask.refuse("500 Internal Server Error", "broken")


async def answer(running: Gateway, path: str, secret: str | None = None) -> dict[str, Any]:
    reply = await running.get(path, headers=None if secret is None else {"Authorization": f"Bearer {secret}"})
    assert reply.status == 200, reply.body
    found = reply.json()
    assert isinstance(found, dict)
    return found


async def some_requests(running: Gateway) -> None:
    """Four: at alpha, streamed at alpha, at beta since alpha is broken, and none that succeeds."""
    await running.chat()
    await running.chat(stream=True, stream_options={"include_usage": True})
    running.alpha.next = [broken, broken]
    await running.chat(headers={"X-Arbstr-Policy": "frugal"})
    running.beta.next = [broken]
    await running.chat()
    await running.rows(4)


async def test_figures_of_real_requests(tmp_path: Path) -> None:
    """What was answered, what it cost, and who failed how: within a second, and the same however it is asked for."""
    async with gateway(tmp_path, more=ONE_TRY + RULE) as running:
        await some_requests(running)
        stats = await answer(running, "/v1/stats")
        providers = (await answer(running, "/v1/stats?group_by=provider"))["providers"]
        models = (await answer(running, "/v1/stats?group_by=model"))["models"]
        policies = (await answer(running, "/v1/stats?group_by=policy"))["policies"]
        hours = (await answer(running, "/v1/stats/series?range=last_24h"))["data"]
        rows = (await answer(running, "/v1/requests"))["data"]

    assert stats["counts"] == {
        "total": 4,
        "success": 3,
        "error": 1,
        "streaming": 1,
        "errors_by_code": {"upstream_error": {"count": 1, "share": 0.25}},
    }
    assert stats["costs"]["total_cost_sats"] == 2 * ALPHA + BETA == sum(row["cost"]["sats"] or 0 for row in rows)
    assert (stats["costs"]["total_input_tokens"], stats["costs"]["total_output_tokens"]) == (300, 600)
    assert stats["performance"]["avg_latency_ms"] > 0
    assert stats["performance"]["p99_ttft_ms"] > 0
    assert {name: each["counts"]["total"] for name, each in providers.items()} == {"": 1, "alpha": 2, "beta": 1}
    assert {name: each["counts"]["total"] for name, each in models.items()} == {"gpt-4o": 4, "gpt-4o-mini": 0}
    assert {name: each["counts"]["total"] for name, each in policies.items()} == {"": 3, "frugal": 1}
    assert len(hours) in (24, 25)
    assert sum(hour["costs"]["total_cost_sats"] for hour in hours) == stats["costs"]["total_cost_sats"]


async def test_savings_of_real_requests(tmp_path: Path) -> None:
    """Beside the dearest that could have served: what went to alpha saved something, what went to beta nothing."""
    async with gateway(tmp_path, more=ONE_TRY + RULE) as running:
        await some_requests(running)
        days = await answer(running, "/v1/savings?range=last_24h")
        providers = (await answer(running, "/v1/savings?by=provider"))["providers"]

    assert (days["total"]["requests"], days["total"]["compared"]) == (4, 3)
    assert days["total"]["spent_sats"] == 2 * ALPHA + BETA
    assert days["total"]["saved_sats"] == 2 * (BETA - ALPHA)
    assert sum(day["saved_sats"] for day in days["days"].values()) == 2 * (BETA - ALPHA)
    assert (providers["alpha"]["saved_sats"], providers["beta"]["saved_sats"]) == (2 * (BETA - ALPHA), 0)


async def test_the_log_by_filter_order_and_cursor(tmp_path: Path) -> None:
    """What was dear, what failed, what was streamed; page by page, each entry once."""
    async with gateway(tmp_path, more=ONE_TRY + RULE) as running:
        await some_requests(running)
        costs = [row["cost"]["sats"] for row in (await answer(running, "/v1/requests?sort=cost_sats"))["data"]]
        filters = (
            "success=false",
            "streaming=true",
            "provider=beta",
            "policy=frugal",
            "min_cost=4",
            "status=502",
            "tier=",
        )
        totals = {each: (await answer(running, f"/v1/requests?{each}"))["total"] for each in filters}
        page = await answer(running, "/v1/requests?per_page=3&order=asc")
        rest = await answer(running, f"/v1/requests?per_page=3&order=asc&cursor={quote(page['next_cursor'])}")
        foreign = await running.get(f"/v1/requests?cursor={quote(page['next_cursor'])}")

    assert costs == [BETA, ALPHA, ALPHA, None]
    assert totals == dict.fromkeys(filters, 1)
    assert (page["total"], page["total_pages"], page["total_estimated"]) == (4, 2, False)
    times = [row["timestamp"] for row in page["data"] + rest["data"]]
    assert len(times) == 4
    assert times == sorted(times)
    assert rest["next_cursor"] is None
    assert (foreign.status, foreign.error["param"]) == (400, "cursor")


async def test_keys_see_their_own(tmp_path: Path) -> None:
    """Figures, entries and names: of others there is nothing to be seen, and the operator sees all."""
    async with gateway(tmp_path) as running:
        one, two = await created(running, "one"), await created(running, "two")
        for secret in (one, one, two):
            reply = await running.chat(headers={"Authorization": f"Bearer {secret}"})
        await running.rows(3)
        own = [await answer(running, "/v1/stats", secret) for secret in (one, two)]
        everything = (await answer(running, "/v1/stats?group_by=key"))["keys"]
        named = await answer(running, "/v1/stats?key=one")
        hers = await running.get(
            f"/v1/requests/{reply.headers['x-arbstr-request-id']}", headers={"Authorization": f"Bearer {one}"}
        )
        pages = [(await answer(running, "/v1/requests", secret))["total"] for secret in (one, two)]
        foreign = await running.get("/v1/requests?key=two", headers={"Authorization": f"Bearer {one}"})

    assert [each["counts"]["total"] for each in own] == [2, 1] == pages
    assert {key["name"]: key["costs"]["total_cost_sats"] for key in everything.values()} == {"one": 7.0, "two": 3.5}
    assert named["counts"]["total"] == 2
    assert (hers.status, foreign.status) == (404, 403)


async def test_what_is_unknown_is_not_found_until_it_was_asked_for(tmp_path: Path) -> None:
    """A model that nobody lists has no figures; from the first request for it on, it has."""
    async with gateway(tmp_path) as running:
        before = await running.get("/v1/stats?model=gpt-9")
        await running.chat(model="gpt-9")
        await running.rows(1)
        after = await answer(running, "/v1/stats?model=gpt-9&group_by=model")
        nobody = await running.get("/v1/requests?provider=nobody")
        policy = await running.get("/v1/stats?policy=nobody's")

    assert (before.status, before.error["code"]) == (404, "model_not_found")
    assert after["models"]["gpt-9"]["counts"]["error"] == 1
    assert list(after["models"]) == ["gpt-9"]
    assert (nobody.status, policy.status) == (404, 404)


async def test_every_field_of_the_figures_is_in_the_reference(tmp_path: Path) -> None:
    """At every depth, and nothing else is promised."""
    async with gateway(tmp_path) as running:
        await running.chat()
        await running.rows(1)
        stats = await answer(running, "/v1/stats")
        by_key = await answer(running, "/v1/stats?group_by=key")
        series = await answer(running, "/v1/stats/series?range=last_1h")
        savings = await answer(running, "/v1/savings")
    page = reference("http.md")
    of_stats, of_savings = section(page, "GET /v1/stats"), section(page, "GET /v1/savings")

    assert set(names(stats)) <= code(of_stats)
    assert first_column(of_stats.partition("### Which requests")[0]) == {"counts", "costs", "performance"}
    assert set(by_key) - set(stats) == {"keys"} <= code(of_stats)
    assert set(series) | set(series["data"][0]) <= code(of_stats) | code(section(page, "GET /v1/stats/series"))
    assert first_column(of_savings) == set(savings["total"])
    assert {"since", "until", "by", "total", "days"} == set(savings) <= code(of_savings)


@pytest.mark.parametrize(
    "path", ["/v1/stats", "/v1/stats/series?bucket=day", "/v1/savings", "/v1/requests?sort=latency_ms"]
)
async def test_a_log_without_rows_has_figures(tmp_path: Path, path: str) -> None:
    """Zeros, and an empty page: nothing is an answer."""
    async with gateway(tmp_path) as running:
        found = await answer(running, path)

    assert not [value for name, value in found.items() if name == "counts" and value["total"]]
    assert found.get("total", 0) == 0 or found["total"]["requests"] == 0


async def test_hostile_queries_change_nothing(tmp_path: Path) -> None:
    """Whatever is put into a parameter, the row is still there afterwards, and nothing is answered with a 500."""
    hostile = ("'; DROP TABLE requests; --", "%00", "\ud800", "x" * 10_000, "1 OR 1=1", "-1", "9" * 400, "null", "[]")
    parameters = (
        *("range", "since", "until", "model", "provider", "policy", "key", "tier", "success", "streaming", "status"),
        *("min_cost", "group_by", "bucket", "by", "page", "per_page", "sort", "order", "cursor", "x"),
    )
    async with gateway(tmp_path) as running:
        await running.chat(model=MODEL)
        await running.rows(1)
        statuses = {
            (await running.get(f"{path}?{name}={quote(value, errors='surrogatepass')}")).status
            for path in ("/v1/stats", "/v1/stats/series", "/v1/savings", "/v1/requests")
            for name in parameters
            for value in hostile
        }
        total = (await answer(running, "/v1/requests"))["total"]

    assert statuses == {400, 404}
    assert total == 1
