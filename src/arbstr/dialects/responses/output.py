"""Output items of the Responses dialect as they grow: each says the events of its own, and in the end itself.

The order is the vendor's: an item is added, its parts are added, grow and are done, and then it is done, before the
next one is added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from arbstr.dialects.responses.tools import Declared, custom_input

_encode = msgspec.json.Encoder().encode

Send = Callable[[str, dict[str, Any]], None]
"""Says an event: its type, and its fields without type and sequence number."""


class Growing:
    """A text that comes in deltas. Calling it makes the event of one: the hot path of a translated stream."""

    def __init__(self, event: str, place: dict[str, Any], **after: Any) -> None:
        self.pieces: list[str] = []
        self._head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (event.encode(), event.encode())
        self._middle = b"," + _encode(place)[1:-1] + b',"delta":'
        self._tail = (b"," + _encode(after)[1:-1] if after else b"") + b"}\n\n"

    def __call__(self, sequence: int, delta: str) -> bytes:
        self.pieces.append(delta)
        return b"%b%d%b%b%b" % (self._head, sequence, self._middle, _encode(delta), self._tail)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class MessageItem:
    """A message of text and refusals."""

    def __init__(self, send: Send, item_id: str, index: int) -> None:
        self._send = send
        self._id = item_id
        self._index = index
        self._content: list[dict[str, Any]] = []
        self._kind = ""
        self._growing: Growing | None = None
        send("response.output_item.added", {"output_index": index, "item": self._item("in_progress")})

    def grow(self, kind: str) -> Growing:
        """Where deltas of ``kind`` (``output_text`` or ``refusal``) go: to the open part, or to a new one."""
        if self._growing is None or self._kind != kind:
            self._end_part()
            self._kind = kind
            place = self._place()
            self._send("response.content_part.added", {**place, "part": self._part("")})
            if kind == "refusal":
                self._growing = Growing("response.refusal.delta", place)
            else:
                self._growing = Growing("response.output_text.delta", place, logprobs=[])
        return self._growing

    def close(self, status: str) -> dict[str, Any]:
        self._end_part()
        item = self._item(status)
        self._send("response.output_item.done", {"output_index": self._index, "item": item})
        return item

    def _end_part(self) -> None:
        if self._growing is None:
            return
        text, place = self._growing.text, self._place()
        self._growing = None
        if self._kind == "refusal":
            self._send("response.refusal.done", {**place, "refusal": text})
        else:
            self._send("response.output_text.done", {**place, "text": text, "logprobs": []})
        part = self._part(text)
        self._send("response.content_part.done", {**place, "part": part})
        self._content.append(part)

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index, "content_index": len(self._content)}

    def _part(self, text: str) -> dict[str, Any]:
        if self._kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def _item(self, status: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "status": status,
            "content": list(self._content),
            "role": "assistant",
        }


class ReasoningItem:
    """Reasoning: its text as the summary, and what only its vendor can read as the encrypted content."""

    def __init__(self, send: Send, item_id: str, index: int) -> None:
        self._send = send
        self._id = item_id
        self._index = index
        self._summary: list[dict[str, Any]] = []
        self._growing: Growing | None = None
        self.encrypted = ""
        send("response.output_item.added", {"output_index": index, "item": self._item("in_progress")})

    def grow(self) -> Growing:
        if self._growing is None:
            place = self._place()
            part = {"type": "summary_text", "text": ""}
            self._send("response.reasoning_summary_part.added", {**place, "part": part})
            self._growing = Growing("response.reasoning_summary_text.delta", place)
        return self._growing

    def close(self, status: str) -> dict[str, Any]:
        if self._growing is not None:
            text, place = self._growing.text, self._place()
            part = {"type": "summary_text", "text": text}
            self._send("response.reasoning_summary_text.done", {**place, "text": text})
            self._send("response.reasoning_summary_part.done", {**place, "part": part})
            self._summary.append(part)
        item = self._item(status)
        self._send("response.output_item.done", {"output_index": self._index, "item": item})
        return item

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index, "summary_index": 0}

    def _item(self, status: str) -> dict[str, Any]:
        item = {"id": self._id, "type": "reasoning", "summary": list(self._summary), "status": status}
        return {**item, "encrypted_content": self.encrypted} if self.encrypted else item


class CallItem:
    """A call of a function or of a custom tool, under the name and in the form in which the caller declared it.

    The input of a custom tool is a string inside the JSON that the model writes: it is said when it is whole.
    """

    def __init__(self, send: Send, item_id: str, index: int, call_id: str, tool: Declared) -> None:
        self._send = send
        self._id = item_id
        self._index = index
        self._call_id = call_id
        self._tool = tool
        self._place = {"item_id": item_id, "output_index": index}
        self._growing = Growing("response.function_call_arguments.delta", self._place)
        send("response.output_item.added", {"output_index": index, "item": self._item("in_progress", "")})

    def grow(self) -> Growing | None:
        """Where deltas of arguments go as events; None where they are only to be collected by :meth:`collect`."""
        return None if self._tool.custom else self._growing

    def collect(self, delta: str) -> None:
        self._growing.pieces.append(delta)

    def close(self, status: str) -> dict[str, Any]:
        arguments = self._growing.text
        if self._tool.custom:
            said = custom_input(arguments)
            self._send("response.custom_tool_call_input.delta", {**self._place, "delta": said})
            self._send("response.custom_tool_call_input.done", {**self._place, "input": said})
        else:
            if not arguments:  # of a tool without any: callers read JSON
                arguments = "{}"
                self._send("response.function_call_arguments.delta", {**self._place, "delta": arguments})
            said = arguments
            self._send("response.function_call_arguments.done", {**self._place, "arguments": said})
        item = self._item(status, said)
        self._send("response.output_item.done", {"output_index": self._index, "item": item})
        return item

    def _item(self, status: str, said: str) -> dict[str, Any]:
        tool = self._tool
        kind, name = ("custom_tool_call", "input") if tool.custom else ("function_call", "arguments")
        item = {"id": self._id, "type": kind, "status": status, name: said, "call_id": self._call_id, "name": tool.name}
        return item if tool.namespace is None else {**item, "namespace": tool.namespace}


OpenItem = MessageItem | ReasoningItem | CallItem
