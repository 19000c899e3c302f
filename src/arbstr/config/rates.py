"""What a configured model charges, where the configuration says it: as the model says, else as its provider says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from arbstr.config import kinds, schema
from arbstr.config.problems import Path, Problems
from arbstr.domain.money import Rates

_TOKENS = ("input_rate", "output_rate")
_KEYS = (*_TOKENS, "base_fee")
"""What is in satoshis per 1,000 tokens, and per request. ``rates`` stands instead of all of them."""

Table = schema.Provider | schema.Model


def check_rates(providers: Mapping[kinds.Name, schema.Provider], problems: Problems) -> None:
    """Each table that has rates has them in one of the two forms, and in whole where found models take them."""
    for path, table in _tables(providers):
        given = _given(table)
        if table.rates is not None and given:
            problems.add((*path, "rates"), f"is given beside {', '.join(given)}, expected one of the two forms")
    for name, provider in providers.items():
        if provider.auto_discover and provider.rates is None:
            _in_satoshis({("providers", name): provider}, problems)  # for models that are yet to be found


def _tables(providers: Mapping[kinds.Name, schema.Provider]) -> Iterator[tuple[Path, Table]]:
    for name, provider in providers.items():
        yield ("providers", name), provider
        for model, entry in provider.models.items():
            yield ("providers", name, "models", model), entry


def rates_of(path: Path, entry: schema.Model, provider: schema.Provider, problems: Problems) -> Rates | None:
    """What the model at ``path`` charges, or None where neither it nor its provider says anything."""
    if entry.rates is not None:
        return entry.rates.compiled()
    if provider.rates is None:
        return _in_satoshis({path: entry, path[:2]: provider}, problems)
    return _in_satoshis({path: entry}, problems) if _given(entry) else provider.rates.compiled()


def _in_satoshis(tables: Mapping[Path, Table], problems: Problems) -> Rates | None:
    """Each of the three keys from the first table that has it; None where none has any."""
    given = {path: _given(table) for path, table in tables.items()}
    found = {key: value for values in reversed(given.values()) for key, value in values.items()}
    unread = {key for key in _TOKENS for path in tables if problems.within((*path, key))}
    if not found and not unread:
        return None
    speaking = [path for path, values in given.items() if values] or list(tables)
    missing = [key for key in _TOKENS if key not in found and key not in unread]
    if len(missing) == len(_TOKENS):
        wrong = "is given without input_rate and output_rate, expected the three together"
        problems.add((*speaking[0], "base_fee"), wrong)
        return None
    for key in missing:
        wanted = f"satoshis per 1,000 {key.removesuffix('_rate')} tokens ({key} = 0 if it is free)"
        problems.add((*speaking[-1], key), f"is missing, expected {wanted}")
    input, output, base_fee = (found.get(key, Decimal(0)) for key in _KEYS)
    return Rates.per_thousand(input=input, output=output, base_fee=base_fee)


def _given(table: Table) -> dict[str, Decimal]:
    """Those of the three keys that it has. A provider's fee of 0 says nothing: that is what it is by default."""
    values = {key: getattr(table, key) for key in _KEYS}
    if isinstance(table, schema.Provider) and not table.base_fee:
        del values["base_fee"]
    return {key: value for key, value in values.items() if value is not None}
