"""Alerts to whatever apprise knows: it is imported when the first one is sent."""

from __future__ import annotations

import importlib
from typing import Any

from arbstr.domain.alert import AppriseTarget
from arbstr.notify.notice import Notice
from arbstr.notify.sender import Undelivered
from arbstr.notify.thread import in_thread


class Apprise:
    """Why apprise could not send is told by itself, through Python's logging."""

    def __init__(self, target: AppriseTarget) -> None:
        self.name = target.name
        self._target = target

    async def send(self, notice: Notice) -> None:
        await in_thread(lambda: self._notify(notice))

    def _notify(self, notice: Notice) -> None:
        """In a thread."""
        try:
            apprise: Any = importlib.import_module("apprise")
        except ModuleNotFoundError as error:
            raise Undelivered(
                "apprise is not installed: install arbstr with its extra `notify`", passing=False
            ) from error
        service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="arbstr", app_desc="arbstr", app_url=""))
        if not service.add(self._target.url.reveal()):
            raise Undelivered("apprise does not understand its URL", passing=False)
        sent = service.notify(
            title=notice.title,
            body=notice.text,
            notify_type=apprise.NotifyType.WARNING,
            body_format=apprise.NotifyFormat.TEXT,
        )
        if not sent:
            raise Undelivered("apprise could not send it", passing=True)
