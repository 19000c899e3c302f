"""The table of keys: what is kept of them, and how they change."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from arbstr.domain.errors import Conflict, InvalidRequest, NotFound
from arbstr.domain.identity import Budgets, Key, Standing
from arbstr.domain.limits import Limits
from arbstr.domain.money import Currency
from arbstr.domain.secret import Secret
from arbstr.policy.key_changes import KeyChange
from arbstr.store import keys
from arbstr.store.connection import open_writer
from arbstr.store.errors import StoreError
from arbstr.store.migrate import migrate, shipped
from tests.store.records import child

NOW = 1_800_000_000.25

FULL = KeyChange(
    name="team-a",
    models=("gpt-*", 'o"3'),
    policy="frugal",
    budget_hour=Decimal("0.000001"),
    budget_total=Decimal(10**9),
    budget_currency=Currency.USD,
    rpm=10,
    tpm=20,
    max_parallel=3,
    expires_at=NOW + 60.5,
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with keys.changing(tmp_path / "arbstr.db") as connection:
        yield connection


def create(connection: sqlite3.Connection, name: str, now: float = NOW) -> tuple[Key, Secret]:
    return keys.create(connection, KeyChange(name=name), now=now, currency=Currency.SATS)


def update(connection: sqlite3.Connection, name: str, change: KeyChange) -> Key:
    return keys.update(connection, name, change, currency=Currency.SATS)


def test_a_key_is_read_as_it_was_written(connection: sqlite3.Connection) -> None:
    """Every setting, to the last digit."""
    key, secret = keys.create(connection, FULL, now=NOW, currency=Currency.SATS)

    assert key == Key(
        id=key.id,
        name="team-a",
        hash=hashlib.sha256(secret.reveal().encode()).digest(),
        created_at=NOW,
        models=("gpt-*", 'o"3'),
        policy="frugal",
        budgets=Budgets(Currency.USD, hour=1_000, total=10**18),
        limits=Limits(rpm=10, tpm=20, max_parallel=3),
        expires_at=NOW + 60.5,
    )
    assert keys.get(connection, key.id) == keys.get(connection, "team-a") == key
    assert keys.load(connection)[1] == [key]


def test_no_two_keys_are_alike(connection: sqlite3.Connection) -> None:
    """Neither their ids nor their secrets."""
    made = [create(connection, str(number)) for number in range(20)]

    assert len({key.id for key, _ in made}) == len({secret.reveal() for _, secret in made}) == 20


def test_nothing_of_a_secret_is_in_the_file(tmp_path: Path) -> None:
    """Only its hash: whoever steals the file, or a backup of it, has no key."""
    with keys.changing(tmp_path / "arbstr.db") as connection:
        key, first = create(connection, "team-a")
        _, second = keys.rotate(connection, "team-a", grace=60, now=NOW)
        written = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert key.hash in written
    for secret in (first, second):
        text = secret.reveal().removeprefix("sk-arbstr-").encode()
        assert text not in written
        assert text[:12] not in written


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The command line may be what creates it."""
    with keys.changing(tmp_path / "arbstr.db") as connection:
        create(connection, "team-a")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}

    assert modes == {"arbstr.db": 0o600, "arbstr.db-wal": 0o600, "arbstr.db-shm": 0o600}


def test_a_revocation_waits_for_the_disk(connection: sqlite3.Connection) -> None:
    """Unlike a row of the log, it must not be undone by a power cut."""
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_name_is_used_once(connection: sqlite3.Connection) -> None:
    """At a time: a revoked key gives its name back."""
    first, _ = create(connection, "team-a")

    with pytest.raises(Conflict, match="There is a key with the name 'team-a' already"):
        create(connection, "team-a")
    keys.revoke(connection, "team-a", now=NOW)
    second, _ = create(connection, "team-a")

    assert keys.load(connection)[1] == [keys.get(connection, first.id), second]


def test_the_schema_itself_keeps_names_apart(connection: sqlite3.Connection) -> None:
    """Whatever writes into the table."""
    create(connection, "team-a")

    with pytest.raises(sqlite3.IntegrityError, match=r"keys\.name"):
        connection.execute("INSERT INTO keys (id, name, hash, created_at) VALUES ('key_x', 'team-a', x'00', '2026')")


def test_a_name_means_the_key_that_is_good(connection: sqlite3.Connection) -> None:
    """Else, of those that were revoked, the latest; an id always means its own key."""
    old, _ = create(connection, "team-a")
    keys.revoke(connection, "team-a", now=NOW + 1)
    new, _ = create(connection, "team-a")
    found = keys.get(connection, "team-a")
    keys.revoke(connection, "team-a", now=NOW + 2)

    assert found == new
    assert keys.get(connection, "team-a").id == new.id
    assert keys.get(connection, old.id).id == old.id


def test_an_id_comes_before_a_name(connection: sqlite3.Connection) -> None:
    """Nobody can be given a name by which somebody else's key is meant."""
    key, _ = create(connection, "team-a")
    connection.execute("UPDATE keys SET revoked_at = created_at")
    connection.execute(
        "INSERT INTO keys (id, name, hash, created_at) VALUES ('key_x', ?, x'00', '2026-01-01T00:00:00Z')", [key.id]
    )

    assert keys.get(connection, key.id).name == "team-a"


@pytest.mark.parametrize("name", ["nobody", "", "key_0000000000000000", "\udcff", "' OR 1=1 --"])
def test_who_does_not_exist_is_not_found(connection: sqlite3.Connection, name: str) -> None:
    """For every call alike."""
    create(connection, "team-a")

    for call in (
        lambda: keys.get(connection, name),
        lambda: update(connection, name, KeyChange(rpm=1)),
        lambda: keys.revoke(connection, name, now=NOW),
        lambda: keys.rotate(connection, name, grace=0, now=NOW),
    ):
        with pytest.raises(NotFound, match="There is no key with the name or id"):
            call()


def test_a_key_needs_a_name(connection: sqlite3.Connection) -> None:
    """And there is none afterwards."""
    with pytest.raises(InvalidRequest, match="needs a name") as caught:
        keys.create(connection, KeyChange(rpm=1), now=NOW, currency=Currency.SATS)

    assert caught.value.param == "name"
    assert keys.load(connection) == (0, [])


def test_an_update_changes_what_it_names(connection: sqlite3.Connection) -> None:
    """And is handed back as it is in the table."""
    before, _ = keys.create(connection, FULL, now=NOW, currency=Currency.SATS)

    after = update(connection, "team-a", KeyChange(name="team-b", rpm=None, budget_day=Decimal(2)))

    assert after == keys.get(connection, "team-b")
    assert (after.id, after.hash, after.models) == (before.id, before.hash, before.models)
    assert after.limits == Limits(tpm=20, max_parallel=3)
    assert after.budgets == Budgets(Currency.USD, hour=1_000, day=2_000_000_000, total=10**18)


def test_an_update_takes_no_name_that_is_in_use(connection: sqlite3.Connection) -> None:
    """All of it is refused then; its own name is its own."""
    create(connection, "team-a")
    key, _ = create(connection, "team-b")

    with pytest.raises(Conflict, match="'team-a' already"):
        update(connection, "team-b", KeyChange(name="team-a", rpm=1))
    unchanged = keys.get(connection, "team-b")

    assert unchanged == key
    assert update(connection, "team-b", KeyChange(name="team-b")) == key


def test_a_change_at_odds_with_the_key_changes_nothing(connection: sqlite3.Connection) -> None:
    """The transaction is undone, and the connection can be used on."""
    key, _ = keys.create(connection, FULL, now=NOW, currency=Currency.SATS)

    with pytest.raises(InvalidRequest, match="in usd"):
        update(connection, "team-a", KeyChange(budget_currency=Currency.SATS, rpm=1))

    assert keys.load(connection) == (1, [key])


def test_revoked_is_for_good(connection: sqlite3.Connection) -> None:
    """A second time changes nothing; it is not changed or rotated any more."""
    create(connection, "team-a")
    first = keys.revoke(connection, "team-a", now=NOW + 1)
    generation = keys.generation(connection)

    assert keys.revoke(connection, "team-a", now=NOW + 2) == first
    assert (first.revoked_at, first.standing(NOW)) == (NOW + 1, Standing.REVOKED)
    with pytest.raises(Conflict, match="is revoked, which is for good"):
        update(connection, "team-a", KeyChange(rpm=1))
    with pytest.raises(Conflict, match="is revoked, which is for good"):
        keys.rotate(connection, first.id, grace=0, now=NOW)
    assert keys.generation(connection) == generation


@pytest.mark.parametrize(("grace", "until"), [(0.0, None), (60.5, NOW + 60.5)])
def test_a_rotation_gives_a_new_secret_to_the_same_key(
    connection: sqlite3.Connection, grace: float, until: float | None
) -> None:
    """The old one is good for as long as it was said, which may be no time at all."""
    before, old = create(connection, "team-a")

    after, new = keys.rotate(connection, "team-a", grace=grace, now=NOW)

    assert new != old
    assert after.id == before.id
    assert after.hash == hashlib.sha256(new.reveal().encode()).digest()
    assert after.previous_until == until
    assert after.previous_hash == (before.hash if grace else None)


def test_a_second_rotation_ends_the_grace_of_the_first(connection: sqlite3.Connection) -> None:
    """There are never more than two secrets."""
    create(connection, "team-a")
    middle, _ = keys.rotate(connection, "team-a", grace=60, now=NOW)

    last, _ = keys.rotate(connection, "team-a", grace=60, now=NOW)

    assert last.previous_hash == middle.hash


def test_every_change_is_a_generation(connection: sqlite3.Connection) -> None:
    """By it a gateway sees that it has to look again; looking changes nothing."""
    seen = [keys.generation(connection)]
    for change in (
        lambda: create(connection, "team-a"),
        lambda: update(connection, "team-a", KeyChange(rpm=1)),
        lambda: keys.rotate(connection, "team-a", grace=0, now=NOW),
        lambda: keys.revoke(connection, "team-a", now=NOW),
        lambda: keys.load(connection),
    ):
        change()
        seen.append(keys.generation(connection))

    assert seen == [0, 1, 2, 3, 4, 4]


def test_keys_are_listed_as_they_came(connection: sqlite3.Connection) -> None:
    """The oldest first, also of those that came in the same moment."""
    for name, now in (("c", NOW + 2), ("b", NOW), ("a", NOW)):
        create(connection, name, now)

    assert [key.name for key in keys.load(connection)[1]] == ["b", "a", "c"]


def test_a_file_that_is_missing_has_no_keys_and_is_not_created(tmp_path: Path) -> None:
    """Who looks into the wrong folder leaves nothing there."""
    with keys.reading(tmp_path / "arbstr.db") as connection:
        found = keys.load(connection)

    assert found == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_a_file_from_before_there_were_keys_has_none(tmp_path: Path) -> None:
    """A look does not bring it up to date; a server that is older may be at work on it."""
    with closing(sqlite3.connect(tmp_path / "arbstr.db", isolation_level=None)) as old:
        migrate(old, shipped()[:1])
        with keys.reading(tmp_path / "arbstr.db") as connection, pytest.raises(NotFound):
            keys.get(connection, "team-a")

        assert old.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_file_of_somebody_else_is_one_clear_line(tmp_path: Path) -> None:
    """For looks and for changes."""
    path = tmp_path / "arbstr.db"
    path.write_text("this is no database at all, and long enough to be told from one")

    for open_file in (keys.reading, keys.changing):
        with pytest.raises(StoreError) as caught, open_file(path):
            pass

        assert str(caught.value) == f"{path}: file is not a database"


def test_a_row_that_is_no_key_is_named(tmp_path: Path) -> None:
    """Somebody wrote into the table by hand."""
    path = tmp_path / "arbstr.db"
    with keys.changing(path) as connection:
        key, _ = create(connection, "team-a")
        connection.execute("UPDATE keys SET models = '{'")

    for open_file in (keys.reading, keys.changing):
        with pytest.raises(StoreError) as caught, open_file(path) as connection:
            keys.load(connection)

        assert str(caught.value).startswith(f"{path}: the row of the key {key.id} cannot be read: ")


def test_a_change_waits_for_whoever_writes(tmp_path: Path) -> None:
    """A server that writes its rows is no reason to fail."""
    path = tmp_path / "arbstr.db"
    writer = child("busy_writer", str(path))
    assert writer.stdout
    writer.stdout.readline()

    with keys.changing(path) as connection:
        for number in range(20):
            create(connection, str(number))
        found = len(keys.load(connection)[1])
    writer.kill()
    writer.communicate()

    assert found == 20


def _create_impatiently(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 1")
    create(connection, "team-a")


def test_a_file_that_is_locked_for_good_is_one_clear_line(tmp_path: Path) -> None:
    """After the wait."""
    path = tmp_path / "arbstr.db"
    open_writer(path, wait=1).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught, keys.changing(path) as connection:
            _create_impatiently(connection)

    assert str(caught.value) == f"{path}: database is locked"
