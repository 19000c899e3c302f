"""``[[alerts]]``: whom to tell, each type with what it needs and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from arbstr.domain.alert import AppriseTarget, EmailTarget, MailTls, SlackTarget, WebhookTarget
from arbstr.domain.secret import Secret
from tests.config.written import ALPHA, compiled, problems

WEBHOOK = """
[[alerts]]
type = "webhook"
url = "https://ops.example.com/hook/?team=a"
secret = "correct horse battery"
"""
SLACK = """
[[alerts]]
type = "slack"
url = "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx"
"""
EMAIL = """
[[alerts]]
type = "email"
host = "smtp.example.com"
from = "arbstr <arbstr@example.com>"
to = ["ops@example.com", "Night watch <night@example.com>"]
username = "arbstr"
password = "abcd efgh ijkl"
"""
APPRISE = """
[[alerts]]
type = "apprise"
url = "json://127.0.0.1:9/abcdefghijklmnopqrstuvwx"
"""


def test_each_type_comes_to_its_target(tmp_path: Path) -> None:
    """In the order in which they are written, by their place, with the usual filled in."""
    config = compiled(tmp_path, WEBHOOK + SLACK + EMAIL + APPRISE)

    assert config.alerts == (
        WebhookTarget("alerts[0]", Secret("https://ops.example.com/hook/?team=a"), Secret("correct horse battery")),
        SlackTarget(
            "alerts[1]", Secret("https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx")
        ),
        EmailTarget(
            "alerts[2]",
            host="smtp.example.com",
            port=587,
            sender="arbstr <arbstr@example.com>",
            recipients=("ops@example.com", "Night watch <night@example.com>"),
            username="arbstr",
            password=Secret("abcd efgh ijkl"),
        ),
        AppriseTarget("alerts[3]", Secret("json://127.0.0.1:9/abcdefghijklmnopqrstuvwx")),
    )


def test_without_any_nobody_is_told(tmp_path: Path) -> None:
    """No table, or an empty list."""
    assert compiled(tmp_path, "").alerts == ()
    assert compiled(tmp_path, "alerts = []").alerts == ()


def test_mail_may_go_in_other_ways(tmp_path: Path) -> None:
    """One recipient as a string, several with commas, another port, no TLS, no login."""
    text = """
    [[alerts]]
    type = "email"
    host = "::1"
    port = 25
    starttls = false
    from = "arbstr@localhost"
    to = "a@example.com, b@example.com"
    """

    (target,) = compiled(tmp_path, text).alerts

    assert target == EmailTarget(
        "alerts[0]",
        host="::1",
        port=25,
        sender="arbstr@localhost",
        recipients=("a@example.com", "b@example.com"),
        tls=MailTls.NONE,
    )


def test_what_is_in_them_may_come_from_the_environment(tmp_path: Path) -> None:
    """Any string by a variable of its own; several addresses with commas."""
    text = """
    [[alerts]]
    type = "webhook"
    url = "${HOOK}"
    secret = "${SIGN}"
    [[alerts]]
    type = "email"
    host = "${HOST}"
    from = "${FROM}"
    to = "${TO}"
    """
    environ = {"HOOK": "http://127.0.0.1/x", "SIGN": "s", "HOST": "::1", "FROM": "a@localhost", "TO": "b@c, d@e"}

    config = compiled(tmp_path, text, environ=environ)

    assert config.alerts == (
        WebhookTarget("alerts[0]", Secret("http://127.0.0.1/x"), Secret("s")),
        EmailTarget("alerts[1]", host="::1", port=587, sender="a@localhost", recipients=("b@c", "d@e")),
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["type: is missing, expected a type of alert"]),
        (
            "type = 'webhok'",
            [
                'type: "webhok" is not a type of alert, expected webhook, slack, email or apprise; '
                'did you mean "webhook"?'
            ],
        ),
        ("type = 'webhook'", ['url: is missing, expected its URL such as "https://ops.example.com/hook"']),
        ("type = 'slack'", ['url: is missing, expected its URL such as "https://ops.example.com/hook"']),
        ("type = 'apprise'", ['url: is missing, expected its URL such as "https://ops.example.com/hook"']),
        (
            "type = 'email'",
            [
                'host: is missing, expected the mail server such as "smtp.example.com"',
                'from: is missing, expected the sender such as "arbstr@example.com"',
                'to: is missing, expected who gets it such as ["ops@example.com"]',
            ],
        ),
        (
            "type = 'slack'\nurl = 'https://hooks.slack.com/x'\nsecret = 'x'\nport = 25\nfrom = 'a@example.com'",
            [
                "secret: is for alerts of type webhook, expected no such key",
                "port: is for alerts of type email, expected no such key",
                "from: is for alerts of type email, expected no such key",
            ],
        ),
        (
            EMAIL.partition("email")[2].partition('"\n')[2].replace("username", "#").join(["type = 'email'\n", ""]),
            ["username: is missing, expected it beside password"],
        ),
        (
            EMAIL.partition("email")[2].partition('"\n')[2].replace("password", "#").join(["type = 'email'\n", ""]),
            ["password: is missing, expected it beside username"],
        ),
    ],
)
def test_what_a_type_needs_is_told_and_what_it_does_not_have_is_refused(
    tmp_path: Path, text: str, lines: list[str]
) -> None:
    """By the names that are in the file; nothing is ignored."""
    assert problems(tmp_path, f"[[alerts]]\n{text}") == [f"arbstr.toml: alerts[0].{line}" for line in lines]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("url", "1", 'is an integer, expected a string such as "${ALERT_URL}"'),
        ("url", "'ops.example.com/canary'", "does not begin with http:// or https://, expected a URL such as"),
        ("url", "'ftp://ops.example.com/canary'", "does not begin with http:// or https://, expected a URL such as"),
        ("url", "'https://u:canary@ops.example.com/'", "has a user name or password in it, expected none"),
        ("url", "'https://ops.example.com/#canary'", "has a query or fragment in it, expected none: a URL"),
        ("url", "'https://ops.example.com/a canary'", "has white space or other than ASCII in it"),
        ("url", '"https://ops.example.com/\\r\\nX: canary"', "has white space or other than ASCII in it"),
        ("url", "'https:///canary'", "has no host, or no valid port, expected"),
        ("url", "'https://ops.example.com:0/canary'", "has no host, or no valid port, expected"),
        ("url", "'https://öps.example.com/canary'", "has white space or other than ASCII in it"),
        ("secret", "1", 'is an integer, expected a string such as "${PASSWORD}"'),
        ("secret", "' '", "is empty, expected a string with something in it"),
        ("secret", '"can\\nary"', "has line ends or other than ASCII in it"),
        ("secret", "'canäry'", "has line ends or other than ASCII in it"),
    ],
)
def test_bad_webhooks_are_refused_without_being_shown(tmp_path: Path, key: str, value: str, message: str) -> None:
    """A URL or a secret is never repeated, whatever is wrong with it."""
    given = {"url": "'https://ops.example.com/'", "secret": "'s'", key: value}
    text = "[[alerts]]\ntype = 'webhook'\n" + "\n".join(f"{name} = {each}" for name, each in given.items())

    (line,) = problems(tmp_path, text)

    assert line.startswith(f"arbstr.toml: alerts[0].{key}: {message}")
    assert "canary" not in line


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("host", "1", 'is an integer, expected a host such as "smtp.example.com"'),
        ("host", "'smtp.example.com:25'", '"smtp.example.com:25" is not a host'),
        ("host", "'smtp example'", '"smtp example" is not a host'),
        ("host", "'1.2.3.400'", '"1.2.3.400" is not a host'),
        ("port", "0", "0 is out of range, expected a whole number from 1 to 65535"),
        ("port", "65536", "65536 is out of range"),
        ("from", "1", 'is an integer, expected an address such as "ops@example.com"'),
        ("from", "'ops'", '"ops" is not an address, expected an address such as'),
        ("from", "'a@b@example.com'", '"a@b@example.com" is not an address'),
        ("from", "'<a@example.com> x'", '"<a@example.com> x" is not an address'),
        ("from", '"a@example.com\\nBcc: x@example.com"', "a text of 32 characters is not an address"),
        ("from", '"a\\nb <a@example.com>"', '"a\\nb <a@example.com>" is not an address'),
        ("from", "'ä@example.com'", '"ä@example.com" is not an address'),
        ("from", "'a@exämple.com'", '"a@exämple.com" is not an address'),
        ("from", f"'{'a' * 400} <a@example.com>'", "a text of 416 characters is not an address"),
        ("to", "1", 'is an integer, expected a list of addresses such as "ops@example.com"'),
        ("to", "[]", "is empty, expected an address at least"),
        ("to", "['ops@example.com', 'ops']", '"ops" is not an address'),
        ("to", "'ops@example.com,'", '"" is not an address'),
        ("starttls", "'no'", "is a string, expected true or false"),
        ("username", "'ä'", "has line ends or other than ASCII in it, expected one line of text"),
        ("username", "''", "is empty, expected a string with something in it"),
    ],
)
def test_bad_mail_settings_are_refused(tmp_path: Path, key: str, value: str, message: str) -> None:
    """No address ends a line, and none hides another."""
    given = {"host": "'h'", "from": "'a@example.com'", "to": "'b@example.com'", "password": "'p'", "username": "'u'"}
    text = "[[alerts]]\ntype = 'email'\n" + "\n".join(
        f"{name} = {each}" for name, each in (given | {key: value}).items()
    )

    (line,) = problems(tmp_path, text)

    assert line.startswith(f"arbstr.toml: alerts[0].{key}: {message}")


def test_what_apprise_does_not_understand_is_told_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not when the first alert is to be sent; and without a word of it in the log."""
    lines = problems(tmp_path, "[[alerts]]\ntype = 'apprise'\nurl = 'nonesuch://canary/canary'")

    assert lines == [
        "arbstr.toml: alerts[0].url: is no URL that apprise understands, expected one from its list of services"
    ]
    assert caplog.records == []


def test_without_apprise_its_alerts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says which extra is missing."""
    monkeypatch.setitem(sys.modules, "apprise", None)

    assert problems(tmp_path, APPRISE) == [
        "arbstr.toml: alerts[0].type: apprise is not installed, expected arbstr with its extra `notify`"
    ]


def test_secrets_of_alerts_are_known_to_those_who_mask_them(tmp_path: Path) -> None:
    """Whole URLs, the tokens in them, passwords; not the names that everybody uses."""
    secrets = {secret.reveal() for secret in compiled(tmp_path, ALPHA + WEBHOOK + SLACK + EMAIL + APPRISE).secrets}

    assert secrets == {
        "https://ops.example.com/hook/?team=a",
        "correct horse battery",
        "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx",
        "abcdefghijklmnopqrstuvwx",
        "abcd efgh ijkl",
        "json://127.0.0.1:9/abcdefghijklmnopqrstuvwx",
    }


def test_what_is_odd_about_them_is_told(tmp_path: Path) -> None:
    """Secrets in the file, no signature, no encryption."""
    plain = """
    [[alerts]]
    type = "webhook"
    url = "http://ops.example.com/hook"
    [[alerts]]
    type = "email"
    host = "smtp.example.com"
    starttls = false
    from = "a@example.com"
    to = "b@example.com"
    username = "u"
    password = "${MAIL}"
    """

    lines = compiled(tmp_path, WEBHOOK + SLACK + EMAIL + plain, environ={"MAIL": "x"}).warnings

    assert lines == (
        "providers: there is none, so every request is answered 404",
        'alerts[0].secret: stands in the file, better a variable: secret = "${NAME}"',
        'alerts[1].url: stands in the file, better a variable: url = "${NAME}"',
        'alerts[2].password: stands in the file, better a variable: password = "${NAME}"',
        "alerts[3].secret: none is set, so the receiver cannot tell arbstr's alerts from anybody else's",
        "alerts[3].url: is sent to unencrypted, better https://",
        "alerts[4].starttls: is off, so the password is sent unencrypted",
    )


def test_what_is_as_it_should_be_has_no_warning(tmp_path: Path) -> None:
    """TLS from the first byte needs no STARTTLS, and what stays on this machine no encryption."""
    text = """
    [[alerts]]
    type = "webhook"
    url = "http://127.0.0.1:9/hook"
    secret = "${SIGN}"
    [[alerts]]
    type = "email"
    host = "smtp.example.com"
    port = 465
    starttls = false
    from = "a@example.com"
    to = "b@example.com"
    username = "u"
    password = "${SIGN}"
    [[alerts]]
    type = "email"
    host = "localhost"
    starttls = false
    from = "a@example.com"
    to = "b@example.com"
    username = "u"
    password = "${SIGN}"
    """

    lines = compiled(tmp_path, ALPHA + "api_key = '${SIGN}'\n" + text, environ={"SIGN": "sk-0123456789"}).warnings

    assert lines == ()
