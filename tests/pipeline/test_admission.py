"""Who may come in with what."""

from __future__ import annotations

import msgspec
import pytest

from arbstr.testing import ScriptedCaller
from tests.pipeline.bank import bank, key, said, seller
from tests.pipeline.rig import CHEAP, body, error_of

ONE = (seller(CHEAP),)


@pytest.mark.parametrize(
    ("models", "mine", "refusal"),
    [
        (["gpt-4o", "openai/o1-pro"], ("gpt-*",), "model_not_allowed"),
        ("openai/o1-pro", ("gpt-*",), "invalid_request"),
        ([7], ("gpt-*",), "invalid_request"),
        (["gpt-4o-mini"], ("gpt-*",), None),
        ([], ("gpt-*",), None),
        (None, ("gpt-*",), None),
        (["openai/o1-pro"], None, None),
    ],
)
async def test_models_that_a_vendor_may_take_instead(
    models: object, mine: tuple[str, ...] | None, refusal: str | None
) -> None:
    """OpenRouter answers by another of ``models`` where it cannot by ``model``: a key has to be for all of them."""
    async with bank(keys=[msgspec.structs.replace(key("sk-one"), models=mine)], sellers=ONE) as rig:
        rig.script(CHEAP, said(1))
        caller = ScriptedCaller(body(max_tokens=5, models=models), credential=b"sk-one")
        await rig.pipeline.handle(caller)

        assert (None if caller.status == 200 else error_of(caller)["code"]) == refusal
        assert rig.asked == ([] if refusal else [CHEAP])
