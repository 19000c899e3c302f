"""From what is configured to what sends."""

from __future__ import annotations

from collections.abc import Sequence

from arbstr.domain.alert import AppriseTarget, EmailTarget, SlackTarget, Target
from arbstr.notify.apprise import Apprise
from arbstr.notify.email import Email
from arbstr.notify.sender import Sender
from arbstr.notify.slack import Slack
from arbstr.notify.webhook import Webhook
from arbstr.ports import Clock, Post


def senders(targets: Sequence[Target], *, post: Post, clock: Clock) -> tuple[Sender, ...]:
    """One for each target, in order."""
    return tuple(_sender(target, post, clock) for target in targets)


def _sender(target: Target, post: Post, clock: Clock) -> Sender:
    if isinstance(target, EmailTarget):
        return Email(target)
    if isinstance(target, AppriseTarget):
        return Apprise(target)
    return Slack(target, post=post) if isinstance(target, SlackTarget) else Webhook(target, post=post, clock=clock)
