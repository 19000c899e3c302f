"""/v1/budget: which windows are shown."""

from __future__ import annotations

from tests.edge.log_reader import TEAM_A, Asker


async def test_all_accounts_are_shown_in_windows_of_the_same_instant() -> None:
    """A clock that jumps an hour and back takes nobody into a window in which the others are not."""
    asker = Asker(keys=(TEAM_A,))
    asker.rig.clock.advance(3600)
    gateways = await asker.ask("/v1/budget")
    asker.rig.clock.advance(-3600)

    keys = await asker.holding(TEAM_A).ask("/v1/budget")

    assert gateways["current_hour"]["resets_at"] == keys["current_hour"]["resets_at"] == "2027-01-15T10:00:00Z"
    assert asker.rig.state.spending.now() == asker.rig.clock.time() + 3600
