"""What the reference says of answers, log lines and limits is what a gateway gives, writes and keeps."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arbstr.dialects import body, sse
from arbstr.edge.context import BODIES_IN_FLIGHT
from arbstr.edge.limits import Limits
from arbstr.pipeline.attempts import AFTER_FINISH, COMPLETE_LIMIT, COOLDOWN_JITTER, MAX_COOLDOWN_JITTER
from arbstr.policy import parking, planner, retry
from arbstr.service import REFUSAL_LINES
from arbstr.store.sqlite import QUEUE_LIMIT
from arbstr.upstream.limits import Limits as UpstreamLimits
from tests.e2e.gateway import Ask, gateway
from tests.markdown import blocks, rows
from tests.test_docs import DOCS, ROOT, reference, section

MIB = 1024 * 1024


def names(value: Any) -> Iterator[str]:
    """The keys of a JSON answer, at every depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from names(inner)
    elif isinstance(value, list):
        for item in value:
            yield from names(item)


def first_column(text: str) -> set[str]:
    return {name for row in rows(text) for name in re.findall(r"`(\w+)`", row[0])}


def code(text: str) -> set[str]:
    """All words that stand as code, in sentences or in blocks of JSON."""
    words = re.findall(r"`([^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return set(re.findall(r"\w+", " ".join([*words, *blocks(text, "json")])))


# Answers


async def refuse_the_key(ask: Ask) -> None:
    await ask.refuse("401 Unauthorized", "Incorrect API key provided")


async def test_every_field_that_is_answered_is_in_the_reference(tmp_path: Path) -> None:
    """Providers, health and requests have the fields that docs/reference/http.md names, at every depth."""
    async with gateway(tmp_path) as it:
        it.alpha.usual = refuse_the_key
        reply = await it.chat()
        entry = await it.row(reply)
        page = (await it.get("/v1/requests")).json()
        providers = (await it.get("/v1/providers")).json()
        health = (await it.get("/health")).json()
        page_of_http = reference("http.md")
        of_requests = section(page_of_http, "GET /v1/requests")
        of_providers = section(page_of_http, "GET /v1/providers")
        of_health = section(page_of_http, "GET /health")

        set_aside = health["providers"]["alpha"].pop("set_aside")
        alpha = providers["data"][0]
        states = health.pop("providers")

    assert (reply.status, reply.headers["x-arbstr-retries"]) == (200, "1/alpha")
    assert set(names(page)) | set(names(entry)) <= code(of_requests)
    assert set(entry) - {"attempts", "decision"} == first_column(of_requests.partition("An entry:")[2])
    assert set(alpha) == first_column(of_providers)
    assert set(names(alpha)) - set(set_aside) <= code(of_providers)
    assert set(set_aside) == first_column(of_health)
    assert set(names(health)) | set(names(states["alpha"])) | {"set_aside"} <= code(of_health)


# Log lines


def events() -> Iterator[Any]:
    """The events of our own lines, wherever one is said."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and says(node):
                what = node.args[0]
                choices = [what.body, what.orelse] if isinstance(what, ast.IfExp) else [what]
                yield from (each.value for each in choices if isinstance(each, ast.Constant))


def says(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    return bool(call.args) and (
        re.fullmatch(r"(self\.)?(context\.)?_?log\.(debug|info|warning|error)|say|self\._tell", name) is not None
    )


def test_every_event_of_the_log_is_in_the_reference() -> None:
    """Whoever looks for a line that arbstr wrote finds it in docs/reference/log.md, in its very words."""
    text = reference("log.md")

    said = set(events())

    assert {event for event in said if f"`{event}`" not in text} == set()
    assert {"circuit opened", "the request log cannot be written", "a provider's key is out of use"} <= said


# Numbers


def test_the_limits_of_callers_are_the_ones_that_are_kept() -> None:
    """Every number in the table of limits is that of the code."""
    edge, upstream = Limits(), UpstreamLimits()

    limits = {row[0]: row[1] for row in rows(section(reference("http.md"), "Limits"))[1:]}

    assert limits["values in a body"] == f"{body.MAX_VALUES:,}"
    assert limits["digits of a number"] == f"{body.MAX_DIGITS - 1:,}"
    assert limits["bodies of all requests in flight, as they came"].startswith(f"{BODIES_IN_FLIGHT // 2 // MIB} MiB")
    assert limits["connections"].startswith(f"{edge.connections:,}")
    assert limits["request line and headers"] == f"{edge.head // 1024} KiB, {edge.header_lines} lines"
    assert limits["time for the headers"] == f"{edge.head_timeout:g} s"
    assert limits["speed of a body"] == f"{edge.body_rate // 1024} KiB a second, judged every {edge.body_window:g} s"
    assert limits["idle connection"] == f"{edge.keep_alive:g} s"
    assert limits["a caller that takes nothing while there is something to take"] == f"{edge.write_timeout:g} s"
    assert limits["one event of a provider's stream"] == f"{sse.MAX_EVENT // MIB} MiB"
    assert limits["a provider's headers"] == f"{upstream.max_header_bytes // 1024} KiB, {upstream.max_headers} lines"


def test_the_times_in_sentences_are_the_ones_that_are_kept() -> None:
    """Where a page gives a number in a sentence, the code has the same one."""
    errors = " ".join(reference("errors.md").split())
    hold = (DOCS / "how-to/hold-a-stream.md").read_text()
    log = (DOCS / "how-to/read-the-request-log.md").read_text()

    assert f"up to {retry.MAX_RETRY_AFTER:g} s" in errors
    assert f"{parking.COOLDOWN[0]:g} s, doubling up to {parking.COOLDOWN[1]:g} s" in errors
    assert f"after {parking.KEY_RETEST[0]:g} s, doubling up to {parking.KEY_RETEST[1] / 60:g} min" in errors
    assert f"For {parking.MODEL_RETEST / 60:g} min a missing model" in errors
    assert (parking.MAX_COOLDOWN, retry.MAX_RETRY_AFTER) == (3600, 120)
    assert "from a second to an hour" in errors
    assert "within its deadline and two minutes" in errors
    assert COOLDOWN_JITTER == 0.25
    assert f"up to a quarter (at most {MAX_COOLDOWN_JITTER:g} s) longer" in errors
    assert (retry.BUDGET_RATIO, retry.BUDGET_WINDOW, retry.BUDGET_FLOOR) == (0.2, 10, 10)
    assert "at most a fifth of a provider's requests of the last ten seconds, plus ten a second" in errors
    assert f"up to {COMPLETE_LIMIT // MIB} MiB" in hold
    assert f"{QUEUE_LIMIT:,} rows wait in memory" in log
    assert f"the first and the last {planner.SEARCHED:,} are searched" in reference("config.md")
    assert (AFTER_FINISH, REFUSAL_LINES) == (0.5, 5)
    assert "waited for half a second" in " ".join(reference("http.md").split())
    assert "five lines a second at most" in reference("log.md")


# Decisions


def test_every_decision_is_in_their_list_by_its_title() -> None:
    """The list of decisions has each of them, in order, by the title that its page has."""
    folder = DOCS / "explanation" / "decisions"

    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", (folder / "README.md").read_text(), re.MULTILINE)

    pages = sorted(folder.glob("0*.md"))
    assert listed == [(page.read_text().splitlines()[0].removeprefix("# "), page.name) for page in pages]
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
