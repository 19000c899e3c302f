"""What a kept decision says of its request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.decision import Decision, Matched
from arbstr.domain.request import Needs
from arbstr.domain.routing import Plan, Route, Strategy
from arbstr.policy.asked import Asked, asked
from arbstr.policy.decision import compact

PLAN = Plan(Route("m", Strategy.PRIORITY, ()), Strategy.PRIORITY, None, ())


@given(
    st.integers(0, 10**9),
    st.none() | st.integers(1, 10**6),
    st.integers(1, 128),
    st.builds(Needs, tools=st.booleans(), vision=st.booleans(), json=st.booleans(), reasoning=st.booleans()),
    st.none() | st.sampled_from(Matched),
)
def test_it_is_what_was_kept(size: int, max_tokens: int | None, n: int, needs: Needs, matched: Matched | None) -> None:
    """All of it comes back, whatever was decided."""
    record = compact(Decision(PLAN, matched, size, max_tokens, n, needs))

    assert asked(record) == asked(record.decode()) == Asked(size, max_tokens, n, needs, matched)


@pytest.mark.parametrize(
    "record",
    [None, "", "{}", "[]", "no JSON", '{"m":null,"q":[1,2,3]}', '{"m":"dream","q":[1,2,3,[]]}'],
)
def test_what_cannot_be_read_was_not_kept(record: str | None) -> None:
    """A row from before decisions were kept, and what another program has written."""
    assert asked(record) is None


def test_a_need_that_nobody_knows_is_none() -> None:
    """A newer arbstr may have written it: its request is not taken for one that needs nothing."""
    assert asked('{"m":null,"q":[1,2,3,["tools"]]}') == Asked(1, 2, 3, Needs(tools=True))
    assert asked('{"m":null,"q":[1,2,3,["tools","smell"]]}') is None
