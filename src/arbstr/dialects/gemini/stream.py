"""What Gemini's answers say: streams event by event, and whole bodies. Both are made of the same object."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.envelopes import is_error, what_came
from arbstr.dialects.gemini.answer import Answer, Call, Candidate, Part, read_answer, read_usage
from arbstr.dialects.gemini.errors import gemini_failure_in_answer
from arbstr.dialects.gemini.parts import SIGNED
from arbstr.dialects.sse import MAX_EVENT, EventSplitter, EventTooLarge
from arbstr.dialects.sse import Event as StreamEvent
from arbstr.domain.answer import Begin, Event, Finish, FinishReason, TextDelta, ThinkingDelta, ToolCallBegin
from arbstr.domain.answer import ToolCallDelta as Arguments
from arbstr.domain.errors import FailureKind, UpstreamFailure
from arbstr.domain.events import Frame

_FINISHES = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
    "PUP_LIMITED_DISABLED": FinishReason.CONTENT_FILTER,
    "ESCALATION": FinishReason.CONTENT_FILTER,
    "CONTINUATION": FinishReason.PAUSE,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
}
_FAILED = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "IMAGE_OTHER",
        "OTHER",
    }
)
"""The model went astray: what there is of the answer is none. It happens to this request, and is nobody's health."""


class GeminiDecoder:
    """A stream of ``streamGenerateContent?alt=sse``, as frames. Bytes may come in any pieces.

    There is no end mark: the stream ends after the last finish, when the body ends.
    """

    def __init__(self, *, events: bool, max_event: int = MAX_EVENT) -> None:
        self._splitter = EventSplitter(limit=max_event)
        self._reader = Reader(events=events)

    def feed(self, data: bytes) -> list[Frame]:
        try:
            return [self._frame(event) for event in self._splitter.feed(data)]
        except EventTooLarge as error:
            raise _too_large(error) from error

    def finish(self) -> list[Frame]:
        try:
            return [self._frame(event) for event in self._splitter.finish()]
        except EventTooLarge as error:
            raise _too_large(error) from error

    def _frame(self, event: StreamEvent) -> Frame:
        if not event.data:
            return Frame(event.raw, comment=True)
        return self._reader.frame(event.raw, event.data)


def _too_large(error: EventTooLarge) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.UNREADABLE, f"The stream cannot be read: {error}.")


def parse_whole(body: bytes, *, events: bool) -> Frame:
    """A whole answer. Raises UpstreamFailure for what is none, or is an error."""
    frame = Reader(events=events).frame(body, body)
    if frame.failure is not None:
        raise frame.failure
    if frame.malformed:
        raise UpstreamFailure(FailureKind.UNREADABLE, f"The provider's answer {what_came(body)}")
    if not frame.content:
        raise UpstreamFailure(FailureKind.UNREADABLE, "The provider's answer is empty.")
    return msgspec.structs.replace(frame, data=b"", usage_only=False, done=True)


class Reader:
    """Reads the objects of one answer, in order."""

    def __init__(self, *, events: bool) -> None:
        self._events = events
        self._begun = False
        self._id = ""
        self._calls: dict[int, int] = {}
        """How many tools each choice has called so far."""
        self._finished: set[int] = set()
        """Choices that have finished: some models say it more than once."""

    def frame(self, raw: bytes, data: bytes) -> Frame:
        """What ``data`` says, whose bytes on the wire were ``raw``."""
        try:
            answer = read_answer(data)
        except ValueError:
            done = data[:6] == b"[DONE]"  # from servers that imitate Gemini; it sends none
            return Frame(raw, data, done=done, malformed=not done)
        if answer.error or (answer.candidates is None and answer.usage_metadata is None and is_error(data)):
            return Frame(raw, data, failure=gemini_failure_in_answer(data))
        usage = read_usage(answer.usage_metadata)
        said: list[Event] = []
        self._begin(answer, said)
        size, finish, content = 0, None, False
        for position, candidate in enumerate(answer.candidates or ()):
            choice = candidate.index if type(candidate.index) is int else position
            if candidate.content is not None and candidate.content.parts:
                for part in candidate.content.parts:
                    part_size = self._part(part, choice, said)
                    size += part_size
                    content = content or part_size > 0 or bool(part.thought_signature)
            if candidate.finish_reason:
                content = True
                failure = _failure_of(candidate)
                if failure is not None:
                    return Frame(raw, data, usage=usage, failure=failure)
                reason = self._finish(candidate.finish_reason, choice)
                finish = reason.value
                self._say_finish(Finish(reason, None, choice), said)
        if not answer.candidates and _blocked(answer.prompt_feedback):
            content, finish = True, FinishReason.CONTENT_FILTER.value
            self._say_finish(Finish(FinishReason.CONTENT_FILTER), said)
        events = tuple(said) if self._events else ()
        return Frame(raw, data, content, size, finish, usage, not content and usage is not None, events=events)

    def _begin(self, answer: Answer, said: list[Event]) -> None:
        if self._begun:
            return
        self._begun = True
        self._id = lenient.text(answer.response_id) or ""
        if self._events:
            said.append(Begin(self._id or None, lenient.text(answer.model_version)))

    def _part(self, part: Part, choice: int, said: list[Event]) -> int:
        """Append what ``part`` says; returns its UTF-8 bytes of generated text, at least 1 if it says anything."""
        if part.function_call is not None:
            return self._call(part.function_call, part.thought_signature, choice, said)
        text = part.text
        size = 0
        if type(text) is str and text:
            size = len(text) if text.isascii() else lenient.size(text)
            if self._events:
                said.append(ThinkingDelta(text, choice=choice) if part.thought is True else TextDelta(text, choice))
        elif part.inline_data is not None:
            return self._image(part.inline_data, choice, said)
        if self._events and type(part.thought_signature) is str and part.thought_signature:
            said.append(ThinkingDelta(signature=SIGNED + part.thought_signature, choice=choice))
        return size

    def _call(self, call: Call, signature: Any, choice: int, said: list[Event]) -> int:
        index = self._calls.get(choice, 0)
        self._calls[choice] = index + 1
        name = lenient.text(call.name) or ""
        args = bytes(call.args)
        if self._events:
            text = "{}" if args == b"null" else _compact(args)
            id = lenient.text(call.id) or self._made_id(name, text, choice, index)
            said.append(ToolCallBegin(index, id, name, choice, lenient.text(signature)))
            said.append(Arguments(index, text, choice))
        return len(name) + len(args)

    def _made_id(self, name: str, arguments: str, choice: int, index: int) -> str:
        """An id for a call that has none: the same each time the answer is read, and another in the next answer."""
        seed = "\0".join((self._id, name, arguments, str(choice), str(index)))
        return "call_" + hashlib.blake2b(seed.encode("utf-8", "replace"), digest_size=12).hexdigest()

    def _image(self, image: Any, choice: int, said: list[Event]) -> int:
        """A picture, as Markdown with a data URL: chats show it, and it is not lost."""
        data = image.get("data") if type(image) is dict else None
        if type(data) is not str or not data:
            return 0
        if self._events:
            kind = lenient.text(image.get("mimeType")) or "image/png"
            said.append(TextDelta(f"![image](data:{kind};base64,{data})", choice))
        return 1  # its tokens are not counted by its bytes

    def _say_finish(self, finish: Finish, said: list[Event]) -> None:
        if finish.choice not in self._finished:
            self._finished.add(finish.choice)
            said.append(finish)

    def _finish(self, reason: Any, choice: int) -> FinishReason:
        found = _FINISHES.get(reason, FinishReason.STOP) if type(reason) is str else FinishReason.STOP
        return FinishReason.TOOL_CALLS if found is FinishReason.STOP and self._calls.get(choice) else found


def _failure_of(candidate: Candidate) -> UpstreamFailure | None:
    reason = candidate.finish_reason
    if type(reason) is not str or reason not in _FAILED:
        return None
    # Its finishMessage quotes what the model wrote, which belongs into no log.
    message = f"The model stopped without an answer ({reason})."
    return UpstreamFailure(FailureKind.TRANSIENT, message, code=reason.lower())


def _blocked(feedback: Any) -> bool:
    """Whether the prompt was refused by the safety filter."""
    return type(feedback) is dict and bool(feedback.get("blockReason"))


def _compact(args: bytes) -> str:
    """JSON without the spaces and line ends in which Gemini prints it, every number as it was written."""
    try:
        return msgspec.json.format(args, indent=-1).decode("utf-8", "replace")
    except (ValueError, RecursionError):
        return args.decode("utf-8", "replace")
