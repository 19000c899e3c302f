"""Alerts as JSON over HTTP, signed."""

from __future__ import annotations

import hashlib
import hmac

from arbstr import __version__
from arbstr.domain.alert import WebhookTarget
from arbstr.domain.secret import Secret
from arbstr.notify.notice import Notice
from arbstr.notify.sender import Undelivered, check_status
from arbstr.ports import Clock, Post

AGENT = ("user-agent", f"arbstr/{__version__}")
JSON = ("content-type", "application/json")


class Webhook:
    def __init__(self, target: WebhookTarget, *, post: Post, clock: Clock) -> None:
        self.name = target.name
        self._target = target
        self._post = post
        self._clock = clock

    async def send(self, notice: Notice) -> None:
        headers = [
            JSON,
            AGENT,
            ("x-arbstr-event", notice.alert.kind.value),
            ("x-arbstr-event-id", notice.id),
        ]
        if self._target.secret is not None:
            headers.append(("x-arbstr-signature", signature(self._target.secret, int(self._clock.time()), notice.body)))
        try:
            status = await self._post(self._target.url, headers, notice.body)
        except OSError as error:
            raise Undelivered(str(error), passing=True) from error
        check_status(status)


def signature(secret: Secret, at: int, body: bytes) -> str:
    """``t=<at>,v1=<hex>``: HMAC-SHA256 of ``<at>.<body>``, so that neither can be changed and no old one be replayed.

    ``at`` is in seconds since the epoch. The scheme is that of Stripe's webhooks, for which receivers exist.
    """
    digest = hmac.new(secret.reveal().encode(), b"%d.%b" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
