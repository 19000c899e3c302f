"""Alerts by mail: the standard library's SMTP in a thread, over TLS that is checked."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr

from arbstr.domain.alert import EmailTarget, MailTls
from arbstr.notify.notice import Notice
from arbstr.notify.sender import Undelivered
from arbstr.notify.thread import in_thread

PATIENCE = 15.0
"""Seconds for the connection, and for each answer."""

SHOWN = 200
"""Characters of what a server said."""


class Email:
    """``context`` makes what TLS is checked with, and is called in a thread, as reading the authorities blocks."""

    def __init__(
        self,
        target: EmailTarget,
        *,
        context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        patience: float = PATIENCE,
    ) -> None:
        self.name = target.name
        self._target = target
        self._context = context
        self._patience = patience

    async def send(self, notice: Notice) -> None:
        message = message_of(notice, self._target)
        line = Line()
        try:
            await in_thread(lambda: self._converse(line, message))
        except smtplib.SMTPException as error:
            raise _refusal(error) from error
        except OSError as error:
            raise Undelivered(_words(error), passing=True) from error
        finally:
            line.cut()

    def _converse(self, line: Line, message: EmailMessage) -> None:
        """In a thread."""
        target = self._target
        try:
            plain = socket.create_connection((target.host, target.port), timeout=self._patience)
        except UnicodeError as error:
            raise Undelivered("its host is no name that can be looked up", passing=False) from error
        with contextlib.closing(plain):
            line.hold(plain)
            sock = plain
            if target.tls is MailTls.IMPLICIT:
                sock = self._context().wrap_socket(plain, server_hostname=target.host)
            with contextlib.closing(Session(sock, target.host)) as session:
                session.greet()
                if target.tls is MailTls.STARTTLS:
                    session.starttls(context=self._context())
                if target.username is not None and target.password is not None:
                    session.login(target.username, target.password.reveal())
                refused = session.send_message(
                    message,
                    from_addr=parseaddr(target.sender)[1],
                    to_addrs=[parseaddr(each)[1] for each in target.recipients],
                )
                with contextlib.suppress(smtplib.SMTPException, OSError):  # the mail is on its way
                    session.quit()
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)


class Session(smtplib.SMTP):
    """A conversation over a connection that is there already."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        name = socket.gethostname()
        super().__init__(local_hostname=name if "." in name else "[127.0.0.1]")
        self.sock = sock
        self._host = host  # the name that STARTTLS checks; it is only set where smtplib has connected itself

    def greet(self) -> None:
        """Take the server's first word. Raises SMTPConnectError where it does not want to talk."""
        code, words = self.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)


class Line:
    """The connection, seen from outside its thread: it can be cut, and whoever waits at its end meets the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cut = False
        self._held: socket.socket | None = None

    def hold(self, sock: socket.socket) -> None:
        """``sock`` may be wrapped, and closed, as its owner likes: what is held is a duplicate."""
        with self._lock:
            if self._cut:
                raise TimeoutError("nobody waits for it any more")
            self._held = sock.dup()

    def cut(self) -> None:
        with self._lock:
            self._cut = True
            if self._held is not None:
                with contextlib.suppress(OSError), contextlib.closing(self._held):
                    self._held.shutdown(socket.SHUT_RDWR)
                self._held = None


def message_of(notice: Notice, target: EmailTarget) -> EmailMessage:
    """The mail. A line end in a header is not possible: the library refuses it, and the notice has none."""
    message = EmailMessage(policy=SMTP)
    message["From"] = target.sender
    message["To"] = ", ".join(target.recipients)
    message["Subject"] = notice.title
    message["Date"] = datetime.fromtimestamp(notice.alert.at, UTC)
    message["Message-ID"] = f"<{notice.id}@{parseaddr(target.sender)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Arbstr-Event"] = notice.alert.kind.value
    message["X-Arbstr-Event-Id"] = notice.id
    message.set_content(notice.text)
    return message


def _refusal(error: smtplib.SMTPException) -> Undelivered:
    """What a server's refusal means for the next try: 4xx passes, 5xx does not."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = list(error.recipients.values())
        code, words = answers[0]
        passing = any(400 <= each < 500 for each, _ in answers)
        return Undelivered(f"recipients refused: {len(answers)}, one with {_answer(code, words)}", passing=passing)
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code < 200:
        return Undelivered("it does not speak SMTP", passing=False)
    if isinstance(error, smtplib.SMTPResponseException):
        said = _answer(error.smtp_code, error.smtp_error)
        return Undelivered(f"it was answered with {said}", passing=400 <= error.smtp_code < 500)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        lost = error.__context__
        return Undelivered(_words(lost) if isinstance(lost, OSError) else "the connection was closed", passing=True)
    return Undelivered(str(error)[:SHOWN], passing=False)


def _answer(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return f"{code} {' '.join(text.split())}"[:SHOWN]


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"tls: {error.reason or 'handshake failed'}"
    if isinstance(error, TimeoutError):
        return "there was no answer in time"
    return error.strerror or type(error).__name__
