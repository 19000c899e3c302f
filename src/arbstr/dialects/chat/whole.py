"""Whole answers in OpenAI chat, collected from events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from arbstr.dialects.chat.answer import NO_ARGUMENTS, ChoiceState, call_object, json_of, usage_object
from arbstr.dialects.openai.usage import merge_usage
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
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage


class WholeChoice:
    """One choice, collected from its events."""

    def __init__(self) -> None:
        self._state = ChoiceState()
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._refusals: list[str] = []
        self._calls: dict[int, tuple[ToolCallBegin, list[str]]] = {}
        self._finish: FinishReason | None = None

    def add(self, event: Event) -> None:
        match event:
            case TextDelta():
                self._texts.append(event.text)
            case ThinkingDelta():
                self._thoughts.append(event.text)
                self._state.think(event.text)
                if event.signature is not None or event.redacted is not None:
                    self._details.append(self._state.detail(event))
            case RefusalDelta():
                self._state.refused = True
                self._refusals.append(event.text)
            case ToolCallBegin():
                self._calls[event.index] = (event, [])
            case ToolCallDelta():
                if event.index in self._calls:
                    self._calls[event.index][1].append(event.arguments)
            case Finish():
                self._finish = event.reason

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def refusal(self) -> str:
        return "".join(self._refusals)

    @property
    def finish(self) -> FinishReason:
        return self._finish or (FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP)

    def whole(self, index: int, *, legacy: bool) -> dict[str, Any]:
        """The choice as this API lists it."""
        message: dict[str, Any] = {"role": "assistant"}
        message["content"] = self.text if self._texts else None
        message["refusal"] = self.refusal or None
        if thought := "".join(self._thoughts):
            message["reasoning_content"] = thought
        if self._details:
            message["reasoning_details"] = self._details
            if rest := self._state.thought():  # so that the details say all that there is
                self._details.append({"type": "reasoning.text", "text": rest, "index": self._state.details})
        calls = [
            call_object(begin, "".join(pieces) or NO_ARGUMENTS) for _, (begin, pieces) in sorted(self._calls.items())
        ]
        if calls and legacy:
            message["function_call"] = calls[0]["function"]
        elif calls:
            message["tool_calls"] = calls
        finish = self._state.reason(self.finish, legacy=legacy)
        return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def collect(frames: Iterable[Frame]) -> tuple[dict[int, WholeChoice], Usage | None]:
    """The choices that the frames' events add up to, in order, at least one; and their usage."""
    choices: dict[int, WholeChoice] = {0: WholeChoice()}
    usage: Usage | None = None
    for frame in frames:
        usage = merge_usage(usage, frame.usage)
        for event in frame.events:
            if not isinstance(event, Begin):
                choices.setdefault(event.choice, WholeChoice()).add(event)
    return dict(sorted(choices.items())), usage


def whole_chat(frames: Sequence[Frame], *, id: str, model: str, created: int, legacy: bool = False) -> bytes:
    """A ``chat.completion``."""
    choices, usage = collect(frames)
    answer: dict[str, Any] = {"id": id, "object": "chat.completion", "created": created, "model": model}
    answer["choices"] = [choice.whole(index, legacy=legacy) for index, choice in choices.items()]
    if usage is not None:
        answer["usage"] = usage_object(usage)
    return json_of(answer)
