"""Mail, to a server that really receives it."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, cast

import pytest
import trustme

from arbstr.domain.alert import Alert, AlertKind, EmailTarget, MailTls
from arbstr.domain.secret import Secret
from arbstr.notify.email import Email, Line, message_of
from arbstr.notify.sender import Undelivered
from tests.notify.news import NOON, notice, opened
from tests.notify.receivers import MailServer, login_of, mail_server
from tests.upstream.servers import Peer, serve
from tests.upstream.test_pool_tls import server_context

PASSWORD = "abcd efgh canary"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that nobody but these tests trusts. Keys take a while, so it is made once."""
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def to(
    server: MailServer | int,
    *recipients: str,
    tls: MailTls = MailTls.NONE,
    login: tuple[str, str] | None = None,
    host: str = "127.0.0.1",
) -> EmailTarget:
    return EmailTarget(
        "alerts[2]",
        host=host,
        port=server if isinstance(server, int) else server.port,
        sender="arbstr <arbstr@example.com>",
        recipients=recipients or ("ops@example.com",),
        username=login[0] if login else None,
        password=Secret(login[1]) if login else None,
        tls=tls,
    )


async def failure(email: Email) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        await email.send(notice())
    return caught.value


async def test_a_mail_arrives() -> None:
    """With a subject that says it all, the rest as text, and to everybody at once."""
    with mail_server() as server:
        await Email(to(server, "ops@example.com", "Nacht Wächter <night@example.com>")).send(notice())

    (mail,) = server.mails
    assert mail.sender == "arbstr@example.com"
    assert mail.recipients == ["ops@example.com", "night@example.com"]
    assert not mail.encrypted
    message = mail.message
    assert message["From"] == "arbstr <arbstr@example.com>"
    assert message["To"] == "ops@example.com, Nacht Wächter <night@example.com>"
    assert message["Subject"] == "arbstr: circuit opened (alpha)"
    assert message["Date"].datetime == datetime.fromtimestamp(int(NOON), UTC)
    assert message["Message-ID"] == "<0b7cb3a6-8bd5-4b6e-9f50-0f8d4a3a5d43@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Arbstr-Event"] == "circuit_opened"
    assert message.get_content().splitlines() == [
        "provider alpha failed 3 times in a row and is left alone: connection refused",
        "",
        "subject: alpha",
        "window: hour 2026-11-21T12:00Z",
        "at: 2026-11-21T12:34:56.789Z",
        "failures: 3",
        "error: connection refused",
    ]


async def test_a_login_and_what_it_says_travel_encrypted(authority: trustme.CA) -> None:
    """STARTTLS first, then the password, then the mail."""
    options = {
        "tls_context": server_context(authority, "127.0.0.1"),
        "require_starttls": True,
        "auth_required": True,
        "authenticator": login_of("arbstr", PASSWORD),
    }
    with mail_server(**options) as server:
        target = to(server, tls=MailTls.STARTTLS, login=("arbstr", PASSWORD))
        await Email(target, context=lambda: trusting(authority)).send(notice())

    (mail,) = server.mails
    assert (mail.encrypted, mail.login) == (True, "arbstr")


async def test_tls_may_come_first(authority: trustme.CA) -> None:
    """As it does at port 465."""
    with mail_server(implicit_tls=server_context(authority, "127.0.0.1")) as server:
        await Email(to(server, tls=MailTls.IMPLICIT), context=lambda: trusting(authority)).send(notice())

    assert [mail.encrypted for mail in server.mails] == [True]


@pytest.mark.parametrize("tls", [MailTls.STARTTLS, MailTls.IMPLICIT])
async def test_a_server_that_nobody_vouches_for_is_told_nothing(authority: trustme.CA, tls: MailTls) -> None:
    """Neither by STARTTLS nor without: no password, no mail. By default the machine's authorities count."""
    context = server_context(authority, "127.0.0.1")
    asked: list[str] = []

    def authenticate(*call: object) -> object:
        asked.append("login")
        raise AssertionError(call)

    options = {"implicit_tls": context} if tls is MailTls.IMPLICIT else {"tls_context": context}
    with mail_server(authenticator=authenticate, **cast(dict[str, Any], options)) as server:
        problem = await failure(Email(to(server, tls=tls, login=("arbstr", PASSWORD))))

    assert problem.reason.startswith("tls: certificate not accepted: ")
    assert problem.passing
    assert (server.mails, asked) == ([], [])


async def test_a_certificate_for_another_name_is_not_accepted(authority: trustme.CA) -> None:
    """A good certificate of somebody else is no good."""
    with mail_server(tls_context=server_context(authority, "other.test")) as server:
        problem = await failure(Email(to(server, tls=MailTls.STARTTLS), context=lambda: trusting(authority)))

    assert "127.0.0.1" in problem.reason
    assert server.mails == []


async def test_a_server_without_starttls_is_told_nothing() -> None:
    """Somebody in between may have taken the offer out."""
    with mail_server() as server:
        problem = await failure(Email(to(server, tls=MailTls.STARTTLS, login=("arbstr", PASSWORD))))

    assert problem.reason == "STARTTLS extension not supported by server."
    assert not problem.passing
    assert server.mails == []


async def test_a_wrong_password_is_final(authority: trustme.CA) -> None:
    """It is not tried again, so that nobody is locked out, and it is in no message."""
    options = {
        "tls_context": server_context(authority, "127.0.0.1"),
        "auth_required": True,
        "authenticator": login_of("arbstr", "another"),
    }
    with mail_server(**options) as server:
        target = to(server, tls=MailTls.STARTTLS, login=("arbstr", PASSWORD))
        problem = await failure(Email(target, context=lambda: trusting(authority)))

    assert problem.reason.startswith("it was answered with 535 ")
    assert not problem.passing
    assert PASSWORD not in problem.reason
    assert base64.b64encode(PASSWORD.encode()).decode() not in problem.reason


@pytest.mark.parametrize(
    ("refusals", "reason", "passing"),
    [
        ({"data": "451 later\r\n"}, "it was answered with 451 later", True),
        ({"data": "554 spam"}, "it was answered with 554 spam", False),
        (
            {"a@example.com": "450 greylisted", "b@example.com": "550 unknown"},
            "recipients refused: 2, one with 450 greylisted",
            True,
        ),
        (
            {"a@example.com": "550 unknown", "b@example.com": "550 unknown"},
            "recipients refused: 2, one with 550 unknown",
            False,
        ),
    ],
)
async def test_what_a_server_refuses_may_pass_or_not(refusals: dict[str, str], reason: str, passing: bool) -> None:
    """By the first digit, as SMTP has it."""
    with mail_server(refusals=refusals) as server:
        problem = await failure(Email(to(server, "a@example.com", "b@example.com")))

    assert (problem.reason, problem.passing) == (reason, passing)
    assert server.mails == []


async def test_one_recipient_that_is_refused_does_not_keep_it_from_the_others() -> None:
    """They have it; that one has not is said, and not tried again, or they would have it twice."""
    with mail_server(refusals={"b@example.com": "550 unknown"}) as server:
        problem = await failure(Email(to(server, "a@example.com", "b@example.com")))

    assert [mail.recipients for mail in server.mails] == [["a@example.com"]]
    assert problem.reason == "recipients refused: 1, one with 550 unknown"
    assert not problem.passing


async def test_a_server_that_does_not_want_to_talk_may_change_its_mind() -> None:
    """421 instead of a greeting; or no word at all."""

    async def busy(peer: Peer) -> None:
        await peer.send(b"421 too busy\r\n")

    async def mute(peer: Peer) -> None:
        pass

    async def babbling(peer: Peer) -> None:
        await peer.send(b"hello?\r\n")
        await peer.left()

    said = []
    for script in (busy, mute, babbling):
        async with serve(script) as server:
            said.append(await failure(Email(to(server.origin.port))))
    gone = await failure(Email(to(server.origin.port)))

    assert [problem.reason for problem in [*said, gone]] == [
        "it was answered with 421 too busy",
        "the connection was closed",
        "it does not speak SMTP",
        "Connection refused",
    ]
    assert [problem.passing for problem in [*said, gone]] == [True, True, False, True]


async def test_a_server_that_hangs_can_be_left() -> None:
    """The try is cancelled, its connection is closed at once, and its thread ends."""
    heard = asyncio.Event()

    async def hang(peer: Peer) -> None:
        heard.set()
        await peer.left()

    async with serve(hang) as server:
        sending = asyncio.create_task(Email(to(server.origin.port)).send(notice()))
        await heard.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.nobody()


async def test_a_server_that_says_nothing_may_find_its_words() -> None:
    """It has a while for each answer."""

    async def mute(peer: Peer) -> None:
        await peer.left()

    async with serve(mute) as server:
        problem = await failure(Email(to(server.origin.port), patience=0.01))

    assert (problem.reason, problem.passing) == ("there was no answer in time", True)


async def test_what_speaks_no_tls_is_told_nothing(authority: trustme.CA) -> None:
    """A port that was mistaken for another."""
    with mail_server() as server:
        problem = await failure(Email(to(server, tls=MailTls.IMPLICIT), context=lambda: trusting(authority)))

    assert problem.reason.startswith("tls: ")
    assert problem.passing
    assert server.mails == []


def test_a_connection_that_comes_too_late_is_not_used() -> None:
    """Whoever waited for it has left."""
    line = Line()
    line.cut()

    with socket.socket() as late, pytest.raises(TimeoutError):
        line.hold(late)


async def test_a_name_that_cannot_exist_is_final() -> None:
    """It is not even asked for."""
    problem = await failure(Email(to(25, host="smtp..example.com")))

    assert (problem.reason, problem.passing) == ("its host is no name that can be looked up", False)


def test_no_header_can_be_smuggled_in() -> None:
    """A subject is one line, whatever a name has in it, and so are the addresses."""
    evil = "alpha\r\nBcc: evil@example.com\r\n\r\nhello"
    alert = Alert(AlertKind.CIRCUIT_OPENED, evil, evil, evil, NOON, {"error": evil})

    raw = message_of(notice(alert), to(25)).as_bytes()
    head, _, body = raw.partition(b"\r\n\r\n")

    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert len(names) == len(set(names))
    assert b"Bcc" not in names
    assert b"\r\nBcc" not in body
    with pytest.raises(ValueError, match="may not contain linefeed or carriage return"):
        EmailMessage(policy=SMTP)["Subject"] = evil


def test_a_long_and_foreign_text_is_still_a_mail() -> None:
    """Encoded as mail has to be: ASCII in the head, and no line too long."""
    raw = message_of(notice(opened("ä" * 300, error="ß" * 2000)), to(25)).as_bytes()

    head, _, _ = raw.partition(b"\r\n\r\n")
    assert head.isascii()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
