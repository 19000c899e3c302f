"""Answers in the Responses dialect: streams of typed events and whole responses, made from a provider's frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from arbstr.dialects import lenient, sse
from arbstr.dialects.envelopes import error_envelope
from arbstr.dialects.openai.usage import merge_usage
from arbstr.dialects.responses import seal as responses_seal
from arbstr.dialects.responses.output import CallItem, Growing, MessageItem, OpenItem, ReasoningItem
from arbstr.dialects.responses.tools import Declared, read_tools
from arbstr.dialects.responses.usage import usage_object
from arbstr.dialects.sequence import Sequencer
from arbstr.domain.answer import (
    Event,
    Finish,
    FinishReason,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallBegin,
    ToolCallDelta,
)
from arbstr.domain.errors import FailureKind, GatewayError, InvalidRequest, UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage, estimated_tokens

_encode = msgspec.json.Encoder().encode
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_NULL = msgspec.Raw(b"null")

_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""What a response repeats of its request, and what it says where the request says nothing."""

_INCOMPLETE = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.PAUSE: "max_output_tokens",  # of the reasons that there are, the one that says: there is more to come
}
_DECLINED = "The model declined to answer."
"""A refusal in which the model itself said nothing."""

LONGEST = 8 * 1024 * 1024
"""Bytes of text in one answer. A stream of this dialect repeats all of it several times at its end, and keeps it
until then; no model writes as much."""


class ResponseStream:
    """A response, told as a stream of typed events; see :class:`~arbstr.dialects.translate.StreamWriter`.

    It begins with ``response.created`` and ends with ``response.completed`` or ``response.incomplete``. Of several
    choices only the first is told, for this dialect has no more.
    """

    def __init__(self, request: ChatRequest, *, request_id: str, model: str, created: int) -> None:
        self._key = request_id.replace("-", "")
        self._head = {"id": f"resp_{self._key}", "object": "response", "created_at": created}
        self._echo = _echo(request, model)
        self._tools = _declared(request)
        self._out: list[bytes] = []
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._open: OpenItem | None = None
        self._text: Growing | None = None
        self._sequencer = Sequencer()
        self._refused = False
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._input_bytes = request.input_bytes
        self._content_bytes = 0

    def write(self, frame: Frame) -> bytes:
        self._content_bytes += frame.content_bytes
        if self._content_bytes > LONGEST:
            raise UpstreamFailure(FailureKind.UNREADABLE, f"The provider's answer is longer than {LONGEST} bytes.")
        if frame.usage is not None:
            self._usage = merge_usage(self._usage, frame.usage)
        events = frame.events
        if not events:
            return b""
        if self._text is not None and len(events) == 1:
            event = events[0]
            if type(event) is TextDelta and not event.choice and event.text:
                self._sequence += 1
                return self._text(self._sequence - 1, event.text)
        self._begin()
        for event in events:
            if not getattr(event, "choice", 0):
                for next_one in self._sequencer.take(event):
                    self._take(next_one)
        return self._said()

    def end(self, *, cost_sats: float | None, cost_usd: float | None = None) -> bytes:
        self._begin()
        response = self.response(cost_sats=cost_sats, cost_usd=cost_usd)
        self._send(f"response.{response['status']}", {"response": response})
        return self._said()

    def error(self, error: GatewayError) -> bytes:
        """What ends the stream where it broke: an ``error`` event, and the response as far as it came."""
        self._begin()
        self._close("incomplete")
        self._send("error", error_fields(error))
        # Of failures on this side of the caller, the response's own codes have but one.
        said = {"code": error.code if error.status < 500 else "server_error", "message": error.message}
        self._send("response.failed", {"response": self._response("failed", self._output, error=said)})
        return self._said()

    def response(self, *, cost_sats: float | None = None, cost_usd: float | None = None) -> dict[str, Any]:
        """The whole response, which is over now."""
        for event in self._sequencer.rest():
            self._take(event)
        if self._finish is FinishReason.REFUSAL and not self._refused:
            self._take(RefusalDelta(_DECLINED))
        reason = _INCOMPLETE.get(self._finish) if self._finish is not None else None
        status = "incomplete" if reason is not None else "completed"
        self._close(status)
        usage = usage_object(self._counted(), cost_sats=cost_sats, cost_usd=cost_usd)
        details = {"reason": reason} if reason is not None else None
        return self._response(status, self._output, incomplete=details, usage=usage)

    def _counted(self) -> Usage:
        """The provider's numbers, or estimates by the rule of thumb: callers read the usage of every response."""
        produced = estimated_tokens(self._content_bytes)
        if self._usage is None:
            return Usage(estimated_tokens(self._input_bytes), produced, estimated=True)
        if self._usage.output_tokens:
            return self._usage
        return msgspec.structs.replace(self._usage, output_tokens=produced, estimated=True)

    def _begin(self) -> None:
        if not self._sequence:
            response = self._response("in_progress", [])
            self._send("response.created", {"response": response})
            self._send("response.in_progress", {"response": response})

    def _take(self, event: Event) -> None:
        match event:
            case TextDelta(text=text) if text:
                self._text = self._message().grow("output_text")
                self._delta(self._text, text)
            case RefusalDelta(text=text) if text:
                self._refused = True
                self._text = None
                self._delta(self._message().grow("refusal"), text)
            case ThinkingDelta():
                self._think(event)
            case ToolCallBegin():
                self._call_tool(event)
            case ToolCallDelta(arguments=arguments) if arguments and isinstance(self._open, CallItem):
                growing = self._open.grow()
                if growing is not None:
                    self._delta(growing, arguments)
                else:
                    self._open.collect(arguments)
            case Finish(reason=reason):
                self._finish = reason

    def _message(self) -> MessageItem:
        if not isinstance(self._open, MessageItem):
            self._close()
            self._open = MessageItem(self._send, f"msg_{self._item_key()}", len(self._output))
        return self._open

    def _think(self, event: ThinkingDelta) -> None:
        if event.redacted is not None:
            self._reason(responses_seal.REDACTED + event.redacted)
        if event.text:
            if not isinstance(self._open, ReasoningItem) or self._open.encrypted:
                self._close()
                self._open = ReasoningItem(self._send, responses_seal.ITEM + self._item_key(), len(self._output))
            self._delta(self._open.grow(), event.text)
        if event.signature:
            if isinstance(self._open, ReasoningItem) and not self._open.encrypted:
                self._open.encrypted = responses_seal.SIGNATURE + event.signature
            else:
                self._reason(responses_seal.SIGNATURE + event.signature)

    def _reason(self, encrypted: str) -> None:
        """An item that is nothing but a piece for its vendor."""
        self._close()
        item = ReasoningItem(self._send, responses_seal.ITEM + self._item_key(), len(self._output))
        item.encrypted = encrypted
        self._open = item
        self._close()

    def _call_tool(self, event: ToolCallBegin) -> None:
        if event.signature is not None:
            self._reason(f"{responses_seal.TOOL_CALL}{event.id}:{event.signature}")
        self._close()
        tool = self._tools.get(event.name) or Declared(event.name)
        item_id = ("ctc_" if tool.custom else "fc_") + self._item_key()
        self._open = CallItem(self._send, item_id, len(self._output), event.id, tool)

    def _close(self, status: str = "completed") -> None:
        self._text = None
        if self._open is not None:
            self._output.append(self._open.close(status))
            self._open = None

    def _item_key(self) -> str:
        return f"{self._key}{len(self._output):04x}"

    def _delta(self, growing: Growing, text: str) -> None:
        self._out.append(growing(self._sequence, text))
        self._sequence += 1

    def _send(self, event: str, fields: dict[str, Any]) -> None:
        data = _encode({"type": event, "sequence_number": self._sequence, **fields})
        self._out.append(sse.event(data, name=event.encode()))
        self._sequence += 1

    def _said(self) -> bytes:
        out, self._out = self._out, []
        return b"".join(out)

    def _response(
        self,
        status: str,
        output: list[dict[str, Any]],
        *,
        error: dict[str, Any] | None = None,
        incomplete: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        return {
            **self._head,
            "status": status,
            "error": error,
            "incomplete_details": incomplete,
            **self._echo,
            "output": output,
            "usage": usage,
        }


def whole_response(
    request: ChatRequest, frames: Sequence[Frame], *, request_id: str, model: str, created: int
) -> bytes:
    """The whole response that the frames' events and usage add up to."""
    stream = ResponseStream(request, request_id=request_id, model=model, created=created)
    for frame in frames:
        stream.write(frame)
    return _encode(stream.response())


def error_fields(error: GatewayError) -> dict[str, Any]:
    """``error`` as an event has it: in the form that is documented, and in the one that is sent and SDKs look for."""
    inner = msgspec.json.decode(error_envelope(error))["error"]
    return {"code": inner["code"], "message": inner["message"], "param": inner["param"], "error": inner}


def error_event(error: GatewayError) -> bytes:
    """``error`` as the last event of a stream that was written by someone else."""
    return sse.event(_encode({"type": "error", "sequence_number": 0, **error_fields(error)}), name=b"error")


def _echo(request: ChatRequest, model: str) -> dict[str, Any]:
    """What a response repeats. A value of the caller may have line ends, which an event must not have."""
    echo: dict[str, Any] = {"model": model, "background": False, "previous_response_id": None, "store": False}
    for name, absent in _ECHOED.items():
        raw = request.fields.get(name, _NULL)
        echo[name] = absent if raw == _NULL else msgspec.Raw(bytes(raw).translate(_ONE_LINE))
    return echo


def _declared(request: ChatRequest) -> dict[str, Declared]:
    """The tools that are called under another name or in another form than functions are."""
    raw = bytes(request.fields.get("tools", _NULL))
    if b'"custom"' not in raw and b'"namespace"' not in raw:
        return {}
    try:
        return read_tools(lenient.read_or_none(raw)).declared
    except InvalidRequest:
        return {}
