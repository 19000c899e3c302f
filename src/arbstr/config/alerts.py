"""``[[alerts]]``: whom to tell, as it is written and as it is used."""

from __future__ import annotations

import importlib
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from arbstr.config.kinds import AlertType, ApiKey, Host, Key, Mailbox, Mailboxes, Phrase, SecretUrl
from arbstr.config.problems import Path, Problems, any_of
from arbstr.config.units import Address, endpoint
from arbstr.domain.alert import AppriseTarget, EmailTarget, MailTls, SlackTarget, Target, WebhookTarget
from arbstr.domain.secret import Secret

SUBMISSION = 587
"""The port of a mail server that takes mail from programs."""
IMPLICIT_TLS = 465
"""The one where TLS comes first."""
TELLING = 16
"""Characters from which a piece of a URL may be a token."""


class Alert(msgspec.Struct, frozen=True):
    type: Annotated[
        AlertType,
        Key(
            "`webhook` posts JSON, `slack` to an incoming webhook of Slack, `email` by SMTP, `apprise` wherever "
            "apprise can reach (the extra `notify`).",
            expected="a type of alert",
        ),
    ]
    url: Annotated[
        SecretUrl | None,
        Key("Of all but email required: where to send it. It is kept secret as a key is."),
    ] = None
    secret: Annotated[
        Phrase | None,
        Key("Of webhook: what alerts are [signed](../how-to/get-alerts.md#check-the-signature) with."),
    ] = None
    host: Annotated[Host | None, Key("Of email required: the mail server.")] = None
    port: Annotated[int | None, Key("Of email. Default: 587; at 465 TLS comes first.", low=1, high=65_535)] = None
    from_: Annotated[
        Mailbox | None, Key("Of email required: the sender, `arbstr@example.com` or `arbstr <arbstr@example.com>`.")
    ] = msgspec.field(default=None, name="from")
    to: Annotated[Mailboxes | None, Key("Of email required: who gets it.")] = None
    username: Annotated[str | None, Key("Of email: for servers that want a login.")] = None
    password: Annotated[Phrase | None, Key("Of email: with `username`.")] = None
    starttls: Annotated[
        bool | None,
        Key("Of email. Default: true, nothing is sent before TLS was agreed upon and the certificate checked."),
    ] = None


KEYS = {
    "webhook": ("url", "secret"),
    "slack": ("url",),
    "email": ("host", "port", "from", "to", "username", "password", "starttls"),
    "apprise": ("url",),
}
"""Which keys are whose."""
REQUIRED = {
    "url": 'its URL such as "https://ops.example.com/hook"',
    "host": 'the mail server such as "smtp.example.com"',
    "from": 'the sender such as "arbstr@example.com"',
    "to": 'who gets it such as ["ops@example.com"]',
}


def compile_alerts(alerts: tuple[Alert, ...], problems: Problems) -> tuple[Target, ...]:
    """All of them; to be used only if no problem was found."""
    targets = []
    for index, alert in enumerate(alerts):
        path: Path = ("alerts", index)
        _check_keys(alert, path, problems)
        if not problems.within(path):
            _check_values(alert, path, problems)
        if not problems.within(path):
            targets.append(_target(f"alerts[{index}]", alert))
    return tuple(targets)


def alert_secrets(targets: tuple[Target, ...]) -> Iterator[Secret]:
    """What must be kept out of every text: whole URLs, the tokens in them, passwords."""
    for target in targets:
        if isinstance(target, EmailTarget):
            yield from () if target.password is None else (target.password,)
            continue
        url = target.url.reveal()
        yield target.url
        telling = url if isinstance(target, AppriseTarget) else url.partition("://")[2].partition("/")[2]
        yield from (Secret(piece) for piece in re.split(r"[/?&=:@#,;+]", telling) if len(piece) >= TELLING)
        if isinstance(target, WebhookTarget) and target.secret is not None:
            yield target.secret


def alert_warnings(alerts: tuple[Alert, ...]) -> Iterator[str]:
    """One line each: ``path.to.key: what is odd, and what to do about it``."""
    for index, alert in enumerate(alerts):
        for key, message in _oddities(alert):
            yield f"alerts[{index}].{key}: {message}"


def _values(alert: Alert) -> dict[str, Any]:
    """What was given, by key."""
    names = {field.encode_name: getattr(alert, field.name) for field in msgspec.structs.fields(Alert)}
    return {name: value for name, value in names.items() if value is not None and name != "type"}


def _check_keys(alert: Alert, path: Path, problems: Problems) -> None:
    given, own = _values(alert), KEYS[alert.type]
    for key in given:
        if key not in own:
            owners = any_of(kind for kind, keys in KEYS.items() if key in keys)
            problems.add((*path, key), f"is for alerts of type {owners}, expected no such key")
    for key, expected in REQUIRED.items():
        if key in own and key not in given:
            problems.add((*path, key), f"is missing, expected {expected}")
    for key, other in (("username", "password"), ("password", "username")):
        if key in own and key not in given and other in given:
            problems.add((*path, key), f"is missing, expected it beside {other}")


def _check_values(alert: Alert, path: Path, problems: Problems) -> None:
    if alert.username is not None and not (alert.username.isascii() and alert.username.isprintable()):
        problems.add((*path, "username"), "has line ends or other than ASCII in it, expected one line of text")
    if alert.url is None:
        return
    try:
        if alert.type == "apprise":
            _check_apprise(alert.url.secret.reveal())
        else:
            endpoint(alert.url.secret.reveal())
    except ModuleNotFoundError:
        problems.add((*path, "type"), "apprise is not installed, expected arbstr with its extra `notify`")
    except ValueError as error:
        problems.add((*path, "url"), str(error))


def _check_apprise(url: str) -> None:
    """Ask apprise itself, which is imported for nothing else. What it logs would have the URL in it, and what Python
    warns of, when it loads its plugins, is of no use to anybody here."""
    apprise = importlib.import_module("apprise")
    log = logging.getLogger("apprise")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings(action="ignore"):
            understood = apprise.Apprise.instantiate(url) is not None
    finally:
        log.disabled = before
    if not understood:
        raise ValueError("is no URL that apprise understands, expected one from its list of services")


def _oddities(alert: Alert) -> Iterator[tuple[str, str]]:
    for key in ("secret", "password", *(("url",) if alert.type in ("slack", "apprise") else ())):
        value: ApiKey | None = getattr(alert, key)
        if value is not None and value.source == "literal":
            yield key, f'stands in the file, better a variable: {key} = "${{NAME}}"'
    if alert.type == "webhook" and alert.secret is None:
        yield "secret", "none is set, so the receiver cannot tell arbstr's alerts from anybody else's"
    if alert.type in ("webhook", "slack") and alert.url is not None:
        parts = urlsplit(alert.url.secret.reveal())
        if parts.scheme == "http" and not Address(parts.hostname or "", 80).loopback:
            yield "url", "is sent to unencrypted, better https://"
    loopback = Address(alert.host or "", SUBMISSION).loopback
    if alert.password is not None and _tls(alert) is MailTls.NONE and not loopback:
        yield "starttls", "is off, so the password is sent unencrypted"


def _tls(alert: Alert) -> MailTls:
    if alert.port == IMPLICIT_TLS:
        return MailTls.IMPLICIT
    return MailTls.NONE if alert.starttls is False else MailTls.STARTTLS


def _target(name: str, alert: Alert) -> Target:
    """Of an alert that has all it needs."""
    if alert.type == "email":
        return EmailTarget(
            name,
            host=alert.host or "",
            port=alert.port or SUBMISSION,
            sender=alert.from_ or "",
            recipients=alert.to or (),
            username=alert.username,
            password=alert.password.secret if alert.password else None,
            tls=_tls(alert),
        )
    assert alert.url is not None
    url = alert.url.secret
    if alert.type == "webhook":
        return WebhookTarget(name, url, alert.secret.secret if alert.secret else None)
    return SlackTarget(name, url) if alert.type == "slack" else AppriseTarget(name, url)
