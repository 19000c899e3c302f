"""The server's life: listening, stopping, and limits of the whole process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from arbstr.edge.limits import Limits
from arbstr.edge.server import EdgeServer, ListenError
from tests.edge.raw import GET, Caller, Echo, Waiter, calling, serving, until

Receive = Callable[..., Any]
Send = Callable[..., Any]


class TestListening:
    async def test_any_port(self) -> None:
        """Port 0 becomes a real one."""
        async with serving(Echo()) as server, calling(server) as caller:
            caller.send(GET)
            response = await caller.response()

            assert server.address[0] == "127.0.0.1"
            assert server.address[1] > 0
            assert response.status == 200

    async def test_ipv6(self) -> None:
        """An IPv6 address is as good."""
        server = EdgeServer(Echo(), host="::1", port=0)
        try:
            await server.start()
        except ListenError:
            pytest.skip("this machine has no IPv6")
        try:
            async with calling(server) as caller:
                caller.send(GET)
                response = await caller.response()
        finally:
            server.abort()
            await server.wait_closed()

        assert response.status == 200

    async def test_port_in_use(self) -> None:
        """A port that is taken is named in the error."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ListenError, match=rf"^127\.0\.0\.1:{port} is in use"):
                await EdgeServer(Echo(), host="127.0.0.1", port=port).start()

    async def test_foreign_address(self) -> None:
        """So is an address that this machine does not have."""
        with pytest.raises(ListenError, match=r"192\.0\.2\.1:8080 is not an address of this machine"):
            await EdgeServer(Echo(), host="192.0.2.1", port=8080).start()

    async def test_signals_are_left_alone(self) -> None:
        """What a signal does is not the server's business."""
        before = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]
        async with serving(Echo()):
            during = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]

        assert during == before


class TestStopping:
    async def test_idle_connections_are_closed(self) -> None:
        """Connections without a request end at once, fresh or used, and no new one is accepted."""
        async with serving(Echo()) as server, calling(server) as fresh, calling(server) as used:
            used.send(GET)
            await used.response()
            await until(lambda: server.connections == 2)
            server.stop_accepting()
            ends = await fresh.rest(), await used.rest()
            await server.wait_closed()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*server.address)

        assert ends == (b"", b"")

    async def test_requests_are_finished(self) -> None:
        """A running request gets its answer, which says that it is the last, and only then is the server closed."""
        app = Waiter()
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            await until(lambda: app.events == ["begun"])
            server.stop_accepting()
            closed = asyncio.ensure_future(server.wait_closed())
            await asyncio.sleep(0)
            assert not closed.done()
            app.may_answer.set()
            response = await caller.response()
            rest = await caller.rest()
            await closed

        assert response.body == b"done"
        assert response.headers["connection"] == "close"
        assert rest == b""
        assert app.events == ["begun"]

    async def test_requests_that_have_arrived(self) -> None:
        """So do requests that wait behind it, and one whose headers have begun to arrive."""
        app = Waiter()
        async with serving(app) as server, calling(server) as piped, calling(server) as slow:
            piped.send(GET * 3)
            await until(lambda: app.events == ["begun"])
            slow.send(GET[:20])
            await until(
                lambda: server.connections == 2 and all(c.parsing or c.active for c in server.state.connections)
            )
            server.stop_accepting()
            slow.send(GET[20:])
            app.may_answer.set()
            answers = [await piped.response() for _ in range(3)]
            late = await slow.response()
            await server.wait_closed()

        assert [answer.headers.get("connection") for answer in answers] == [None, None, "close"]
        assert late.headers["connection"] == "close"

    async def test_abort(self) -> None:
        """Abort ends every connection; the applications learn of it and end by themselves."""
        app = Waiter(watch=True)
        async with serving(app) as server, calling(server) as caller:
            caller.send(GET)
            await until(lambda: app.events == ["begun"])
            server.abort()
            rest = await caller.rest()
            await server.wait_closed()

        assert rest == b""
        assert app.events == ["begun", "left", "disconnect"]

    async def test_cancel(self) -> None:
        """An application that does not end by itself is cancelled, also one that has not begun."""
        ends: list[str] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        async with serving(app) as server, calling(server) as caller, calling(server):
            caller.send(GET)
            await until(lambda: server.state.tasks and server.connections == 2)
            idle = next(c for c in server.state.connections if c.active is None)
            await asyncio.sleep(0)
            idle.data_received(GET)
            server.abort()
            server.cancel()
            await server.wait_closed()

        assert ends == ["cancelled"]


class TestLimits:
    async def test_too_many_connections(self) -> None:
        """A connection beyond the limit is told so; when one ends, the next is served."""
        async with serving(Echo(), Limits(connections=2)) as server, calling(server) as first:
            async with calling(server) as second, calling(server) as third:
                first.send(GET)
                second.send(GET)
                answers = [await first.response(), await second.response()]
                refused = await third.response()
                rest = await third.rest()
            await until(lambda: server.connections == 1)
            async with calling(server) as fourth:
                fourth.send(GET)
                after = await fourth.response()

        assert [answer.status for answer in answers] == [200, 200]
        assert refused.status == 503
        assert refused.error()["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        assert rest == b""
        assert after.status == 200

    async def test_a_crowd_beyond_the_limit(self) -> None:
        """Of very many connections beyond the limit not all are told, and none stays."""
        async with serving(Echo(), Limits(connections=1, turned_away=2)) as server, calling(server) as inside:
            inside.send(GET)
            await inside.response()
            crowd = [Caller(*await asyncio.open_connection(*server.address)) for _ in range(20)]
            ends = [await caller.rest() for caller in crowd]
            for caller in crowd:
                await caller.close()
            await until(lambda: server.connections == 1)
            inside.send(GET)
            after = await inside.response()

        assert 2 <= sum(b" 503 " in end for end in ends) < 20
        assert after.status == 200

    def test_running_out_of_files(self) -> None:
        """With few open files allowed, callers beyond them get a 503 or a close, those inside are served, and the
        server recovers, also from having no file left at all."""
        run = subprocess.run(
            [sys.executable, "-c", OUT_OF_FILES], capture_output=True, text=True, timeout=60, check=False
        )

        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout) == {
            "served": True,
            "refused": True,
            "served after the crowd": True,
            "inside without files": True,
            "refused without files": True,
            "served afterwards": True,
        }


OUT_OF_FILES = """
import asyncio, json, os, resource, socket
import uvloop

resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from arbstr.edge.server import EdgeServer

GET = b"GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n"

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

async def ask(sock):
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(sock, GET)
        async with asyncio.timeout(10):
            return await loop.sock_recv(sock, 65536)
    except ConnectionError:
        return b""

async def connect(address):
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, address)
    return sock

async def main():
    server = EdgeServer(app, host="127.0.0.1", port=0)
    await server.start()
    report = {}
    crowd = [await connect(server.address) for _ in range(100)]
    answers = [await ask(sock) for sock in crowd]
    report["served"] = sum(b" 200 " in answer for answer in answers) == 96
    report["refused"] = sum(b" 503 " in answer for answer in answers) == 4
    for sock in crowd[1:]:
        sock.close()
    while server.connections > 1:
        await asyncio.sleep(0.01)
    inside, outside = crowd[0], await connect(server.address)
    report["served after the crowd"] = b" 200 " in await ask(outside)
    outside.close()
    while server.connections > 1:
        await asyncio.sleep(0.01)
    # Now take every file there is. The socket that will call comes first, as it shares our process.
    late = socket.socket()
    late.setblocking(False)
    files = []
    try:
        while True:
            files.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    await asyncio.get_running_loop().sock_connect(late, server.address)
    report["refused without files"] = await ask(late) == b""
    report["inside without files"] = b" 200 " in await ask(inside)
    for file in files:
        os.close(file)
    after = await connect(server.address)
    report["served afterwards"] = b" 200 " in await ask(after)
    print(json.dumps(report))

uvloop.run(main())
"""
