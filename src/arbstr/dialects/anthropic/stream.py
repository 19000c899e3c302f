"""Answers of the Messages API, read beside the relay: streams event by event, and whole messages.

A stream is ``message_start``, then blocks (``content_block_start``, its deltas, ``content_block_stop``), then
``message_delta`` with the reason of the end and the usage, then ``message_stop``; ``ping`` and ``error`` may come
anywhere. Same dialect on both sides: only what the gateway needs is read, and the bytes are relayed as they came.
"""

from __future__ import annotations

from typing import Any

from arbstr.dialects import lenient
from arbstr.dialects.anthropic.events import (
    Block,
    Delta,
    EventObject,
    Reader,
    arguments_of,
    read_event,
    read_message,
)
from arbstr.dialects.anthropic.usage import grown, read_usage
from arbstr.dialects.envelopes import error_in_answer, what_came
from arbstr.dialects.sse import MAX_EVENT, EventSplitter, EventTooLarge
from arbstr.dialects.sse import Event as SseEvent
from arbstr.domain.answer import Event
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage


class StreamDecoder:
    """A stream of the Messages API, as frames. See :class:`~arbstr.dialects.translate.Decoder`.

    After ``message_stop`` nothing counts: what follows it is dropped.
    """

    def __init__(self, *, events: bool, max_event: int = MAX_EVENT) -> None:
        self._splitter = EventSplitter(limit=max_event)
        self._reader = Reader() if events else None
        self._usage: dict[str, Any] = {}
        self.done = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes."""
        if self.done:
            return []
        try:
            return self._frames(self._splitter.feed(data))
        except EventTooLarge as error:
            raise _too_large(error) from error

    def finish(self) -> list[Frame]:
        """The frame of a last event that has no blank line. Call it at the clean end of the body."""
        if self.done:
            return []
        try:
            return self._frames(self._splitter.finish())
        except EventTooLarge as error:
            raise _too_large(error) from error

    def _frames(self, events: list[SseEvent]) -> list[Frame]:
        frames: list[Frame] = []
        for event in events:
            if self.done:
                break
            frame = self._frame(event)
            frames.append(frame)
            self.done = frame.done
        return frames

    def _frame(self, event: SseEvent) -> Frame:
        data = event.data
        if not data:
            return Frame(event.raw, comment=True)
        try:
            said = read_event(data)
        except ValueError:
            if event.name == b"error":
                return Frame(event.raw, data, failure=error_in_answer(data))
            return Frame(event.raw, data, malformed=True)
        kind = said.type
        delta = said.delta
        if kind == "content_block_delta" and delta is not None:
            size = _delta_size(delta)
            content = size > 0 or (delta.text is None and delta.partial_json is None and delta.thinking is None)
            made = self._reader.delta(_index(said), delta) if self._reader is not None else ()
            return Frame(event.raw, data, content, size, events=made)
        if kind == "error" or event.name == b"error":
            return Frame(event.raw, data, failure=error_in_answer(data))
        if kind == "ping":
            return Frame(event.raw, data, comment=True)
        return self._lifecycle(event.raw, data, said)

    def _lifecycle(self, raw: bytes, data: bytes, said: EventObject) -> Frame:
        """The events of which there are few in a stream."""
        made: tuple[Event, ...] = ()
        reader = self._reader
        match said.type:
            case "message_start" if said.message is not None:
                if reader is not None:
                    made = reader.begin(said.message)
                return Frame(raw, data, usage=self._counted(said.message.usage), events=made)
            case "content_block_start" if (block := said.content_block) is not None:
                if reader is not None:
                    made = reader.start(_index(said), block)
                return Frame(raw, data, _says(block), _block_size(block), events=made)
            case "content_block_stop" if reader is not None:
                return Frame(raw, data, events=reader.stop(_index(said)))
            case "message_delta":
                delta = said.delta or Delta()
                finish = lenient.text(delta.stop_reason)
                if reader is not None and finish is not None:
                    made = reader.end(finish, delta.stop_sequence, delta.stop_details)
                return Frame(raw, data, finish is not None, 0, finish, self._counted(said.usage), events=made)
            case "message_stop":
                return Frame(raw, data, done=True)
            case _:
                return Frame(raw, data)

    def _counted(self, reported: Any) -> Usage | None:
        self._usage = grown(self._usage, reported)
        return read_usage(self._usage)


def parse_whole(body: bytes, *, events: bool) -> Frame:
    """A whole message. Raises :class:`~arbstr.domain.errors.UpstreamFailure` for what is none.

    An error inside a 200 fails as its own type says; what is empty, cut, no JSON, or neither says anything nor has a
    reason to have ended is UNREADABLE.
    """
    try:
        message = read_message(body)
    except ValueError:
        raise UpstreamFailure(FailureKind.UNREADABLE, f"The provider's answer {what_came(body)}") from None
    if message.type == "error" or message.error:
        raise error_in_answer(body)
    if message.content is None:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer has no content.")
    finish = lenient.text(message.stop_reason)
    if finish is None and not any(_says(block) for block in message.content):
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer is empty.")
    size = sum(map(_block_size, message.content))
    made = Reader().whole(message) if events else ()
    return Frame(body, b"", True, size, finish, read_usage(message.usage), done=True, events=made)


def _says(block: Block) -> bool:
    """Whether a block is content from its start: all but texts and thoughts that are still empty."""
    return block.type not in ("text", "thinking") or bool(block.text or block.thinking)


def _delta_size(delta: Delta) -> int:
    text = delta.text
    if type(text) is str:
        return lenient.size(text)
    return sum(lenient.size(piece) for piece in (delta.partial_json, delta.thinking) if type(piece) is str)


def _block_size(block: Block) -> int:
    size = sum(lenient.size(piece) for piece in (block.text, block.thinking, block.name) if type(piece) is str)
    return size + len(arguments_of(block)) if block.input else size


def _index(said: EventObject) -> int:
    return said.index if type(said.index) is int else 0


def _too_large(error: EventTooLarge) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.UNREADABLE, f"The stream cannot be read: {error}.")
