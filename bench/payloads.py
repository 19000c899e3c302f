"""The bytes that travel: one chat request, its whole answer, and the events of its streamed answer."""

from __future__ import annotations

import json
import re

MODEL = "gpt-4o-mini"
PACED_MODEL = "gpt-4o-mini-paced"

_SYSTEM = (
    "You are a careful assistant for a small company that repairs bicycles. Answer in plain words, in at most three "
    "sentences, and say so when you do not know."
)
_QUESTION = (
    "A customer writes: my rear derailleur skips between the third and the fourth gear when I pedal hard uphill, "
    "but on the stand it shifts perfectly well. The chain is about 2,000 km old and the cassette is the first one. "
    "What should I ask them to check first, and what will it probably cost?"
)


def request_body(model: str, *, stream: bool) -> bytes:
    """A chat request of about 700 bytes, as an SDK would send it."""
    body = {
        "model": model,
        "messages": [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _QUESTION}],
        "temperature": 0.2,
        "max_tokens": 256,
        "stream": stream,
        "user": "bench",
    }
    return json.dumps(body).encode()


def whole_answer() -> bytes:
    """A chat completion of about 700 bytes, with usage."""
    text = (
        "Ask them to measure the chain first: after 2,000 km it is probably worn, and a worn chain skips under load "
        "although it shifts well on the stand. If it has stretched by 0.75 % or more, the cassette of the same age "
        "needs replacing with it, about 60 to 90 euros with labour."
    )
    answer = {
        "id": "chatcmpl-bench0000000000000000000",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 121, "completion_tokens": 66, "total_tokens": 187},
        "service_tier": "default",
        "system_fingerprint": "fp_bench",
    }
    return json.dumps(answer, separators=(",", ":")).encode()


_EVENT = (
    b'data: {"id":"chatcmpl-bench0000000000000000000","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"gpt-4o-mini-2024-07-18","system_fingerprint":"fp_bench","choices":[%s]%s}\n\n'
)
ROLE_EVENT = _EVENT % (
    b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}',
    b"",
)
FINISH_EVENT = _EVENT % (b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}', b"")
DONE_EVENT = b"data: [DONE]\n\n"

# What a content event carries: the monotonic clock of this machine when it was sent, in microseconds.
STAMP = re.compile(rb"@(\d{16}) ")


def content_event(now_us: int) -> bytes:
    """A chunk of about 250 bytes whose text is `now_us`, so that the reader can tell how long it was on its way."""
    delta = b'{"index":0,"delta":{"content":"@%016d "},"logprobs":null,"finish_reason":null}' % now_us
    return _EVENT % (delta, b"")


def usage_event(chunks: int) -> bytes:
    usage = b',"usage":{"prompt_tokens":121,"completion_tokens":%d,"total_tokens":%d}' % (chunks, chunks + 121)
    return _EVENT % (b"", usage)


# The same answers in Anthropic's format, for what translation costs.

ANTHROPIC_MODEL = "claude-sonnet-4-5"
ANTHROPIC_PACED_MODEL = "claude-sonnet-4-5-paced"


def anthropic_answer() -> bytes:
    """The whole answer as a message, with the same text and usage."""
    chat = json.loads(whole_answer())
    answer = {
        "id": "msg_bench0000000000000000000",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": chat["choices"][0]["message"]["content"]}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 121, "output_tokens": 66},
    }
    return json.dumps(answer, separators=(",", ":")).encode()


_MESSAGE_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_bench0000000000000000000",'
    b'"type":"message",'
    b'"role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":121,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
)
_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    b'"text":"@%016d "}}\n\n'
)
_MESSAGE_END = (
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":%d}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)


class ChatStream:
    """The events of a stream of chat completions."""

    start = ROLE_EVENT
    content = staticmethod(content_event)

    @staticmethod
    def end(chunks: int, *, wants_usage: bool) -> tuple[bytes, ...]:
        usage = (usage_event(chunks),) if wants_usage else ()
        return (FINISH_EVENT, *usage, DONE_EVENT)


class MessageStream:
    """The events of a stream of Anthropic's."""

    start = _MESSAGE_START

    @staticmethod
    def content(now_us: int) -> bytes:
        return _DELTA % now_us

    @staticmethod
    def end(chunks: int, *, wants_usage: bool) -> tuple[bytes, ...]:
        return (_MESSAGE_END % chunks,)


STREAMS: dict[str, type[ChatStream] | type[MessageStream]] = {"openai": ChatStream, "anthropic": MessageStream}
