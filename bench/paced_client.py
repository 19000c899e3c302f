"""Reads paced streams through a gateway: `python -m bench.paced_client '{"port": …, "streams": …, …}'`.

Prints one JSON object a line, each with the number of chunks read so far: `opening` before the first connection,
`steady` when every stream flows, `ending` when the window is over or the first stream comes to its end, `done` when all
have ended. What lies between `steady` and `ending` is the window, free of opening and closing. `ending` and `done` tell
how many microseconds chunks were on their way, those of the window and all; `done` tells what was wrong with any.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import httptools

from bench.payloads import DONE_EVENT, STAMP, request_body

# Chunks that every stream must have delivered before the window opens.
_LEAD_IN = 5


class Reader:
    """One stream: what came, and what is wrong with it."""

    def __init__(self, port: int, head: bytes, body: bytes) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.connection = socket.create_connection(("127.0.0.1", port), 30)
        self.connection.setblocking(False)
        self.connection.send(head + body)
        self.chunks = 0
        self.delays: list[int] = []  # microseconds on the way, one for each chunk
        self.rest = b""
        self.saw_done = False
        self.complete = False
        self.error = ""

    def on_body(self, data: bytes) -> None:
        """Count whole events; the part of an event that has come so far waits for the rest."""
        events, end, self.rest = (self.rest + data).rpartition(b"\n\n")
        now = time.monotonic_ns() // 1000
        for stamp in STAMP.findall(events):
            self.chunks += 1
            self.delays.append(now - int(stamp))
        self.saw_done = self.saw_done or DONE_EVENT in events + end

    def on_message_complete(self) -> None:
        self.complete = True

    def read(self) -> None:
        try:
            data = self.connection.recv(262144)
        except BlockingIOError:
            return
        except OSError as error:
            self.error = repr(error)
            return
        if not data:
            self.error = self.error or "connection closed before the end of the answer"
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.error = repr(error)

    @property
    def ended(self) -> bool:
        return self.complete or bool(self.error)

    def verdict(self, chunks: int) -> str:
        """Empty when the stream is what the upstream sent, else what is wrong."""
        if self.error:
            return self.error
        if (status := self.parser.get_status_code()) != 200:
            return f"status {status}"
        if self.chunks != chunks:
            return f"{self.chunks} chunks instead of {chunks}"
        return "" if self.saw_done else "no [DONE]"


class Client:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.chunks: int = spec["chunks"]
        self.window: float = spec["window"]
        self.deadline = time.monotonic() + spec["timeout"]
        body = request_body(spec["model"], stream=True)
        headers = {**spec["headers"], "Content-Length": len(body)}
        lines = [f"POST {spec['path']} HTTP/1.1", f"Host: 127.0.0.1:{spec['port']}"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()
        self.readers: dict[int, Reader] = {}
        self.tell("opening")
        for _ in range(spec["streams"]):
            reader = Reader(spec["port"], head, body)
            self.readers[reader.connection.fileno()] = reader
        self.open = set(self.readers)
        self.poll = select.epoll()
        for fd in self.readers:
            self.poll.register(fd, select.EPOLLIN)

    def run(self) -> None:
        self.read_until(lambda: all(r.chunks >= _LEAD_IN or r.ended for r in self.readers.values()))
        self.tell("steady")
        earlier = {fd: reader.chunks for fd, reader in self.readers.items()}
        closing = time.monotonic() + self.window
        self.read_until(lambda: time.monotonic() >= closing or len(self.open) < len(self.readers))
        self.tell("ending", delays=self.delays(earlier))
        self.read_until(lambda: not self.open)
        verdicts = [reader.verdict(self.chunks) for reader in self.readers.values()]
        self.tell("done", errors=[verdict for verdict in verdicts if verdict], delays=self.delays({}))

    def delays(self, earlier: dict[int, int]) -> dict[str, int]:
        """p50 and p99 of the chunks that came after the `earlier` ones, which are counted by stream."""
        ordered = sorted(delay for fd, reader in self.readers.items() for delay in reader.delays[earlier.get(fd, 0) :])
        if not ordered:
            return {"p50": 0, "p99": 0}
        return {f"p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 99)}

    def read_until(self, reached: Callable[[], bool]) -> None:
        while self.open and not reached():
            for fd, _ in self.poll.poll(0.05):
                reader = self.readers[fd]
                reader.read()
                if reader.ended:
                    self.poll.unregister(fd)
                    self.open.discard(fd)
            if time.monotonic() > self.deadline:
                for fd in self.open:
                    self.readers[fd].error = f"not finished in time, {self.readers[fd].chunks} chunks came"
                    self.poll.unregister(fd)
                self.open.clear()

    def tell(self, event: str, **more: Any) -> None:
        chunks = sum(reader.chunks for reader in self.readers.values())
        print(json.dumps({"event": event, "chunks": chunks, "at": time.monotonic(), **more}), flush=True)


if __name__ == "__main__":
    Client(json.loads(sys.argv[1])).run()
