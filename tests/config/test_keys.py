"""A key's settings as people write them, and a key as people read it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.config.keys import key_change, key_entry
from arbstr.domain.errors import InvalidRequest
from arbstr.domain.identity import Budgets, Key
from arbstr.domain.limits import Limits
from arbstr.domain.money import Currency
from arbstr.policy.key_changes import KeyChange, changed

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z

FULL = Key(
    id="key_1",
    name="team-a",
    hash=b"h" * 32,
    created_at=NOW,
    models=("gpt-*",),
    policy="frugal",
    budgets=Budgets(Currency.USD, hour=1_500_000_000, total=0),
    limits=Limits(rpm=10, tpm=20, max_parallel=3),
    expires_at=NOW + 60.25,
)


def read(fields: dict[str, Any]) -> KeyChange:
    return key_change(fields, now=NOW, policies=("frugal", "fast"))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("name", "team-a", "team-a"),
        ("models", "gpt-4o", ("gpt-4o",)),
        ("models", "gpt-4o, claude-*,gpt-4o", ("gpt-4o", "claude-*")),
        ("models", ["gpt-4o", "a,b"], ("gpt-4o", "a,b")),
        ("models", "*", None),
        ("models", ["gpt-4o", "*"], None),
        ("models", None, None),
        ("policy", "frugal", "frugal"),
        ("policy", "none", None),
        ("policy", None, None),
        ("budget_hour", 10, Decimal(10)),
        ("budget_day", 2.5, Decimal("2.5")),
        ("budget_month", "2.50", Decimal("2.50")),
        ("budget_total", "1e3", Decimal(1000)),
        ("budget_total", "0", Decimal(0)),
        ("budget_total", "none", None),
        ("budget_total", None, None),
        ("budget_currency", "usd", Currency.USD),
        ("budget_currency", None, msgspec.UNSET),
        ("rpm", 60, 60),
        ("rpm", "60", 60),
        ("tpm", "none", None),
        ("max_parallel", None, None),
    ],
)
def test_a_field_is_read_as_text_or_as_what_it_spells(field: str, value: Any, expected: Any) -> None:
    """Options of the command line are texts, fields of JSON need not be; ``none`` takes a restriction away."""
    assert read({field: value}) == KeyChange(**{field: expected})


@pytest.mark.parametrize("field", ["expires", "expires_at"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("30d", NOW + 30 * 86_400),
        ("90s", NOW + 90),
        ("2027-01-15T09:00:00Z", NOW + 3600),
        ("2027-01-15T10:00:00.250000+01:00", NOW + 3600.25),
        ("never", None),
        ("none", None),
        (None, None),
    ],
)
def test_a_key_expires_after_a_time_or_at_an_instant(field: str, value: object, expected: float | None) -> None:
    """``expires_at`` is what an entry calls it: what was read can be written back."""
    assert read({field: value}) == KeyChange(expires_at=expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": 1}, "name: is not a text, expected a name such as team-a"),
        ({"name": "a/b"}, "name: cannot be written in a URL or on a command line, expected 1 to 100 printable"),
        ({"models": 1}, "models: is not a list of texts, expected names or patterns"),
        ({"models": ["a", 1]}, "models: is not a list of texts, expected names or patterns"),
        (
            {"models": []},
            'without any model the key would be good for nothing, expected names or patterns such as "gpt',
        ),
        ({"models": "none"}, "without any model the key would be good for nothing"),
        ({"models": ""}, 'models: "" is not the name of a model'),
        ({"models": "a,,b"}, 'models: "" is not the name of a model'),
        ({"models": [" a"]}, 'models: " a" is not the name of a model'),
        ({"models": ["a\nb"]}, "is not the name of a model"),
        ({"models": ["x" * 201]}, "models: a text of 201 characters is not the name of a model"),
        ({"models": [str(number) for number in range(1001)]}, "there are 1001 of them, expected at most 1000"),
        ({"policy": "slow"}, 'policy: "slow" is not a policy, expected one of fast, frugal'),
        ({"policy": 1}, "policy: 1 is not a policy, expected one of fast, frugal"),
        ({"budget_hour": "ten"}, "budget_hour: is not a number, expected an amount such as 1000 or 2.50, or none"),
        ({"budget_hour": "1" * 41}, "budget_hour: is not a number"),
        ({"budget_hour": True}, "budget_hour: is a boolean, expected an amount"),
        ({"budget_hour": "NaN"}, "budget_hour: NaN is not a finite number, expected an amount"),
        ({"budget_hour": float("inf")}, "budget_hour: Infinity is not a finite number, expected an amount"),
        ({"budget_hour": -1}, "budget_hour: -1 is out of range, expected from 0 to 1000000000"),
        ({"budget_hour": "1e10"}, "is out of range, expected from 0 to 1000000000"),
        ({"budget_hour": "0.0000000001"}, "is more exact than budgets are kept, expected at most 9 decimals"),
        ({"budget_currency": "eur"}, 'budget_currency: "eur" is not a currency, expected sats or usd'),
        ({"budget_currency": []}, "budget_currency: a list is not a currency, expected sats or usd"),
        ({"rpm": 0}, "rpm: 0 is out of range, expected a whole number from 1 to 2147483647"),
        ({"rpm": "1.5"}, "rpm: is a string, expected a whole number"),
        ({"rpm": Decimal("1.5")}, "rpm: is a number, expected a whole number"),
        ({"rpm": True}, "rpm: is a boolean, expected a whole number"),
        ({"tpm": "9" * 21}, "tpm: is a string, expected a whole number"),
        ({"tpm": 2**31}, "tpm: 2147483648 is out of range"),
        ({"expires": 30}, 'expires: is not a text, expected a duration up to "365d", an instant such as "2030-'),
        ({"expires": "30"}, 'expires: "30" has no unit, expected a duration up to "365d", an instant'),
        ({"expires": "soon"}, 'expires: "soon" is not a duration, expected a duration up to "365d"'),
        ({"expires": "0s"}, 'expires: "0s" is no time at all, expected a duration up to "365d"'),
        ({"expires": "400d"}, 'expires: "400d" is too long, expected a duration up to "365d"'),
        ({"expires": "2030-01-31"}, 'expires: "2030-01-31" does not say in which time zone, expected'),
        ({"expires": "2027-01-15T08:00:00Z"}, 'expires: "2027-01-15T08:00:00Z" has passed, or will never come'),
        ({"expires": "9999-12-31T23:59:59Z"}, "has passed, or will never come"),
        ({"budget_hours": 1}, '"budget_hours" is not a setting of a key, did you mean "budget_hour"?'),
        ({"id": "x"}, '"id" is not a setting of a key, expected one of name, models, policy, budget_hour'),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_expected(fields: dict[str, Any], message: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidRequest) as caught:
        read(fields)

    assert message in str(caught.value)
    assert caught.value.param == next(iter(fields))


def test_a_long_name_that_is_none_is_not_thrown_back() -> None:
    """Whoever sends one may send anything."""
    with pytest.raises(InvalidRequest, match="a text of 60000 characters is not a setting of a key") as caught:
        read({"x" * 60_000: 1})

    assert caught.value.param == "x" * 40


def test_without_rules_there_is_no_policy() -> None:
    """And the message does not end in an empty list."""
    with pytest.raises(InvalidRequest, match="expected none, as there are no rules in"):
        key_change({"policy": "frugal"}, now=NOW, policies=())


@given(st.dictionaries(st.sampled_from(["models", "budget_hour", "rpm", "expires", "name"]), st.text() | st.floats()))
def test_whatever_is_written_is_read_or_refused(fields: dict[str, Any]) -> None:
    """Nothing else comes of it."""
    outcome: object
    try:
        outcome = read(fields)
    except InvalidRequest as error:
        outcome = error.param

    assert isinstance(outcome, KeyChange) or outcome in fields


def test_an_entry_has_everything_but_the_secret() -> None:
    """Not its hash either; it is ready for JSON."""
    entry = key_entry(FULL, now=NOW)

    assert entry == {
        "id": "key_1",
        "name": "team-a",
        "standing": "active",
        "models": ["gpt-*"],
        "policy": "frugal",
        "budget_currency": "usd",
        "budget_hour": 1.5,
        "budget_day": None,
        "budget_month": None,
        "budget_total": 0.0,
        "rpm": 10,
        "tpm": 20,
        "max_parallel": 3,
        "created_at": "2027-01-15T08:00:00.000000Z",
        "expires_at": "2027-01-15T08:01:00.250000Z",
        "revoked_at": None,
        "previous_until": None,
    }
    assert json.loads(json.dumps(entry)) == entry


def test_an_entry_of_a_key_without_restrictions_has_nulls() -> None:
    """Every field is there, always."""
    plain = Key(id="key_1", name="team-a", hash=b"", created_at=NOW)

    entry = key_entry(plain, now=NOW)

    assert list(entry) == list(key_entry(FULL, now=NOW))
    assert {name for name, value in entry.items() if value is not None} == {"id", "name", "standing", "created_at"}


@pytest.mark.parametrize(("now", "shown"), [(NOW, "2027-01-15T08:00:01.000000Z"), (NOW + 1, None)])
def test_an_entry_shows_a_grace_for_as_long_as_it_lasts(now: float, shown: str | None) -> None:
    """Afterwards the old secret is nobody's business any more."""
    key = msgspec.structs.replace(FULL, previous_hash=b"o" * 32, previous_until=NOW + 1)

    assert key_entry(key, now=now)["previous_until"] == shown


@pytest.mark.parametrize("key", [FULL, Key(id="key_1", name="team-a", hash=b"", created_at=NOW)], ids=["full", "plain"])
def test_an_entry_s_settings_can_be_written_back(key: Key) -> None:
    """Who reads a key, changes one field and sends all of them changes that one."""
    fixed = {"id", "standing", "created_at", "revoked_at", "previous_until"}
    settings = {name: value for name, value in key_entry(key, now=NOW).items() if name not in fixed}

    assert changed(key, read(settings), currency=Currency.SATS) == key
