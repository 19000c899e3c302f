"""What a running gateway knows of its keys, and that it never falls open."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from arbstr.domain.identity import Standing
from arbstr.domain.money import Currency
from arbstr.domain.secret import Secret
from arbstr.policy.key_changes import KeyChange
from arbstr.policy.keys import KeyRing
from arbstr.store import keys
from arbstr.store.connection import open_writer
from arbstr.store.errors import StoreError
from arbstr.store.key_watch import PATIENCE, KeyWatch
from tests.store.records import Problems

NOW = 1_800_000_000.0
LOST = "the gateway keys cannot be read, those read before stay good"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database as a server has opened it."""
    open_writer(tmp_path / "arbstr.db", wait=1).close()
    return tmp_path / "arbstr.db"


@pytest.fixture
def problems() -> Problems:
    return Problems()


@pytest.fixture
def watch(path: Path, problems: Problems) -> Iterator[KeyWatch]:
    """One that looks when it is told to."""
    watch = KeyWatch(path, on_problem=problems)
    yield watch
    watch.stop()


def create(path: Path, name: str = "team-a") -> Secret:
    with keys.changing(path) as connection:
        return keys.create(connection, KeyChange(name=name), now=NOW, currency=Currency.SATS)[1]


def replace(path: Path) -> None:
    """Put an empty database in its place, as the log's writer does where the file was deleted."""
    remove(path)
    open_writer(path, wait=1).close()


def remove(path: Path) -> None:
    for file in path.parent.glob("arbstr.db*"):
        file.unlink()


def names(ring: KeyRing) -> list[str]:
    return [key.name for key in ring.keys]


def test_keys_are_there_from_the_beginning(path: Path, problems: Problems) -> None:
    """Before the first request comes."""
    secret = create(path)

    watch = KeyWatch(path, on_problem=problems)

    watch.stop()
    assert watch.ring.exists
    assert watch.ring.find(secret.reveal(), NOW) is not None


def test_without_keys_there_is_nothing_to_ask_for(watch: KeyWatch) -> None:
    """As on the first day."""
    assert not watch.ring.exists
    assert watch.ring.keys == ()


def test_a_look_finds_what_another_process_has_done(watch: KeyWatch, path: Path) -> None:
    """Creation, rotation, revocation."""
    first = create(path).reveal()
    watch.look()
    created = watch.ring.find(first, NOW)
    with keys.changing(path) as connection:
        _, second = keys.rotate(connection, "team-a", grace=0, now=NOW)
    watch.look()
    replaced, rotated = watch.ring.find(first, NOW), watch.ring.find(second.reveal(), NOW)
    with keys.changing(path) as connection:
        keys.revoke(connection, "team-a", now=NOW)
    watch.look()
    revoked = watch.ring.find(second.reveal(), NOW)

    assert created is not None
    assert replaced is None
    assert rotated is not None
    assert revoked is not None
    assert revoked.standing(NOW) is Standing.REVOKED


def test_a_look_that_finds_nothing_new_changes_nothing(watch: KeyWatch, path: Path) -> None:
    """The ring stays the very same; it is read again only where the generation is another one."""
    create(path)
    watch.look()
    ring = watch.ring

    watch.look()

    assert watch.ring is ring


@pytest.mark.parametrize("harm", [remove, replace], ids=["removed", "replaced"])
def test_a_file_that_is_gone_leaves_the_keys_good(
    watch: KeyWatch, path: Path, problems: Problems, harm: Callable[[Path], None]
) -> None:
    """Also when an empty one has taken its place: that must not open the gateway. The operator is told once."""
    secret = create(path).reveal()
    watch.look()
    harm(path)

    for _ in range(3):
        watch.look()

    assert watch.ring.exists
    assert watch.ring.find(secret, NOW) is not None
    assert problems.events == [LOST]


def test_when_keys_can_be_read_again_the_operator_is_told(watch: KeyWatch, path: Path, problems: Problems) -> None:
    """And those count that are there then: a new file with keys is the one to go by."""
    create(path, "old")
    watch.look()
    replace(path)
    watch.look()
    create(path, "new")

    watch.look()
    watch.look()

    assert names(watch.ring) == ["new"]
    assert problems.told[1:] == [("the gateway keys are read again", {"recovered": True})]


def test_keys_that_were_removed_by_hand_do_not_open_the_gateway(watch: KeyWatch, path: Path) -> None:
    """Neither while it runs nor when it starts: the generation says that there were some."""
    create(path)
    watch.look()
    with keys.changing(path) as connection:
        connection.execute("DELETE FROM keys")

    watch.look()
    again = KeyWatch(path, on_problem=Problems())

    again.stop()
    assert (watch.ring.exists, names(watch.ring)) == (True, [])
    assert (again.ring.exists, names(again.ring)) == (True, [])


def test_a_row_that_is_no_key_leaves_the_keys_good(watch: KeyWatch, path: Path, problems: Problems) -> None:
    """Somebody wrote into the table by hand."""
    create(path)
    watch.look()
    with keys.changing(path) as connection:
        connection.execute("UPDATE keys SET expires_at = 'soon'")

    watch.look()

    assert names(watch.ring) == ["team-a"]
    assert "cannot be read" in problems.wait_for(LOST)["error"]


def test_a_short_lock_is_no_problem_and_a_long_one_is(watch: KeyWatch, path: Path, problems: Problems) -> None:
    """Somebody restores the file and has it all to himself: the keys stay good meanwhile."""
    create(path)
    watch.look()
    remove(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(PATIENCE - 1):
            watch.look()
        patient = list(problems.events)
        watch.look()

    assert patient == []
    assert problems.events == [LOST]
    assert names(watch.ring) == ["team-a"]


def test_a_reporter_that_fails_ends_nothing(path: Path) -> None:
    """The watch goes on, and so do the keys."""

    def fail(event: str, fields: dict[str, object]) -> None:
        raise RuntimeError(event)

    create(path)
    watch = KeyWatch(path, on_problem=fail)
    remove(path)

    watch.look()

    watch.stop()
    assert names(watch.ring) == ["team-a"]


@pytest.mark.parametrize(
    "harm", ["DROP TABLE keys", "UPDATE settings SET name = 'x' WHERE name = 'keys_generation'", "DROP TABLE settings"]
)
def test_where_keys_cannot_be_read_a_gateway_does_not_start(path: Path, harm: str) -> None:
    """It would not know whom to let in."""
    with keys.changing(path) as connection:
        connection.execute(harm)

    with pytest.raises(StoreError) as caught:
        KeyWatch(path, on_problem=Problems())

    assert str(caught.value).startswith(f"{path}: the gateway keys cannot be read: ")


async def test_the_loop_gets_what_there_is_and_what_comes(path: Path, problems: Problems) -> None:
    """In its own thread, in the order in which it came."""
    create(path, "one")
    watch = KeyWatch(path, on_problem=problems, interval=0.001)
    loop_thread = threading.get_ident()
    adopted: list[tuple[list[str], int]] = []
    news = asyncio.Event()

    def adopt(ring: KeyRing) -> None:
        adopted.append((names(ring), threading.get_ident()))
        if len(ring) == 3:
            news.set()

    watch.start(adopt)
    await asyncio.to_thread(create, path, "two")
    await asyncio.to_thread(create, path, "three")
    async with asyncio.timeout(20):
        await news.wait()
    watch.stop()

    assert adopted[0] == (["one"], loop_thread)
    assert adopted[-1] == (["one", "two", "three"], loop_thread)
    assert sorted(adopted, key=lambda each: len(each[0])) == adopted


async def test_a_watch_that_has_stopped_hands_out_nothing(path: Path, problems: Problems) -> None:
    """And leaves no thread and no open file behind."""
    watch = KeyWatch(path, on_problem=problems, interval=0.001)
    adopted: list[KeyRing] = []
    watch.start(adopted.append)

    watch.stop()
    create(path)
    watch.look()
    watch.stop()
    await asyncio.sleep(0)

    assert len(adopted) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "arbstr-key-watch"]
