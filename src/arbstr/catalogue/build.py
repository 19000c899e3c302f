"""Compiles genai-prices' data into the file that ships with arbstr: ``python -m arbstr.catalogue.build``.

What a model charges is taken over where it can be said in rates for tokens. Three decisions stand here, so that nothing
is priced at nothing by accident:

- Without a price for output, only models that put none out (embeddings, reranking) have a price. Elsewhere it is
  unknown.
- A model that has another price for output that is not text (audio, images, video, citations), or is paid by time, has
  none: what a request costs depends on a count that no answer has. What is charged for input of other kinds, for
  searches and for faster service is named in ``also``, and is in no rate.
- A model without any price is free where its name ends in ``:free``, and else unknown.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from arbstr.catalogue.file import FORMAT, SHIPPED, CatalogueError, Clause, Model, Price, Rate, read

if TYPE_CHECKING:
    from genai_prices import types

PACKAGE = "genai-prices"

_TOKENS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
}
"""Of a price in dollars for a million tokens, the rate that it is."""

_REQUESTS = "requests_kcount"
"""Dollars for a thousand requests."""

_ALSO = {
    "web_searches_kcount": "web searches",
    "storage_searches_kcount": "file searches",
    "input_audio_mtok": "audio input",
    "cache_audio_read_mtok": "audio input",
    "input_audio_hours": "audio input",
    "input_image_mtok": "image input",
    "cache_image_read_mtok": "image input",
    "input_video_mtok": "video input",
}
"""What may be charged beside the tokens of a conversation in text."""

_BEYOND = frozenset(
    {
        *("output_audio_mtok", "output_image_mtok", "output_video_mtok", "output_citation_mtok", "audio_hours"),
        *("input_mchars", "input_document_kpages", "input_annotated_document_kpages", "input_text_messages_kcount"),
    }
)
"""What no rate for tokens can say. ``audio_hours`` beside ``input_audio_hours`` is the same hours, and input alone."""

_NO_OUTPUT = re.compile(r"embed|rerank|(?:^|[/-])(?:bge|gte|voyage)-")
"""Names of models that put out no tokens."""

_BATCH = {"processing": "batch"}


def compiled(providers: Iterable[types.Provider], *, version: str, taken: date) -> bytes:
    """The file, to the byte the same for the same data. Raises ValueError for a price that is not known here."""
    head = {"format": FORMAT, "source": f"{PACKAGE} {version}", "date": taken}
    blocks = [_provider(provider) for provider in providers]
    return b"".join([_json(head)[:-1], b',"providers":{\n', b",\n".join(blocks), b"\n}}\n"])


def _provider(provider: types.Provider) -> bytes:
    fallback = provider.fallback_model_providers
    head = {"name": provider.name, "url": provider.api_pattern} | ({"fallback": fallback} if fallback else {})
    lines = [_json(_model(model)) for model in provider.models]
    return b"".join([_json(provider.id), b":", _json(head)[:-1], b',"models":[\n', b",\n".join(lines), b"\n]}"])


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _model(model: types.ModelInfo) -> Model:
    from genai_prices.types import ModelPrice

    own = model.id.lower()
    match = tuple("=" if clause == f"={own}" else clause for clause in _clauses(model.match))
    variants = model.price_variants or []
    services = [f"{key} {value}" for each in variants if _is_service(each) for key, value in each.when.items()]
    steps: list[tuple[Any, types.ModelPrice]]
    if isinstance(model.prices, ModelPrice):
        steps = [(None, model.prices)]
    else:
        steps = [(each.constraint, each.prices) for each in model.prices]
    return Model(
        id=model.id,
        match=match,
        context_window=model.context_window,
        prices=tuple(_price(own, prices, constraint, also=services) for constraint, prices in steps),
        batch=tuple(_batch(variant) for variant in variants if variant.when == _BATCH),
    )


def _is_service(variant: types.PriceVariant) -> bool:
    """Tokens cost something else where a request asks for it."""
    return variant.when != _BATCH and not _TOKENS.keys().isdisjoint(_given(variant.prices))


def _given(prices: types.ModelPrice) -> dict[str, Decimal | types.TieredPrices]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _clauses(match: types.MatchLogic) -> tuple[Clause, ...]:
    """The alternatives of a match."""
    from genai_prices.types import ClauseAnd, ClauseOr

    if isinstance(match, ClauseOr):
        return tuple(clause for each in match.or_ for clause in _clauses(each))
    if isinstance(match, ClauseAnd):
        return (tuple(_clause(each) for each in match.and_),)
    return (_clause(match),)


def _clause(match: types.MatchLogic) -> str:
    from genai_prices import types as kinds

    if isinstance(match, kinds.ClauseEquals):
        return "=" + match.equals.lower()
    if isinstance(match, kinds.ClauseStartsWith):
        return "^" + match.starts_with.lower()
    if isinstance(match, kinds.ClauseEndsWith):
        return "$" + match.ends_with.lower()
    if isinstance(match, kinds.ClauseContains):
        return "*" + match.contains.lower()
    if isinstance(match, kinds.ClauseRegex):
        return "/" + match.regex
    raise ValueError(f"a {type(match).__name__} cannot be said here: {match}")


def _price(model: str, prices: types.ModelPrice, constraint: Any, *, also: Sequence[str] = ()) -> Price:
    given = _given(prices)
    rates, when = _rates(given), _when(constraint)
    if not given:
        return Price(input=0, output=0, **when) if model.endswith(":free") else Price(**when)
    if _BEYOND & (given.keys() - ({"audio_hours"} if "input_audio_hours" in given else set())):
        return Price(**when)
    if "output" not in rates and _NO_OUTPUT.search(model):
        rates["output"] = 0
    beside = (*(_ALSO[key] for key in given if key in _ALSO), *also)
    return Price(**rates, **when, also=tuple(dict.fromkeys(beside)))


def _batch(variant: types.PriceVariant) -> Price:
    """What is different for batches, as far as it is about tokens."""
    return Price(**_rates(_given(variant.prices)), **_when(variant.constraint))


def _rates(given: Mapping[str, Decimal | types.TieredPrices]) -> dict[str, Any]:
    unknown = given.keys() - {*_TOKENS, *_ALSO, *_BEYOND, _REQUESTS}
    if unknown:
        raise ValueError(f"prices by {', '.join(sorted(unknown))} are not known here: say in {__name__} what they are")
    rates: dict[str, Any] = {_TOKENS[key]: _rate(value) for key, value in given.items() if key in _TOKENS}
    for_a_request = given.get(_REQUESTS)
    return rates | ({"request": round(for_a_request * 10**9)} if isinstance(for_a_request, Decimal) else {})


def _rate(price: Decimal | types.TieredPrices) -> Rate:
    """Pico-dollars for a token, from dollars for a million. Digits beyond are rounded."""
    if isinstance(price, Decimal):
        return round(price * 10**6)
    tiers = [number for tier in price.tiers for number in (tier.start, round(tier.price * 10**6))]
    return (round(price.base * 10**6), *tiers)


def _when(constraint: types.StartDateConstraint | types.TimeOfDateConstraint | None) -> dict[str, Any]:
    from genai_prices.types import StartDateConstraint

    if constraint is None:
        return {}
    if isinstance(constraint, StartDateConstraint):
        return {"since": constraint.start_date}
    return {"hours": (_in_utc(constraint.start_time), _in_utc(constraint.end_time))}


def _in_utc(moment: time) -> time:
    aware = moment.replace(tzinfo=moment.tzinfo or UTC)
    return datetime.combine(date(2000, 1, 2), aware).astimezone(UTC).time()


def main(words: Sequence[str] | None = None) -> int:
    """Write the file; 0, or 1 with a line on stderr. The day stays the same while the data's version does."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description="Compile the price catalogue.")
    parser.add_argument("path", nargs="?", type=Path, default=SHIPPED, help="the file to write (the shipped one)")
    parser.add_argument("--date", type=date.fromisoformat, help="the day as of which the prices are known (today)")
    options = parser.parse_args(words)
    try:
        from genai_prices.data import providers
    except ImportError:
        print(f"{PACKAGE} is missing: pip install 'arbstr[prices]'", file=sys.stderr)
        return 1
    version = metadata.version(PACKAGE)
    path: Path = options.path
    taken = options.date or _day_before(path, version) or datetime.now(UTC).date()
    content = compiled(providers, version=version, taken=taken)
    try:
        path.write_bytes(content)
    except OSError as error:
        print(f"{path} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{path}: {PACKAGE} {version} as of {taken}, {len(content):,} bytes")
    return 0


def _day_before(path: Path, version: str) -> date | None:
    """The day in the file that is there, if it is of the same data."""
    try:
        before = read(path)
    except (OSError, CatalogueError):
        return None
    return before.date if before.source == f"{PACKAGE} {version}" else None


if __name__ == "__main__":
    sys.exit(main())
