"""One connection: in which order requests are answered, and how it ends."""

from __future__ import annotations

import asyncio
from collections import deque

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from arbstr.edge.cycle import Cycle
from arbstr.edge.ids import new_request_id
from arbstr.edge.limits import HEAD_TOO_SLOW, TOO_MANY_CONNECTIONS, Refusal
from arbstr.edge.state import NEVER, EdgeState

# What the parser is in the middle of.
BETWEEN, HEAD, BODY = range(3)


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, without its ``cycle`` and ``pipeline``: the requests are ``active`` and ``queue`` here."""

    __slots__ = (  # beside the few attributes of uvicorn's, which keep their dict small
        "active",
        "deadline",
        "deaf",
        "edge",
        "held_up",
        "last_words",
        "limits",
        "lingering",
        "newest",
        "parsing",
        "queue",
        "stalled_since",
        "stalled_size",
        "turned_away",
    )

    def __init__(self, config: Config, edge: EdgeState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, edge, {}, loop)
        self.edge = edge
        self.limits = edge.limits
        self.deadline = NEVER  # an instant of edge.now, for whatever we are waiting for
        self.deaf = False  # what the peer sends is thrown away
        self.lingering = False
        self.turned_away = False
        self.last_words = b""  # to be sent after the answers that are still owed
        self.stalled_size = 0
        self.stalled_since = 0.0
        self.active: Cycle | None = None  # its response is being written
        self.newest: Cycle | None = None  # its body is being read
        self.queue: deque[Cycle] = deque()
        self.parsing = BETWEEN
        self.held_up = False  # we did not read, for some of the time in which a body is judged

    # Beginning and end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        edge = self.edge
        transport.set_write_buffer_limits(high=self.limits.write_buffer)
        self.deadline = edge.now + self.limits.head_timeout
        if len(edge.connections) - edge.turned_away > self.limits.connections:
            self._turn_away()

    def _turn_away(self) -> None:
        edge = self.edge
        edge.turned_away += 1
        self.turned_away = True
        if edge.turned_away > self.limits.turned_away:
            self.transport.abort()
        else:
            self.refuse(TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        edge = self.edge
        self.deadline = NEVER
        self._leave()
        edge.stalled.discard(self)
        edge.paused.discard(self)
        edge.turned_away -= self.turned_away
        super().connection_lost(exc)
        if edge.draining:
            edge.check_idle()

    def eof_received(self) -> None:
        self.peer_left()

    def peer_left(self) -> None:
        """The peer has sent a FIN, or is gone. That is a departure: what is still owed to it is not sent."""
        if self.active is None:
            self.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        active, self.active = self.active, None
        self.queue.clear()
        if active is not None:
            active.leave()

    def close(self) -> None:
        """Close when everything is sent, or when the peer does not take it."""
        if not self.transport.is_closing():
            self.deadline = NEVER
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self._watch_writing()

    def _linger(self) -> None:
        """Close after an answer that the peer may not have seen, as it is still sending (:attr:`Limits.linger`)."""
        self.ignore_input()
        self.lingering = True
        self.transport.write_eof()
        self.resume_reading()
        self.deadline = self.edge.now + self.limits.linger

    def shutdown(self) -> None:
        """Close after the requests that have arrived are answered; one whose headers are arriving still counts."""
        if self.active is not None:
            (self.queue[-1] if self.queue else self.active).keep_alive = False
        elif self.parsing == BETWEEN and not self.lingering:
            self.close()

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = NEVER
        if self.lingering:
            self.transport.abort()
        elif self.parsing == BODY:
            self.judge_body()
        elif self.parsing == HEAD or self.newest is None:
            self.refuse(HEAD_TOO_SLOW)
        else:
            self.close()

    def judge_body(self) -> None:
        raise NotImplementedError  # the reading side does

    # Answers

    def _start(self, cycle: Cycle) -> None:
        self.active = cycle
        cycle.task = task = self.loop.create_task(cycle.run(self.app))
        self.tasks.add(task)

    def finished(self, cycle: Cycle) -> None:
        """The response of ``cycle``, the active one, is complete."""
        edge = self.edge
        edge.total_requests += 1
        self.active = None
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self.queue.clear()
            if self.deaf or not cycle.body_complete:
                self._linger()
            else:
                self.close()
        elif self.queue:
            self._start(self.queue.popleft())
        elif self.last_words:
            self.transport.write(self.last_words)
            self._linger()
        else:
            self.resume_reading()
            if self.parsing == BETWEEN:
                self.deadline = edge.now + self.limits.keep_alive

    def refuse(self, refusal: Refusal, cycle: Cycle | None = None) -> None:
        """Answer ``cycle``, or a request that did not become one, by ``refusal``; then close.

        The answers that are owed to earlier requests go first. Where the answer to ``cycle`` has begun, the connection
        is aborted instead.
        """
        self.ignore_input()
        request_id = None
        if cycle is not None and cycle is self.active:
            begun = cycle.response_started and not cycle.head
            request_id = cycle.scope.get("arbstr.request_id")
            cycle.scope["arbstr.refusal"] = (refusal.status, refusal.code, refusal.message)
            self._leave()
            if begun:
                self.transport.abort()
                return
        elif cycle is not None and cycle in self.queue:
            self.queue.remove(cycle)
        request_id = request_id or new_request_id()
        self.edge.on_refusal(refusal, request_id)
        words = refusal.render(request_id, extra=self.edge.date + b"\r\n")
        if self.active is not None:
            self.last_words = words
        else:
            self.transport.write(words)
            self._linger()

    def ignore_input(self) -> None:
        self.deaf = True
        self.parsing = BETWEEN
        self.deadline = NEVER
        if self.active is not None:
            self.stop_reading()

    # Reading and writing

    def stop_reading(self) -> None:
        self.held_up = True
        self.flow.pause_reading()
        self.edge.paused.add(self)

    def resume_reading(self) -> None:
        if self.flow.read_paused:
            self.flow.resume_reading()
            self.edge.paused.discard(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self.edge.stalled.discard(self)

    def _watch_writing(self) -> None:
        self.stalled_since = self.edge.now
        self.stalled_size = self.transport.get_write_buffer_size()
        self.edge.stalled.add(self)

    def check_writing(self) -> None:
        """Cut off a peer that took nothing of what waits for it in :attr:`Limits.write_timeout`."""
        size = self.transport.get_write_buffer_size()
        if size < self.stalled_size:
            self._watch_writing()
        elif self.edge.now - self.stalled_since >= self.limits.write_timeout:
            self.abort()
