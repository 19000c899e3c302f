"""A provider that streams at an even pace: `python -m bench.paced_upstream PORT CHUNKS INTERVAL_MS STREAMS`.

Each stream is given a place of its own within the interval, so that chunks of different streams arrive one by one, as
those of independent callers do, and not as one burst that a gateway could relay in one turn of its loop. asyncio's and
epoll's timers know only whole milliseconds, hence the small loop of its own, whose sleeps are good to 0.1 ms.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import sys
import time

from bench.payloads import STREAMS

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class Stream:
    """One connection: a request being read, or an answer being sent."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = b""
        self.unsent = b""
        self.sent_chunks = -1  # -1: no answer is under way
        self.wants_usage = False

    def request_is_whole(self) -> bool:
        """True once head and body (by Content-Length, or chunked) are there; they are then forgotten."""
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return False
        if length := _LENGTH.search(head):
            whole = len(body) >= int(length[1])
        else:
            whole = body.endswith(b"0\r\n\r\n")
        if whole:
            self.wants_usage = re.search(rb'"include_usage":\s*true', body) is not None
            self.received = b""
        return whole

    def send(self, data: bytes) -> None:
        """Send what the socket takes and keep the rest for the next turn: a slow gateway is not waited for."""
        self.unsent += data
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.connection.send(self.unsent) :]


class Upstream:
    def __init__(self, port: int, *, chunks: int, interval: float, places: int, dialect: str) -> None:
        self.chunks = chunks
        self.events = STREAMS[dialect]
        self.slot = interval / places
        self.places: list[Stream | None] = [None] * places
        self.active = 0
        self.streams: dict[int, Stream] = {}
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)

    def run(self) -> None:
        """Visit the places in turn, each at its time, for ever; sleep while nobody streams."""
        due = time.monotonic()
        while True:
            for place in range(len(self.places)):
                if not self.active:
                    self.serve(-1)
                    due = time.monotonic()
                self.serve(0)
                due += self.slot
                if (pause := due - time.monotonic()) > 0:
                    time.sleep(pause)
                if stream := self.places[place]:
                    self.advance(stream, place)

    def serve(self, timeout: float) -> None:
        for fd, _ in self.poll.poll(timeout):
            if fd == self.listener.fileno():
                connection, _ = self.listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.streams[connection.fileno()] = Stream(connection)
                self.poll.register(connection, select.EPOLLIN)
            else:
                self.read(self.streams[fd])

    def read(self, stream: Stream) -> None:
        try:
            data = stream.connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.close(stream)
            return
        stream.received += data
        if stream.request_is_whole():
            self.begin(stream)

    def begin(self, stream: Stream) -> None:
        """Give the stream a free place, or one more where there is none."""
        self.active += 1
        stream.sent_chunks = 0
        stream.send(_HEAD + _chunked(self.events.start))
        if None in self.places:
            self.places[self.places.index(None)] = stream
        else:
            self.places.append(stream)

    def advance(self, stream: Stream, place: int) -> None:
        try:
            if stream.sent_chunks < self.chunks:
                stream.sent_chunks += 1
                stream.send(_chunked(self.events.content(time.monotonic_ns() // 1000)))
            elif stream.sent_chunks == self.chunks:
                stream.sent_chunks += 1
                end = self.events.end(self.chunks, wants_usage=stream.wants_usage)
                stream.send(b"".join(_chunked(event) for event in end) + b"0\r\n\r\n")
            else:
                stream.send(b"")
        except OSError:
            self.close(stream)
        if stream.sent_chunks > self.chunks and not stream.unsent:
            self.leave(place)

    def leave(self, place: int) -> None:
        self.places[place] = None
        self.active -= 1

    def close(self, stream: Stream) -> None:
        if stream in self.places:
            self.leave(self.places.index(stream))
        if self.streams.pop(stream.connection.fileno(), None):
            self.poll.unregister(stream.connection)
            stream.connection.close()


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


if __name__ == "__main__":
    port, chunks, interval_ms, streams = (int(word) for word in sys.argv[2:])
    Upstream(port, chunks=chunks, interval=interval_ms / 1000, places=streams, dialect=sys.argv[1]).run()
