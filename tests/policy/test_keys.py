from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.identity import Key, new_secret, secret_hash
from arbstr.policy.keys import KeyRing

ONE = new_secret(bytes(range(32))).reveal()
TWO = new_secret(bytes(range(1, 33))).reveal()


def key(secret: str = ONE, **fields: Any) -> Key:
    return Key(**{"id": "key_1", "name": "one", "hash": secret_hash(secret), "created_at": 0.0, **fields})


def test_a_key_is_found_by_its_secret_alone() -> None:
    """As text or as the bytes of a header; the hash that is stored opens nothing."""
    one, two = key(), key(TWO, id="key_2", name="two")
    ring = KeyRing([one, two])

    assert ring.find(ONE, 1.0) is one
    assert ring.find(TWO.encode(), 1.0) is two
    assert ring.find(secret_hash(ONE), 1.0) is None
    assert ring.find(secret_hash(ONE).hex(), 1.0) is None


@pytest.mark.parametrize("secret", ["", "sk-arbstr-", ONE[:-1], ONE + " ", ONE.upper(), "\udcff", "x" * 100_000])
def test_what_is_not_a_secret_is_nobody_s(secret: str) -> None:
    """Whatever a caller sends, also what is not even text."""
    assert KeyRing([key()]).find(secret, 1.0) is None


@given(st.binary() | st.text())
def test_a_guess_is_nobody_s(guess: str | bytes) -> None:
    """However it comes about."""
    assert KeyRing([key()]).find(guess, 1.0) is None


def test_an_empty_ring_opens_to_nobody() -> None:
    """Not even to the hash that stands in for a missing one."""
    assert KeyRing().find(bytes(32), 1.0) is None
    assert KeyRing().find("", 1.0) is None


def test_hashes_that_begin_alike_are_told_apart() -> None:
    """The lookup is by the first bytes of the hash; all of it decides."""
    hashed = hashlib.sha256(ONE.encode()).digest()
    double = key(id="key_2", name="two").hash[:8] + bytes(24)
    one, two = key(), Key(id="key_2", name="two", hash=double, created_at=0.0)

    assert hashed[:8] == double[:8]
    assert KeyRing([one, two]).find(ONE, 1.0) is one
    assert KeyRing([two, one]).find(ONE, 1.0) is one
    assert KeyRing([two]).find(ONE, 1.0) is None


@pytest.mark.parametrize("fields", [{"revoked_at": 5.0}, {"expires_at": 5.0}])
def test_a_key_that_is_no_longer_good_is_found_and_counts_as_existing(fields: dict[str, Any]) -> None:
    """Its holder can be told why it is refused; and the gateway never falls open."""
    ring = KeyRing([key(**fields)])

    assert ring.find(ONE, 9.0) == key(**fields)
    assert ring.exists


def test_a_rotated_secret_is_good_until_its_grace_is_over() -> None:
    """Old and new open the same key meanwhile; at the instant itself the old one is nobody's."""
    rotated = key(TWO, previous_hash=secret_hash(ONE), previous_until=100.0)
    ring = KeyRing([rotated])

    assert [ring.find(ONE, now) for now in (99.9, 100.0)] == [rotated, None]
    assert [ring.find(TWO, now) for now in (99.9, 100.0)] == [rotated, rotated]


def test_a_rotated_secret_without_a_grace_is_nobody_s() -> None:
    """No instant is no time at all, not all the time."""
    assert KeyRing([key(TWO, previous_hash=secret_hash(ONE))]).find(ONE, 1.0) is None


def test_keys_exist_once_there_was_one() -> None:
    """Also where the rows themselves are gone."""
    assert not KeyRing().exists
    assert KeyRing([key()]).exists
    assert KeyRing(exists=True).exists


def test_a_ring_shows_how_many_it_holds_and_nothing_of_them() -> None:
    """It may end up in a traceback."""
    ring = KeyRing([key()])

    assert (len(ring), repr(ring), ring.keys) == (1, "KeyRing(1 keys)", (key(),))
    assert repr(key()) == "Key('key_1', 'one')"
