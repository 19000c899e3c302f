"""Webhooks: JSON to a real server, which can tell whose it is."""

from __future__ import annotations

import hashlib
import hmac
import json
import random

import pytest
import trustme

from arbstr import __version__
from arbstr.domain.alert import AlertCounts, WebhookTarget
from arbstr.domain.secret import Secret
from arbstr.notify.dispatcher import Dispatcher
from arbstr.notify.sender import Undelivered
from arbstr.notify.webhook import Webhook, signature
from arbstr.testing import FakeClock, ListLog
from tests.notify.news import notice, opened
from tests.notify.receivers import hook
from tests.upstream.servers import eventually
from tests.upstream.test_pool_tls import server_context

SECRET = Secret("correct horse battery staple")


async def test_a_webhook_is_posted_and_signed() -> None:
    """The receiver computes the signature by itself, from the header's instant and the bytes that came."""
    clock = FakeClock(epoch=1_800_000_000.75)
    news = notice()

    async with hook() as (receiver, post):
        target = WebhookTarget("alerts[0]", receiver.url("/a/?b=c%20d"), SECRET)
        await Webhook(target, post=post, clock=clock).send(news)

    (posted,) = receiver.posted
    instant, _, given = posted.headers.pop("x-arbstr-signature").partition(",")
    signed = instant.removeprefix("t=").encode() + b"." + posted.body
    expected = hmac.new(b"correct horse battery staple", signed, hashlib.sha256).hexdigest()
    assert (instant, given) == ("t=1800000000", f"v1={expected}")
    assert posted.target == "/a/?b=c%20d"
    assert json.loads(posted.body)["summary"].startswith("provider alpha failed 3 times")
    assert posted.body == news.body
    assert posted.headers == {
        "host": receiver.base.removeprefix("http://"),
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": f"arbstr/{__version__}",
        "x-arbstr-event": "circuit_opened",
        "x-arbstr-event-id": news.id,
        "content-length": str(len(news.body)),
    }


def test_the_signature_is_what_it_is() -> None:
    """A known answer, from `openssl dgst -sha256 -hmac secret`: what changes it breaks every receiver."""
    made = signature(Secret("secret"), 1_800_000_000, b'{"a":1}')

    assert made == "t=1800000000,v1=440dfbb83aabca24d9e5027629cfd81cb45254690f8d410bb28f1cc17c990dbc"


async def test_without_a_secret_there_is_no_signature() -> None:
    """Rather than one that means nothing."""
    async with hook() as (receiver, post):
        await Webhook(WebhookTarget("alerts[0]", receiver.url()), post=post, clock=FakeClock()).send(notice())

    assert "x-arbstr-signature" not in receiver.posted[0].headers


@pytest.mark.parametrize(
    ("status", "passing"),
    [
        (b"301 Moved", False),
        (b"302 Found", False),
        (b"400 Bad Request", False),
        (b"401 Unauthorized", False),
        (b"404 Not Found", False),
        (b"408 Request Timeout", True),
        (b"410 Gone", False),
        (b"425 Too Early", True),
        (b"429 Too Many Requests", True),
        (b"500 Oops", True),
        (b"503 Busy", True),
    ],
)
async def test_what_is_no_success_is_a_failure(status: bytes, passing: bool) -> None:
    """Redirects are not followed; what may pass is told from what will not."""
    async with hook(status) as (receiver, post):
        with pytest.raises(Undelivered) as caught:
            await Webhook(WebhookTarget("alerts[0]", receiver.url()), post=post, clock=FakeClock()).send(notice())

    assert caught.value.reason == f"it was answered with {status[:3].decode()}"
    assert caught.value.passing is passing
    assert len(receiver.posted) == 1


async def test_where_nobody_is_there_it_may_pass() -> None:
    """And the reason says nothing of the URL, which may have a token in it."""
    async with hook() as (receiver, _):
        gone = receiver.url("/services/canary")
    async with hook() as (_, post):
        with pytest.raises(Undelivered) as caught:
            await Webhook(WebhookTarget("alerts[0]", gone), post=post, clock=FakeClock()).send(notice())

    assert caught.value.passing
    assert caught.value.reason == "Connection refused"


async def test_a_server_that_nobody_vouches_for_is_not_told() -> None:
    """Its certificate is checked before a byte of the alert is sent."""
    async with hook(tls=server_context(trustme.CA(), "127.0.0.1")) as (receiver, post):
        with pytest.raises(Undelivered, match=r"^tls: certificate not accepted"):
            await Webhook(WebhookTarget("alerts[0]", receiver.url()), post=post, clock=FakeClock()).send(notice())

    assert receiver.posted == []


async def test_an_alert_survives_a_receiver_that_stumbles() -> None:
    """The whole way: raised once, refused twice, tried again, received once more under the same id, signed anew."""
    clock, log = FakeClock(), ListLog()

    async with hook(b"500 Oops", b"503 Busy") as (receiver, post):
        webhook = Webhook(WebhookTarget("alerts[0]", receiver.url(), SECRET), post=post, clock=clock)
        dispatcher = Dispatcher([webhook], clock=clock, log=log, redact=str, rng=random.Random(1))
        dispatcher.start()
        dispatcher.raise_alert(opened())
        await eventually(lambda: dispatcher.counts().waiting == 0)
        await dispatcher.aclose(0)

    assert dispatcher.counts() == AlertCounts(sent=1, failed=0, dropped=0, waiting=0)
    assert len(receiver.posted) == 3
    assert len({posted.headers["x-arbstr-event-id"] for posted in receiver.posted}) == 1
    signed = [posted.headers["x-arbstr-signature"] for posted in receiver.posted]
    assert signed[0] != signed[-1] == signature(SECRET, int(clock.time()), receiver.posted[0].body)
    assert len({posted.body for posted in receiver.posted}) == 1
    assert [event for _, event, _ in log.lines] == ["an alert could not be sent yet", "alert sent"]
