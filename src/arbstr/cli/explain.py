"""``arbstr explain``: where a request would go, and why, without sending it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from arbstr.cli.frame import Command, complain, echo_json, load_found, wants_json
from arbstr.config import Compiled

if TYPE_CHECKING:
    from arbstr.cli.table import Table

MOST_TOKENS = 2**31 - 1
_POLICY = "X-Arbstr-Policy"


@click.command(cls=Command, short_help="Say where a request would go, and why.")
@click.argument("model")
@click.option("--prompt", metavar="TEXT", default="", help="What is asked: its length and its keywords count.")
@click.option("--max-tokens", type=click.IntRange(1, MOST_TOKENS), metavar="N", help="The request's max_tokens.")
@click.option("--policy", metavar="NAME", help="The rule of [policies] that it names.")
@click.option("--stream", is_flag=True, help="It asks for a stream.")
@click.pass_context
def explain(
    context: click.Context, model: str, prompt: str, max_tokens: int | None, policy: str | None, stream: bool
) -> None:
    """Say where a chat request for MODEL would go, and why. Nobody is called, and nothing is written.

    The gateway that runs on the configured address decides, with its circuits and budgets. Where none runs, it is
    decided here, as if all were well.
    """
    from arbstr.cli import live, table

    _, compiled, _ = load_found(context)
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    if policy is not None and not (policy.isascii() and policy.isprintable()):
        raise click.BadParameter("a header cannot say this name.", context, param_hint="--policy")
    headers = {} if policy is None else {_POLICY: policy}
    answer = live.explained(compiled, body, headers)
    if answer is None:
        decided = _decide(compiled, body, headers)
    elif answer.status == 200:
        decided = answer.body
    else:
        raise click.ClickException(f"{answer.body['error'].get('message')} (says the gateway on {_address(compiled)})")
    by = "here" if answer is None else "gateway"
    if wants_json(context):
        echo_json({**decided, "decided_by": by})
        return
    click.echo(heading(decided))
    table.show(candidates(decided))
    refusal = decided.get("refusal")
    if refusal:
        click.echo(f"It would be refused: {refusal['status']} {refusal['code']}: {refusal['message']}")
    if answer is None:
        complain("Decided here, as if all circuits were closed and nothing was spent: no gateway was there to ask.")
    else:
        complain(f"Decided by the gateway on {_address(compiled)}.")


def heading(decided: Mapping[str, Any]) -> str:
    """What was decided by, in one line: ``gpt-4o: cheapest, by policy frugal (keyword)``."""
    from arbstr.cli import cells

    line = cells.text(decided.get("strategy"))
    if decided.get("policy") is not None:
        line += f", by policy {cells.text(decided['policy'])} ({cells.text(decided.get('matched'))})"
    return f"{cells.text(decided['model'])}: {line}" if "model" in decided else line


def candidates(decided: Mapping[str, Any]) -> Table:
    """Who would be tried, in order, then who would not; with the reason for either."""
    from arbstr.cli import cells
    from arbstr.cli.table import NOTHING, Table

    rows = [
        (
            str(place),
            cells.text(each["provider"]),
            cells.text(each["model"]),
            cells.amount(each["estimated_cost_sats"]),
            cells.amount(each["estimated_cost_usd"]),
            cells.text(each["reason"]),
        )
        for place, each in enumerate(decided.get("candidates", ()), 1)
    ]
    rows += [
        (
            NOTHING,
            cells.text(each["provider"]),
            cells.text(each["model"]),
            NOTHING,
            NOTHING,
            f"rejected ({cells.text(each['why'])}): {cells.text(each['reason'])}",
        )
        for each in decided.get("rejected", ())
    ]
    columns = ("order", "provider", "model", "est. sats", "est. usd", "reason")
    return Table(columns, rows, frozenset({"est. sats", "est. usd"}), fold=("reason", "est. usd", "model"))


def _address(compiled: Compiled) -> str:
    host = f"[{compiled.host}]" if ":" in compiled.host else compiled.host
    return f"{host}:{compiled.port}"


def _decide(compiled: Compiled, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """The answer of ``/v1/route/explain``, by the same code, from the configuration alone."""
    import asyncio

    from arbstr.dialects.callers import caller_dialect
    from arbstr.domain.errors import GatewayError
    from arbstr.edge.caller import wishes_of
    from arbstr.edge.explain import explained
    from arbstr.pipeline.planning import explain as decide
    from arbstr.pipeline.state import LiveState
    from arbstr.service.clock import SystemClock

    async def work() -> dict[str, Any]:
        asked = caller_dialect("openai").parse(json.dumps(body).encode())
        state = LiveState(clock=SystemClock(), log=_NoLog())
        state.adopt(compiled.snapshot)
        await state.spending.adopt(compiled.snapshot.budget, (), state.rate)
        wishes = wishes_of({name.lower().encode(): value.encode() for name, value in headers.items()})
        decision = await decide(asked, wishes, None, snapshot=compiled.snapshot, state=state)
        return explained(asked.model, decision)

    try:
        return asyncio.run(work())
    except GatewayError as error:
        raise click.ClickException(error.message) from None


class _NoLog:
    """Implements :class:`~arbstr.ports.Log`, for nobody."""

    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...
    def error(self, event: str, **fields: Any) -> None: ...
