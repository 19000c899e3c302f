"""Those who are told, for real: an HTTP server that keeps what it is posted, and a mail server."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any, NamedTuple, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from arbstr.domain.secret import Secret
from arbstr.upstream.pool import Pool
from arbstr.upstream.post import PoolPost
from tests.upstream.servers import LONG, Peer, serve


class Posted(NamedTuple):
    target: str
    """Path and query."""
    headers: dict[str, str]
    body: bytes


class Hook:
    """A server that answers with one status after the other, then with 200."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.posted: list[Posted] = []
        self.base = ""

    def url(self, path: str = "/hook") -> Secret:
        return Secret(self.base + path)

    async def serve(self, peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            first, *lines = head.decode().strip().split("\r\n")
            method, target, _ = first.split(" ")
            assert method == "POST"
            headers = dict(line.split(": ", 1) for line in lines)
            self.posted.append(Posted(target, headers, body))
            await peer.answer(b"thanks", status=self.answers.pop(0) if self.answers else b"200 OK")


@asynccontextmanager
async def hook(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Hook, PoolPost]]:
    """A receiver, and what posts to it."""
    receiver, pool = Hook(*answers), Pool()
    async with serve(receiver.serve, tls=tls) as server:
        receiver.base = str(server.origin)
        try:
            yield receiver, PoolPost(pool)
        finally:
            await pool.aclose()


class Mail(NamedTuple):
    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    login: str | None


class MailServer:
    """aiosmtpd, and what it received."""

    def __init__(self, refusals: Mapping[str, str]) -> None:
        self.port = 0
        self.mails: list[Mail] = []
        self._refusals = refusals

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]) -> str:
        if address in self._refusals:
            return self._refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "data" in self._refusals:
            return self._refusals["data"]
        message = BytesParser(policy=default).parsebytes(cast(bytes, envelope.content))
        assert server.transport is not None
        self.mails.append(
            Mail(
                envelope.mail_from or "",
                [str(each) for each in envelope.rcpt_tos],
                message,
                session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
                session.auth_data,
            )
        )
        return "250 taken"


def login_of(username: str, password: str) -> Any:
    """An authenticator for one account."""

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        given = data == LoginPassword(username.encode(), password.encode())
        return AuthResult(success=given, handled=False, auth_data=username)

    return authenticate


@contextmanager
def mail_server(
    *, refusals: Mapping[str, str] | None = None, implicit_tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[MailServer]:
    """A mail server in a thread, on the loop that it was written for; ``options`` are those of aiosmtpd's SMTP."""
    loop = asyncio.SelectorEventLoop()
    inbox = MailServer(refusals or {})

    def protocol() -> SMTP:
        return SMTP(inbox, loop=loop, **options)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    starting = asyncio.run_coroutine_threadsafe(loop.create_server(protocol, "127.0.0.1", 0, ssl=implicit_tls), loop)
    try:
        server = starting.result(LONG)
        inbox.port = server.sockets[0].getsockname()[1]
        yield inbox
        asyncio.run_coroutine_threadsafe(_ended(server), loop).result(LONG)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _ended(server: asyncio.AbstractServer) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
