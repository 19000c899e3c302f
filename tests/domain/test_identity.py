from __future__ import annotations

import fnmatch
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.identity import Budgets, Key, Standing, checked_name, new_secret, secret_hash
from arbstr.domain.money import Currency


def key(**fields: Any) -> Key:
    return Key(id="key_1", name="one", hash=bytes(32), created_at=0.0, **fields)


@pytest.mark.parametrize(
    ("fields", "now", "standing"),
    [
        ({}, 1e12, Standing.ACTIVE),
        ({"expires_at": 10.0}, 9.9, Standing.ACTIVE),
        ({"expires_at": 10.0}, 10.0, Standing.EXPIRED),
        ({"revoked_at": 5.0}, 1.0, Standing.REVOKED),
        ({"expires_at": 10.0, "revoked_at": 5.0}, 20.0, Standing.REVOKED),
    ],
)
def test_a_key_is_good_until_it_expires_or_is_revoked(fields: dict[str, float], now: float, standing: Standing) -> None:
    """At the instant of its end it is over; a revocation is for ever, whatever a clock says."""
    assert key(**fields).standing(now) is standing


@pytest.mark.parametrize(
    ("models", "allowed", "refused"),
    [
        (None, ["gpt-4o", ""], []),
        (("gpt-4o",), ["gpt-4o"], ["gpt-4o-mini", "GPT-4o", "gpt-4", ""]),
        (("gpt-*", "o[134]"), ["gpt-", "gpt-4o\nx", "o3"], ["o2", "o[134]", "xgpt-4", "chatgpt-4o"]),
        (("a", "b-?"), ["a", "b-1"], ["b-", "b-12", "aa"]),
        (("a.c",), ["a.c"], ["abc"]),
        (("a.c*",), ["a.c1"], ["abc1"]),
    ],
)
def test_a_key_is_for_the_models_that_it_names_or_describes(
    models: tuple[str, ...] | None, allowed: list[str], refused: list[str]
) -> None:
    """The whole name counts, and its case; None is for all."""
    assert [model for model in [*allowed, *refused] if key(models=models).allows(model)] == allowed


@given(st.lists(st.text("ab*?[]!-", min_size=1, max_size=6), min_size=1, max_size=3), st.text("ab[-", max_size=5))
def test_patterns_are_the_shell_s(patterns: list[str], model: str) -> None:
    """As fnmatchcase reads them, one by one."""
    expected = any(fnmatch.fnmatchcase(model, pattern) for pattern in patterns)

    assert key(models=tuple(patterns)).allows(model) is expected


def test_no_pattern_takes_for_ever() -> None:
    """One that could be matched in more ways than anybody can count is answered like any other."""
    assert not key(models=("*a" * 90 + "b",)).allows("a" * 5000)


def test_a_secret_is_256_bits_of_text() -> None:
    """Different bits, different secrets; its repr shows none of them."""
    secret = new_secret(bytes(range(32)))

    assert re.fullmatch(r"sk-arbstr-[A-Za-z0-9_-]{43}", secret.reveal())
    assert secret != new_secret(bytes(range(1, 33)))
    assert repr(secret) == "Secret('sk-arb***')"


def test_a_secret_hashes_alike_as_text_and_as_bytes() -> None:
    """Headers are bytes, options are text."""
    assert secret_hash("sk-arbstr-é") == secret_hash("sk-arbstr-é".encode())
    assert len(secret_hash("\udc80")) == 32


def test_budgets_are_listed_by_window() -> None:
    """The shortest first."""
    assert list(Budgets(Currency.USD, day=2, total=4).amounts()) == [
        ("hour", None),
        ("day", 2),
        ("month", None),
        ("total", 4),
    ]


@pytest.mark.parametrize("name", ["a", "team-a", "alice@example.com", "Équipe données", "日本", "x" * 100, "none"])
def test_most_names_are_fine(name: str) -> None:
    """People call their programs many things."""
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " a",
        "a ",
        "x" * 101,
        "a/b",
        "-a",
        ".",
        "..",
        "a\nb",
        "a\0b",
        "\u202ea",
        "\ud800",
        "key_1",
        "sk-arbstr-secret",
    ],
)
def test_a_name_that_cannot_be_written_everywhere_is_refused(name: str) -> None:
    """In a URL, on a command line, in a log. It is not shown: somebody may have pasted a secret."""
    with pytest.raises(ValueError, match="expected 1 to 100 printable characters") as caught:
        checked_name(name)

    assert name.strip("/. -") in ("", "a", "a/b") or name not in str(caught.value)
