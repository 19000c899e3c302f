"""A replay's report, for programs and for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from arbstr.cli import cells
from arbstr.cli.table import NOTHING, Table
from arbstr.domain.money import Currency, MicroSats, NanoUsd, amount_text, sats, usd
from arbstr.domain.routing import Snapshot
from arbstr.domain.span import Span, instant_text
from arbstr.policy.replay import Outage
from arbstr.policy.replay_report import Comparison, Report, Sum


class About(msgspec.Struct, frozen=True):
    """What was replayed, and how."""

    config: Path
    store: Path
    span: Span
    outages: tuple[Outage, ...]
    limit: Fraction | None
    """The share by which it may be dearer."""


# For programs.


def document(report: Report, about: About, snapshot: Snapshot) -> dict[str, Any]:
    """All of it as one JSON document. Amounts that are known of no request are null."""
    return {
        "object": "replay",
        "config": str(about.config),
        "store": str(about.store),
        "since": _instant(about.span.since),
        "until": _instant(about.span.until),
        "outages": [
            {"provider": each.provider, "from": _instant(each.since), "to": _instant(each.until)}
            for each in about.outages
        ],
        "requests": report.requests,
        "decided": report.decided,
        "kept_out": dict(report.kept_out),
        "then": {
            "served": report.total_then.requests,
            "failed": report.failed,
            "rejected": dict(report.rejected_then),
            "cost": _cost(report.total_then),
            "failed_cost": _cost(report.failed_cost),
        },
        "now": {
            "served": report.served_now,
            "rejected": dict(report.rejected_now),
            "cost": _cost(report.total_now),
        },
        "compared": _compared(report.comparison),
        "providers": [
            {"provider": name, "then": _share(report.then.get(name)), "now": _share(report.now.get(name))}
            for name in _providers(report)
        ],
        "moved": report.moved,
        "lost": report.lost,
        "gained": report.gained,
        "unrecorded": report.unrecorded,
        "by_keyword": report.by_keyword,
        "policy_gone": report.policy_gone,
        "fail_if_dearer": _verdict(report, about.limit),
        "notes": list(notes(report, snapshot)),
    }


def _cost(total: Sum) -> dict[str, Any]:
    return {
        "sats": sats(MicroSats(total.sats)) if total.in_sats else None,
        "usd": usd(NanoUsd(total.usd)) if total.in_usd else None,
        "unpriced": total.unpriced,
    }


def _share(total: Sum | None) -> dict[str, Any]:
    total = total or Sum()
    return {"requests": total.requests, **_cost(total)}


def _compared(comparison: Comparison) -> dict[str, Any]:
    smallest, change = comparison.currency.smallest, comparison.change
    return {
        "requests": comparison.requests,
        "currency": comparison.currency.value,
        "then": comparison.then / smallest,
        "now": comparison.now / smallest,
        "change_percent": None if change is None else round(float(change) * 100, 4),
    }


def _verdict(report: Report, limit: Fraction | None) -> dict[str, Any] | None:
    if limit is None:
        return None
    failed = report.tells_nothing or report.comparison.dearer(limit)
    return {"percent": float(limit * 100), "failed": failed}


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None or math.isinf(seconds) else instant_text(seconds)


# For people.


def heading(report: Report, about: About) -> str:
    outages = "".join(f", {each.provider} out{_window(each)}" for each in about.outages)
    return (
        f"{report.requests:,} requests of {about.store} from {cells.moment(_instant(about.span.since))} to"
        f" {cells.moment(_instant(about.span.until))}, by {about.config}{outages}"
    )


def _window(outage: Outage) -> str:
    since, until = _instant(outage.since), _instant(outage.until)
    return (f" from {cells.moment(since)}" if since else "") + (f" until {cells.moment(until)}" if until else "")


def tables(report: Report) -> Iterator[Table]:
    """The figures then and now, the providers, and what was and would be rejected."""
    yield _figures(report)
    if report.then or report.now:
        yield _mix(report)
    if report.rejected_then or report.rejected_now:
        yield _rejected(report.rejected_then, report.rejected_now)


def _figures(report: Report) -> Table:
    then, now = report.total_then, report.total_now
    rows = [
        ("served", cells.count(then.requests), cells.count(report.served_now), NOTHING),
        ("rejected", cells.count(report.rejected_then.total()), cells.count(report.rejected_now.total()), NOTHING),
        ("failed", cells.count(report.failed), NOTHING, NOTHING),
    ]
    compared = report.comparison
    whole = compared.requests == then.requests == now.requests
    for unit, amount, known in (("sats", _sats, then.in_sats or now.in_sats), ("usd", _usd, then.in_usd or now.in_usd)):
        if known:
            change = _percent(compared.change) if whole and unit == compared.currency.value else NOTHING
            rows.append((f"cost in {unit}", amount(then), amount(now), change))
    if compared.requests and not whole:
        label = f"of {compared.requests:,} that compare, in {compared.currency.value}"
        smallest = compared.currency.smallest
        before, after = cells.amount(compared.then / smallest), cells.amount(compared.now / smallest)
        rows.append((label, before, after, _percent(compared.change)))
    if then.unpriced or now.unpriced:
        rows.append(("of unknown cost", cells.count(then.unpriced), cells.count(now.unpriced), NOTHING))
    lost = report.failed_cost
    for unit, amount, known in (("sats", _sats, lost.in_sats), ("usd", _usd, lost.in_usd)):
        if known:
            rows.append((f"failures in {unit}", amount(lost), NOTHING, NOTHING))
    return Table(("requests", "then", "now", "change"), rows, frozenset({"then", "now", "change"}))


def _mix(report: Report) -> Table:
    in_usd = report.comparison.currency is Currency.USD
    amount, unit = (_usd, "usd") if in_usd else (_sats, "sats")
    columns = ("provider", "then", f"{unit} then", "now", f"{unit} now")
    rows = []
    for name in _providers(report):
        then, now = report.then.get(name, Sum()), report.now.get(name, Sum())
        cell = (cells.text(name), cells.count(then.requests), amount(then), cells.count(now.requests), amount(now))
        rows.append(cell)
    return Table(columns, rows, frozenset(columns[1:]))


def _rejected(then: Counter[str], now: Counter[str]) -> Table:
    codes = sorted({*then, *now}, key=lambda code: (-now[code], -then[code], code))
    rows = [(cells.text(code), cells.count(then[code]), cells.count(now[code])) for code in codes]
    return Table(("rejected", "then", "now"), rows, frozenset({"then", "now"}))


def _providers(report: Report) -> list[str]:
    """Who serves most now comes first."""

    def place(name: str) -> tuple[int, int, str]:
        now, then = report.now.get(name), report.then.get(name)
        return -(now.requests if now else 0), -(then.requests if then else 0), name

    return sorted({*report.then, *report.now}, key=place)


def _sats(total: Sum) -> str:
    return cells.amount(sats(MicroSats(total.sats))) if total.in_sats else NOTHING


def _usd(total: Sum) -> str:
    return cells.amount(usd(NanoUsd(total.usd))) if total.in_usd else NOTHING


def _percent(change: Fraction | None) -> str:
    return NOTHING if change is None else f"{float(change) * 100:+.1f}%"


def notes(report: Report, snapshot: Snapshot) -> Iterator[str]:
    """What has to be known to read the figures, a line each."""
    if not report.requests:
        yield "No request was logged in this range."
        return
    if report.moved or report.lost:
        yield f"To another provider: {report.moved:,}. Served then and not now: {report.lost:,}."
    if report.gained:
        yield f"To a provider now, failed or rejected then: {report.gained:,}. What they would cost is not known."
    if report.kept_out:
        codes = ", ".join(f"{cells.text(code)} {count:,}" for code, count in sorted(report.kept_out.items()))
        yield f"Refused before anything was decided, and left out: {report.kept_out.total():,} ({codes})."
    if report.unrecorded:
        yield f"Without a decision in the log, so decided by their input tokens alone: {report.unrecorded:,}."
    if report.by_keyword:
        yield (
            f"With a policy that a keyword chose: {report.by_keyword:,}. The log keeps no texts, so the rule of the"
            f" same name holds; for {report.policy_gone:,} there is none."
        )
    if any(rule.keywords for rule in snapshot.rules):
        yield "Keywords of this configuration choose nothing here: the log keeps no texts."
    if report.total_now.unpriced:
        yield f"To who has no price, so not compared: {report.total_now.unpriced:,}."


def too_dear(report: Report, limit: Fraction | None) -> str:
    """Why a replay fails."""
    each, most = report.comparison, f"{float((limit or Fraction(0)) * 100):g} %"
    if report.tells_nothing:
        return "no request can be compared, so that nobody can say whether it is dearer"
    then, now = amount_text(each.then, each.currency), amount_text(each.now, each.currency)
    if each.change is None:
        return f"it cost nothing and would cost {now}: dearer by more than {most}"
    return f"{now} instead of {then}: dearer by {float(each.change) * 100:.4g} %, more than {most}"
