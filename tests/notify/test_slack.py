"""Slack: plain text, in which nobody is called by accident."""

from __future__ import annotations

import json

import pytest

from arbstr.domain.alert import SlackTarget
from arbstr.notify.sender import Undelivered
from arbstr.notify.slack import Slack
from tests.notify.news import notice, opened
from tests.notify.receivers import hook


async def test_a_channel_gets_the_news_as_text() -> None:
    """Posted as Slack's incoming webhooks want it."""
    async with hook() as (receiver, post):
        await Slack(SlackTarget("alerts[1]", receiver.url("/services/T0/B0/x")), post=post).send(notice())

    (posted,) = receiver.posted
    assert posted.target == "/services/T0/B0/x"
    assert posted.headers["content-type"] == "application/json"
    assert json.loads(posted.body) == {
        "text": "arbstr: circuit opened (alpha)\n"
        "provider alpha failed 3 times in a row and is left alone: connection refused\n"
        "\n"
        "subject: alpha\n"
        "window: hour 2026-11-21T12:00Z\n"
        "at: 2026-11-21T12:34:56.789Z\n"
        "failures: 3\n"
        "error: connection refused",
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


async def test_what_a_provider_says_calls_nobody() -> None:
    """Mentions and links are made with three characters, and these are escaped, once."""
    news = notice(opened("alpha", error="<!channel> & <https://evil.example|sign in> &lt;"))

    async with hook() as (receiver, post):
        await Slack(SlackTarget("alerts[1]", receiver.url()), post=post).send(news)

    text = json.loads(receiver.posted[0].body)["text"]
    assert "error: &lt;!channel&gt; &amp; &lt;https://evil.example|sign in&gt; &amp;lt;" in text
    assert "<" not in text


@pytest.mark.parametrize(("status", "passing"), [(b"429 Too Many Requests", True), (b"404 no_service", False)])
async def test_what_slack_refuses_is_a_failure(status: bytes, passing: bool) -> None:
    """A pause is asked for; a webhook that was removed stays away."""
    async with hook(status) as (receiver, post):
        with pytest.raises(Undelivered) as caught:
            await Slack(SlackTarget("alerts[1]", receiver.url()), post=post).send(notice())

    assert caught.value.passing is passing


async def test_where_slack_cannot_be_reached_it_may_pass() -> None:
    """As a webhook."""
    async with hook() as (receiver, _):
        gone = receiver.url("/services/canary")
    async with hook() as (_, post):
        with pytest.raises(Undelivered, match=r"^Connection refused$") as caught:
            await Slack(SlackTarget("alerts[1]", gone), post=post).send(notice())

    assert caught.value.passing
