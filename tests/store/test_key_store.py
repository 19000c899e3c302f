"""The keys as the admin endpoints see them: every call of the port, beside a gateway that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio

from arbstr.domain.errors import Conflict, LogUnavailable, NotFound
from arbstr.domain.identity import Budgets, Standing
from arbstr.domain.money import Currency
from arbstr.policy.key_changes import KeyChange
from arbstr.policy.keys import KeyRing
from arbstr.ports import KeyStore
from arbstr.store.connection import open_writer
from arbstr.store.key_store import SqliteKeys
from arbstr.store.key_watch import KeyWatch
from arbstr.testing import FakeClock
from tests.store.records import Problems


class Gateway:
    """What a gateway has: the ring that requests are checked against, and the store that changes it."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.watch = KeyWatch(path, on_problem=Problems(), interval=3600)
        self.keys: KeyStore = SqliteKeys(path, watch=self.watch, clock=self.clock, currency=Currency.USD)
        self.ring = KeyRing()
        self.watch.start(self.adopt)

    def adopt(self, ring: KeyRing) -> None:
        self.ring = ring


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    open_writer(tmp_path / "arbstr.db", wait=1).close()
    gateway = Gateway(tmp_path / "arbstr.db")
    yield gateway
    gateway.watch.stop()


async def test_what_is_changed_here_holds_when_the_call_returns(gateway: Gateway) -> None:
    """Not only at the watch's next look."""
    now = gateway.clock.time()

    key, first = await gateway.keys.create(KeyChange(name="team-a"))
    created = gateway.ring.find(first.reveal(), now)
    changed = await gateway.keys.update("team-a", KeyChange(rpm=5))
    updated = gateway.ring.find(first.reveal(), now)
    _, second = await gateway.keys.rotate("team-a", grace=10)
    old, new = gateway.ring.find(first.reveal(), now + 9), gateway.ring.find(second.reveal(), now + 9)
    revoked = await gateway.keys.revoke(key.id)
    found = gateway.ring.find(second.reveal(), now)

    assert created == key
    assert updated == changed
    assert changed.limits.rpm == 5
    assert old == new
    assert gateway.ring.find(first.reveal(), now + 10) is None
    assert found == revoked
    assert revoked.standing(now) is Standing.REVOKED


async def test_keys_are_listed_and_found(gateway: Gateway) -> None:
    """By name or id, revoked ones too."""
    one, _ = await gateway.keys.create(KeyChange(name="one"))
    gateway.clock.advance(1)
    two, _ = await gateway.keys.create(KeyChange(name="two"))
    one = await gateway.keys.revoke("one")

    assert await gateway.keys.list() == [one, two]
    assert await gateway.keys.get("two") == await gateway.keys.get(two.id) == two
    assert (one.created_at, one.revoked_at) == (two.created_at - 1, two.created_at)


async def test_budgets_are_in_the_configured_currency_unless_a_change_names_one(gateway: Gateway) -> None:
    """As on the command line."""
    key, _ = await gateway.keys.create(KeyChange(name="team-a", budget_day=Decimal(2)))

    assert key.budgets == Budgets(Currency.USD, day=2_000_000_000)


async def test_refusals_reach_whoever_asked(gateway: Gateway) -> None:
    """As errors that have a status of their own."""
    await gateway.keys.create(KeyChange(name="team-a"))

    with pytest.raises(Conflict):
        await gateway.keys.create(KeyChange(name="team-a"))
    with pytest.raises(NotFound):
        await gateway.keys.get("team-b")
    with pytest.raises(NotFound):
        await gateway.keys.update("team-b", KeyChange(rpm=1))


async def test_a_database_that_is_out_of_reach_is_a_503(gateway: Gateway, tmp_path: Path) -> None:
    """It may pass."""
    (tmp_path / "arbstr.db").write_bytes(b"garbage" * 1000)

    with pytest.raises(LogUnavailable, match="The gateway keys are out of reach") as caught:
        await gateway.keys.create(KeyChange(name="team-a"))
    with pytest.raises(LogUnavailable, match="The gateway keys are out of reach"):
        await gateway.keys.list()

    assert caught.value.retry_after == 1.0
