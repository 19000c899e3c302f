"""What a provider says in the Responses dialect, as the domain's events.

Most providers stream every piece and repeat it in the events that follow; some leave the pieces out and send only what
is done. So each text is taken from the first event that has it, and from no other.
"""

from __future__ import annotations

from typing import Any

from arbstr.dialects import lenient
from arbstr.dialects.responses.seal import openai_piece
from arbstr.domain.answer import (
    Begin,
    Event,
    Finish,
    FinishReason,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallBegin,
    ToolCallDelta,
)

TEXT_DELTA = "response.output_text.delta"
REFUSAL_DELTA = "response.refusal.delta"
SUMMARY_DELTA = "response.reasoning_summary_text.delta"
REASONING_DELTA = "response.reasoning_text.delta"
ARGUMENTS_DELTA = "response.function_call_arguments.delta"

_CALLS = ("function_call", "custom_tool_call")
_CUT = {"max_output_tokens": FinishReason.LENGTH, "content_filter": FinishReason.CONTENT_FILTER}


class Translator:
    """The events of one answer, in the order in which it is told."""

    def __init__(self) -> None:
        self._told: set[tuple[int, int]] = set()
        """The parts of items (output index, index of the part) of which pieces were streamed."""
        self._calls: dict[int, int] = {}
        """The tool calls, by their output index."""
        self._done: set[int] = set()
        self._summary = -1
        """The index of the summary's part that was told last, of the item at ``_thinking``."""
        self._thinking = -1
        self._refused = False

    def begin(self, response: dict[str, Any]) -> Event:
        return Begin(lenient.text(response.get("id")), lenient.text(response.get("model")))

    def delta(self, kind: str, text: str, index: int, part: int) -> tuple[Event, ...]:
        """A piece of what is at the output index ``index``; ``part`` is its content or summary index."""
        if kind == TEXT_DELTA:
            self._told.add((index, part))
            return (TextDelta(text),)
        if kind == ARGUMENTS_DELTA:
            call = self._calls.get(index)
            if call is None:
                return ()  # it comes whole with its item, by which it gets a name
            self._told.add((index, 0))
            return (ToolCallDelta(call, text),)
        if kind == REFUSAL_DELTA:
            self._told.add((index, part))
            self._refused = True
            return (RefusalDelta(text),)
        if kind in (SUMMARY_DELTA, REASONING_DELTA):
            self._told.add((index, 0))
            gap = self._thinking == index and self._summary != part
            self._thinking, self._summary = index, part
            return (ThinkingDelta(f"\n\n{text}" if gap else text),)
        return ()

    def item_added(self, item: dict[str, Any], index: int) -> tuple[Event, ...]:
        return self._begin_call(item, index) if item.get("type") == "function_call" else ()

    def item_done(self, item: dict[str, Any], index: int) -> tuple[Event, ...]:
        """What was not yet told of an item that is whole."""
        if index in self._done:
            return ()
        self._done.add(index)
        match item.get("type"):
            case "message":
                return self._message(item, index)
            case "function_call":
                events = self._begin_call(item, index)
                arguments = lenient.text(item.get("arguments"))
                if arguments and (index, 0) not in self._told:
                    events += (ToolCallDelta(self._calls[index], arguments),)
                return events
            case "reasoning":
                return self._reasoning(item, index)
        return ()

    def finish(self, response: dict[str, Any]) -> tuple[Event, ...]:
        """What ends the answer, after whatever of it was never streamed."""
        events: tuple[Event, ...] = ()
        if not self._told and not self._done:
            for index, item in enumerate(items_of(response)):
                events += self.item_done(item, index)
        return (*events, Finish(finish_reason(response, called=bool(self._calls), refused=self._refused)))

    def _begin_call(self, item: dict[str, Any], index: int) -> tuple[Event, ...]:
        if index in self._calls:
            return ()
        self._calls[index] = call = len(self._calls)
        call_id = lenient.text(item.get("call_id")) or lenient.text(item.get("id")) or f"call_{index}"
        return (ToolCallBegin(call, call_id, lenient.text(item.get("name")) or ""),)

    def _message(self, item: dict[str, Any], index: int) -> tuple[Event, ...]:
        events: list[Event] = []
        for number, part in enumerate(objects_in(item.get("content"))):
            if (index, number) in self._told:
                continue
            if refusal := lenient.text(part.get("refusal")):
                events.append(RefusalDelta(refusal))
            elif text := lenient.text(part.get("text")):
                events.append(TextDelta(text))
        return tuple(events)

    def _reasoning(self, item: dict[str, Any], index: int) -> tuple[Event, ...]:
        text = reasoning_text(item)
        events: list[Event] = []
        if text and (index, 0) not in self._told:
            events.append(ThinkingDelta(text))
        if encrypted := lenient.text(item.get("encrypted_content")):
            piece = openai_piece(lenient.text(item.get("id")) or "", encrypted)
            events.append(ThinkingDelta(signature=piece) if text else ThinkingDelta(redacted=piece))
        return tuple(events)


def finish_reason(response: dict[str, Any], *, called: bool, refused: bool) -> FinishReason:
    """Why the answer is over. ``called``, ``refused``: what is known beside the response, which need not repeat it."""
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if type(details) is dict else None
        return _CUT.get(reason, FinishReason.LENGTH) if type(reason) is str else FinishReason.LENGTH
    items = items_of(response)
    if called or any(item.get("type") in _CALLS for item in items):
        return FinishReason.TOOL_CALLS
    if refused or any(part.get("type") == "refusal" for item in items for part in objects_in(item.get("content"))):
        return FinishReason.REFUSAL
    return FinishReason.STOP


def items_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The output items of a response."""
    return objects_in(response.get("output"))


def reasoning_text(item: dict[str, Any]) -> str:
    """What can be read of a reasoning item: its summary, or else the reasoning itself."""
    for name in ("summary", "content"):
        found = [text for part in objects_in(item.get(name)) if (text := lenient.text(part.get("text")))]
        if found:
            return "\n\n".join(found)
    return ""


def item_size(item: dict[str, Any]) -> int:
    """The UTF-8 bytes of the text that was generated for an item."""
    said = [part.get(name) for part in objects_in(item.get("content")) for name in ("text", "refusal")]
    said += [item.get("arguments"), item.get("input")]
    said += [part.get("text") for part in objects_in(item.get("summary"))]
    return sum(lenient.size(text) for text in said if type(text) is str)


def objects_in(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; what else is in it, or is no list, is as if absent."""
    return [item for item in value if type(item) is dict] if type(value) is list else []
