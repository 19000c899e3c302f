"""OpenAI chat against itself: what is written is read again as what it was."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from arbstr.dialects.chat import ChatCaller, ChatProvider
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
from arbstr.domain.conversation import (
    CacheHint,
    Conversation,
    Media,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from arbstr.domain.events import Frame
from arbstr.domain.money import Currency
from arbstr.domain.usage import Charge, Usage

CALLER = ChatCaller()
PROVIDER = ChatProvider()
MODEL = "anthropic/claude-sonnet-4.5"
"""Of the family that is told the most: cache hints, and reasoning with its proof."""

WORDS = st.text(min_size=1, max_size=6)
NAMES = st.text("abc_", min_size=1, max_size=6)
HINTS = st.none() | st.builds(CacheHint, st.none() | st.sampled_from(["5m", "1h"]))
TEXTS = st.builds(Text, WORDS, HINTS)
MEDIA = st.one_of(
    st.builds(
        Media,
        st.just("image"),
        url=st.just("https://x.example/a"),
        detail=st.none() | st.sampled_from(["low", "high"]),
        cache=HINTS,
    ),
    st.builds(Media, st.just("image"), data=st.just("iVBOR"), media_type=st.just("image/png"), cache=HINTS),
    st.builds(Media, st.just("audio"), data=st.just("SUQz"), media_type=st.just("audio/mpeg"), cache=HINTS),
    st.builds(
        Media,
        st.just("document"),
        data=st.just("JVBERi0"),
        media_type=st.just("application/pdf"),
        name=st.just("a.pdf"),
        cache=HINTS,
    ),
)
IDS = st.sampled_from(["call_1", "call_2"])
CALLS = st.builds(ToolCall, IDS, NAMES, st.sampled_from(["{}", '{"a":1}']), cache=HINTS)
RESULTS = st.builds(ToolResult, IDS, st.lists(TEXTS, max_size=2).map(tuple), cache=HINTS)
THOUGHTS = st.one_of(
    st.builds(Thinking, WORDS, signature=WORDS), st.builds(Thinking, st.just(""), redacted=st.just("ZGF0YQ=="))
)
SCHEMAS = st.dictionaries(NAMES, st.integers(0, 3) | st.text(max_size=3), max_size=2)
TOOLS = st.builds(Tool, NAMES, st.none() | WORDS, st.none() | SCHEMAS, st.none() | st.booleans(), HINTS)


def listed(parts: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(parts, max_size=most)


@st.composite
def turns(draw: st.DrawFn) -> Message:
    name = draw(st.none() | NAMES)
    if draw(st.booleans()):
        kind = draw(st.sampled_from([TEXTS | MEDIA, RESULTS]))
        parts = draw(st.lists(kind, min_size=1, max_size=3))
        return Message(Role.USER, tuple(parts), None if isinstance(parts[0], ToolResult) else name)
    refusal = draw(st.none() | WORDS.map(Refusal))
    said: list[Part] = [*draw(listed(THOUGHTS)), *draw(listed(TEXTS)), *([refusal] if refusal else [])]
    return Message(Role.ASSISTANT, (*said, *draw(listed(CALLS))), name)


NUMBERS = st.none() | st.floats(-2, 2)
CONVERSATIONS = st.builds(
    Conversation,
    instructions=listed(TEXTS).map(tuple),
    messages=st.lists(turns(), min_size=1, max_size=4).map(tuple),
    tools=st.lists(TOOLS, min_size=1, max_size=2, unique_by=lambda tool: tool.name).map(tuple),
    tool_choice=st.none()
    | st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))
    | st.builds(ToolChoice, st.just("tool"), NAMES),
    parallel_tool_calls=st.none() | st.booleans(),
    max_tokens=st.none() | st.integers(1, 2**31 - 1),
    temperature=NUMBERS,
    top_p=NUMBERS,
    stop=st.lists(WORDS, max_size=3).map(tuple),
    n=st.integers(1, 128),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    frequency_penalty=NUMBERS,
    presence_penalty=NUMBERS,
    output_format=st.none()
    | st.just(OutputFormat())
    | st.builds(OutputFormat, SCHEMAS, NAMES, st.none() | st.booleans()),
    reasoning=st.none() | st.builds(Reasoning, st.sampled_from(["minimal", "low", "medium", "high", "xhigh"])),
    user=st.none() | WORDS,
)


def joined(texts: Iterable[Text], between: str) -> tuple[Text, ...]:
    """Texts as this API has them: in parts where one of them has a cache hint, else in one string."""
    found = tuple(texts)
    if not found or any(text.cache for text in found):
        return found
    return (Text(between.join(text.text for text in found)),)


def normal(message: Message) -> Message:
    """``message`` as far as this API keeps it: an assistant's parts have their order, and texts are joined."""
    parts = message.parts
    if message.role is Role.USER:
        if isinstance(parts[0], ToolResult):
            results = [part for part in parts if isinstance(part, ToolResult)]
            return Message(Role.USER, tuple(normal_result(result) for result in results))
        texts = [part for part in parts if isinstance(part, Text)]
        return Message(Role.USER, joined(texts, "\n"), message.name) if len(texts) == len(parts) else message
    refusal = "".join(part.text for part in parts if isinstance(part, Refusal))
    kept: list[Part] = [part for part in parts if isinstance(part, Thinking)]
    kept += joined((part for part in parts if isinstance(part, Text)), "")
    kept += [Refusal(refusal)] if refusal else []
    kept += [part for part in parts if isinstance(part, ToolCall)]
    return Message(Role.ASSISTANT, tuple(kept), message.name)


def normal_result(result: ToolResult) -> ToolResult:
    texts = [part for part in result.content if isinstance(part, Text)]
    return msgspec.structs.replace(result, content=joined(texts, "\n"))


def normal_turns(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Neighbouring results are in one message."""
    found: list[Message] = []
    for message in map(normal, messages):
        last = found[-1] if found else None
        if last and all(each.parts and isinstance(each.parts[0], ToolResult) for each in (last, message)):
            found[-1] = Message(Role.USER, last.parts + message.parts)
        else:
            found.append(message)
    return tuple(found)


@settings(max_examples=300)
@given(CONVERSATIONS, st.booleans())
def test_a_conversation_is_read_as_it_was_written(conversation: Conversation, stream: bool) -> None:
    """Whatever this API can say of it, with no note of anything dropped."""
    written = PROVIDER.write(conversation, model=MODEL, stream=stream)

    found = CALLER.read(CALLER.parse(written.body))

    assert written.dropped == ()
    assert found == msgspec.structs.replace(
        conversation,
        instructions=joined(conversation.instructions, "\n\n"),
        messages=normal_turns(conversation.messages),
    )


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """The events of an answer with one to three choices, mixed."""
    choices = draw(st.integers(1, 3))
    queues = [draw(choice(index)) for index in range(choices)]
    events: list[Event] = [Begin("chatcmpl-r", "m")]
    while queues:
        queue = queues[draw(st.integers(0, len(queues) - 1))]
        events.append(queue.pop(0))
        queues = [each for each in queues if each]
    return events


@st.composite
def choice(draw: st.DrawFn, index: int) -> list[Event]:
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 2))):
        events += [ThinkingDelta(text, choice=index) for text in draw(st.lists(WORDS, min_size=1, max_size=2))]
        if draw(st.booleans()):
            events.append(ThinkingDelta(signature="c2ln", choice=index))
    events += [TextDelta(text, index) for text in draw(st.lists(WORDS, max_size=3))]
    refusals: list[Event] = [RefusalDelta(text, index) for text in draw(st.lists(WORDS, max_size=1))]
    calls = draw(st.integers(0, 2)) if not refusals else 0
    for call in range(calls):
        events.append(ToolCallBegin(call, f"call_{call}", draw(NAMES), index, draw(st.none() | st.just("c2ln"))))
        pieces = draw(st.lists(st.sampled_from(['{"a":', '"b"}', "é"]), min_size=1, max_size=3))
        events += [ToolCallDelta(call, piece, index) for piece in pieces]
    reasons = [FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER]
    reason = draw(st.sampled_from(reasons))
    if reason is FinishReason.STOP:
        reason = FinishReason.TOOL_CALLS if calls else FinishReason.REFUSAL if refusals else reason
    return [*events, *refusals, Finish(reason, choice=index)]


REQUEST = CALLER.parse(
    b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}'
)


@settings(max_examples=300)
@given(answers(), st.data())
def test_a_stream_is_read_as_it_was_written(events: list[Event], data: st.DataObject) -> None:
    """Events and usage, however they were put into frames and however the bytes are cut."""
    writer = CALLER.stream(REQUEST, request_id="r", model="m", created=7)
    usage = Usage(10, 5, 4, 3, cache_write_tokens=2, reported_cost=Charge(1_500_000, Currency.SATS))
    stream = b""
    at = 0
    while at < len(events):
        more = data.draw(st.integers(1, 4))
        stream += writer.write(Frame(b"", events=tuple(events[at : at + more])))
        at += more
    stream += writer.write(Frame(b"", usage=usage)) + writer.end(cost_sats=1.5)
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    decoder = PROVIDER.decoder(events=True)

    frames = [frame for start, end in pairwise(cuts) for frame in decoder.feed(stream[start:end])]

    assert [event for frame in frames for event in frame.events] == events
    assert [frame.usage for frame in frames if frame.usage] == [usage]
    assert frames[-1].done
    assert decoder.finish() == []


@given(answers())
def test_a_whole_answer_says_what_its_stream_said(events: list[Event]) -> None:
    """Per choice, with pieces joined."""
    frame = Frame(b"", events=tuple(events))
    body = CALLER.whole(REQUEST, [frame], request_id="r", model="m", created=7)

    found = PROVIDER.parse_whole(body, events=True)

    assert summed(found.events) == summed(events)


def summed(events: Iterable[Event]) -> dict[int, dict[str, Any]]:
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        if isinstance(event, Begin):
            continue
        told = choices.setdefault(event.choice, {"text": "", "thought": "", "refusal": "", "signed": 0, "calls": {}})
        match event:
            case TextDelta():
                told["text"] += event.text
            case ThinkingDelta():
                told["thought"] += event.text
                told["signed"] += event.signature is not None
            case RefusalDelta():
                told["refusal"] += event.text
            case ToolCallBegin():
                told["calls"][event.index] = [event.id, event.name, event.signature, ""]
            case ToolCallDelta():
                told["calls"][event.index][3] += event.arguments
            case Finish():
                told["finish"] = event.reason
    return choices


def test_what_is_sent_is_what_openai_documents() -> None:
    """A guard against two halves that agree on the wrong thing: the body, field by field."""
    conversation = Conversation(
        instructions=(Text("Be brief."),),
        messages=(
            Message(Role.USER, (Text("Hi"),)),
            Message(Role.ASSISTANT, (ToolCall("c", "f", "{}"),)),
            Message(Role.USER, (ToolResult("c", (Text("1"),)),)),
        ),
        tools=(Tool("f", "d", {"type": "object"}),),
        tool_choice=ToolChoice("required"),
        max_tokens=9,
        stop=("x",),
    )

    assert json.loads(PROVIDER.write(conversation, model="gpt-4o", stream=False).body) == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "max_tokens": 9,
        "stop": ["x"],
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
        ],
        "tool_choice": "required",
    }
