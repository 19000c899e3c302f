"""Alerts to a channel, by an incoming webhook of Slack."""

from __future__ import annotations

import msgspec

from arbstr.domain.alert import SlackTarget
from arbstr.notify.notice import Notice
from arbstr.notify.sender import Undelivered, check_status
from arbstr.notify.webhook import AGENT, JSON
from arbstr.ports import Post


class Slack:
    def __init__(self, target: SlackTarget, *, post: Post) -> None:
        self.name = target.name
        self._url = target.url
        self._post = post

    async def send(self, notice: Notice) -> None:
        try:
            status = await self._post(self._url, [JSON, AGENT], payload(notice))
        except OSError as error:
            raise Undelivered(str(error), passing=True) from error
        check_status(status)


def payload(notice: Notice) -> bytes:
    """The message: plain text, in which nothing is a mention, a link with other words, or fetched for a preview."""
    text = escaped(f"{notice.title}\n{notice.text}".rstrip())
    return msgspec.json.encode({"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False})


def escaped(text: str) -> str:
    """As Slack asks for: the three characters with which mentions and links are made."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
