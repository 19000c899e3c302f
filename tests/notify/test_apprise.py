"""apprise, the real one, and what it sends to a real server."""

from __future__ import annotations

import json
import sys

import pytest

from arbstr.domain.alert import AppriseTarget
from arbstr.domain.secret import Secret
from arbstr.notify.apprise import Apprise
from arbstr.notify.sender import Undelivered
from tests.notify.news import notice
from tests.notify.receivers import hook

# It loads all its services at once, and some of them warn of what Python will do without.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def test_what_apprise_reaches_is_told() -> None:
    """By one of its hundred ways, which needs nothing but a server on this machine."""
    async with hook() as (receiver, _):
        url = receiver.base.replace("http://", "json://") + "/hook"
        await Apprise(AppriseTarget("alerts[3]", Secret(url))).send(notice())

    (posted,) = receiver.posted
    body = json.loads(posted.body)
    assert posted.target == "/hook"
    assert body["title"] == "arbstr: circuit opened (alpha)"
    assert body["message"].startswith("provider alpha failed 3 times in a row and is left alone: connection refused\n")
    assert body["type"] == "warning"


async def test_what_it_could_not_send_is_tried_again() -> None:
    """It says no more than that; the why is in its own lines."""
    async with hook(b"500 Oops") as (receiver, _):
        url = receiver.base.replace("http://", "json://") + "/hook"
        with pytest.raises(Undelivered, match="apprise could not send it") as caught:
            await Apprise(AppriseTarget("alerts[3]", Secret(url))).send(notice())

    assert caught.value.passing


async def test_a_url_that_it_does_not_understand_is_final() -> None:
    """As a rule the configuration is refused before."""
    with pytest.raises(Undelivered, match="apprise does not understand its URL") as caught:
        await Apprise(AppriseTarget("alerts[3]", Secret("nonesuch://canary"))).send(notice())

    assert not caught.value.passing
    assert "canary" not in caught.value.reason


async def test_without_apprise_it_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the reason says what to install."""
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(Undelivered, match="its extra `notify`") as caught:
        await Apprise(AppriseTarget("alerts[3]", Secret("json://127.0.0.1"))).send(notice())

    assert not caught.value.passing
