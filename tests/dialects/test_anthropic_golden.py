"""Recorded shapes of the Messages API, read whole and byte by byte, and what is written in them.

In ``golden/openai-anthropic`` (the provider speaks Anthropic's dialect): ``anthropic.sse`` or ``anthropic.json`` is
what it answers and ``frames.json`` what is read from it; ``conversation.json`` is what was asked and ``sent.json`` what
it is sent. In ``golden/anthropic-openai`` (the caller speaks it): ``request.json`` is what a caller sends and
``conversation.json`` what it means; ``events.json`` is what a provider said, ``answer.sse`` and ``answer.json`` what
the caller is answered. In ``golden/anthropic-anthropic``: ``request.json`` and ``sent.json``. ``UPDATE_GOLDEN=1``
writes the expected files anew, to be looked at before they are committed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from arbstr.dialects.anthropic import CALLER, PROVIDER
from arbstr.domain.answer import Event, Finish
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage
from tests.dialects.test_golden import UPDATE, compare, failure_shown, shown

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
REQUEST = ChatRequest(model="m", stream=True, fields={}, input_bytes=0, last_user_text="", dialect="anthropic")


def folders(pair: str, file: str) -> list[Any]:
    found = sorted(path.parent for path in (GOLDEN / pair).glob(f"*/{file}"))
    assert found
    return [pytest.param(folder, id=folder.name) for folder in found]


def frames(*pieces: bytes, events: bool) -> list[Frame]:
    decoder = PROVIDER.decoder(events=events)
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.finish()


def described(frame: Frame) -> dict[str, Any]:
    """As for other dialects, with the name of each event beside its fields."""
    fields = shown(frame)
    if frame.events:
        fields["events"] = [event_shown(event) for event in frame.events]
    return fields


def event_shown(event: Event) -> dict[str, Any]:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    said = {name: value for name, value in fields.items() if value not in (None, "", 0) or name == "index"}
    if isinstance(event, Finish):
        said["reason"] = event.reason.value
    return {"event": type(event).__name__, **said}


@pytest.mark.parametrize("folder", folders("openai-anthropic", "anthropic.sse"))
def test_streams(folder: Path) -> None:
    """The frames say what is expected, however the bytes are cut, and their bytes are those that came."""
    stream = (folder / "anthropic.sse").read_bytes()

    whole = frames(stream, events=True)
    cut = frames(*(stream[at : at + 1] for at in range(len(stream))), events=True)

    compare([described(frame) for frame in whole], folder / "frames.json")
    assert [described(one) for one in cut if one.data] == [described(one) for one in whole if one.data]
    for found in (whole, cut):
        raw = b"".join(frame.raw for frame in found)
        assert raw.startswith(stream) or (found[-1].done and stream.startswith(raw))


@pytest.mark.parametrize("folder", folders("openai-anthropic", "anthropic.sse"))
def test_who_only_observes_sees_the_same(folder: Path) -> None:
    """But for the events, the frames are those of a translation."""
    stream = (folder / "anthropic.sse").read_bytes()

    observed = frames(stream, events=False)

    assert not any(frame.events for frame in observed)
    assert [shown(frame) for frame in observed] == [
        shown(msgspec.structs.replace(frame, events=())) for frame in frames(stream, events=True)
    ]


@pytest.mark.parametrize("folder", folders("openai-anthropic", "anthropic.json"))
def test_whole_answers(folder: Path) -> None:
    """A whole answer is one frame, or a failure that says why it is none."""
    body = (folder / "anthropic.json").read_bytes()

    try:
        frame = PROVIDER.parse_whole(body, events=True)
    except UpstreamFailure as failure:
        compare([{"failure": failure_shown(failure)}], folder / "frames.json")
    else:
        compare([described(frame)], folder / "frames.json")
        assert frame.raw == body
        assert described(PROVIDER.parse_whole(body, events=False)) == {
            name: value for name, value in described(frame).items() if name != "events"
        }


@pytest.mark.parametrize("folder", folders("openai-anthropic", "conversation.json"))
def test_what_a_provider_is_sent(folder: Path) -> None:
    """A conversation becomes exactly this body, and what it cannot say is named."""
    asked = json.loads((folder / "conversation.json").read_bytes())
    model = asked.pop("model")
    conversation = msgspec.convert({"instructions": [], **asked}, Conversation)

    written = PROVIDER.write(conversation, model=model, stream=False)

    sent = {"dropped": list(written.dropped), "body": json.loads(written.body)}
    expect(sent, folder / "sent.json")


@pytest.mark.parametrize("folder", folders("anthropic-openai", "request.json"))
def test_what_a_caller_asks(folder: Path) -> None:
    """A caller's body means exactly this conversation."""
    request = CALLER.parse((folder / "request.json").read_bytes())

    conversation = CALLER.read(request)

    expect(said(msgspec.to_builtins(conversation)), folder / "conversation.json")


def said(value: Any) -> Any:
    """``value`` without what says nothing: None, False and what is empty."""
    if isinstance(value, dict):
        return {name: said(item) for name, item in value.items() if item or type(item) in (int, float)}
    return [said(item) for item in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("folder", folders("anthropic-openai", "events.json"))
def test_what_a_caller_is_answered(folder: Path) -> None:
    """The same events are a stream or a whole message."""
    heard_of = [heard(step) for step in json.loads((folder / "events.json").read_bytes())]
    request_id = "0b5f0c1e-7d1f-4a52-9c39-1f5f3f4d2a11"
    writer = CALLER.stream(REQUEST, request_id=request_id, model="gpt-4o", created=0)

    stream = b"".join(map(writer.write, heard_of)) + writer.end(cost_sats=0.25)
    whole = CALLER.whole(REQUEST, heard_of, request_id=request_id, model="gpt-4o", created=0)

    if UPDATE:
        (folder / "answer.sse").write_bytes(stream)
    assert stream == (folder / "answer.sse").read_bytes()
    expect(json.loads(whole), folder / "answer.json")


@pytest.mark.parametrize("folder", folders("anthropic-anthropic", "request.json"))
def test_the_same_dialect_on_both_sides(folder: Path) -> None:
    """The body is the caller's, byte for byte, but for the name of the model and for duplicate keys."""
    sent = CALLER.encode_same(CALLER.parse((folder / "request.json").read_bytes()), model="upstream")

    if UPDATE:
        (folder / "sent.json").write_bytes(sent)
    assert sent == (folder / "sent.json").read_bytes()


def heard(step: dict[str, Any]) -> Frame:
    """A frame from its events, each with its type by name."""
    events = []
    for one in step.get("events", ()):
        fields = {name: value for name, value in one.items() if name != "event"}
        events.append(msgspec.convert(fields, EVENTS[one["event"]]))
    usage = msgspec.convert(step["usage"], Usage) if "usage" in step else None
    return Frame(b"", b"", events=tuple(events), usage=usage, comment=step.get("comment", False))


EVENTS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Event)}


def expect(found: Any, path: Path) -> None:
    if UPDATE:
        path.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    assert found == json.loads(path.read_bytes())
