"""OpenAI chat as one end of a translation, by recorded shapes, read whole and byte by byte.

``openai-conversation/<case>``: ``request.json`` is what a caller sends, ``conversation.json`` what it means, and
``sent.json`` what a provider of the same API is sent for it. ``openai-answer/<case>``: ``provider.sse`` or
``provider.json`` is what a provider sends, ``frames.json`` what it means, ``answer.sse`` and ``answer.json`` what a
caller of chat is answered. ``UPDATE_GOLDEN=1`` writes the expected files anew, to be looked at and then committed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from arbstr.dialects.chat import ChatCaller, ChatProvider
from arbstr.dialects.openai import StreamDecoder
from arbstr.dialects.translate import Decoder
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.request import ChatRequest

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
CALLER = ChatCaller()
PROVIDER = ChatProvider()
ASKED = CALLER.parse(
    b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}'
)


def folders(pair: str, file: str) -> list[Any]:
    found = sorted(path.parent for path in GOLDEN.glob(f"{pair}/*/{file}"))
    assert found
    return [pytest.param(folder, id=folder.name) for folder in found]


def pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def compare(found: bytes, path: Path) -> None:
    if UPDATE:
        path.write_bytes(found)
    assert found == path.read_bytes()


def frames_of(decoder: Decoder, *pieces: bytes) -> list[Frame]:
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.finish()


def shown(frame: Frame) -> dict[str, Any]:
    """What a frame says beyond its defaults, without its bytes; events by their names."""
    fields: dict[str, Any] = {}
    for name in frame.__struct_fields__:
        value = getattr(frame, name)
        if name in ("raw", "data") or value in (None, False, 0, ()):
            continue
        if isinstance(value, UpstreamFailure):
            value = {"kind": value.kind.value, "message": value.message}
        if name == "events":
            value = [{type(event).__name__: without_defaults(event)} for event in value]
        if name == "usage":
            value = without_defaults(value)
        fields[name] = value
    return fields


def without_defaults(value: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.to_builtins(value)
    return {name: field for name, field in fields.items() if field not in (None, 0, "", False)}


def answered(frames: list[Frame], request: ChatRequest = ASKED) -> bytes:
    """The stream that a caller gets for the frames."""
    writer = CALLER.stream(request, request_id="id", model="model", created=1)
    written = b"".join(writer.write(frame) for frame in frames)
    failure = next((frame.failure for frame in frames if frame.failure), None)
    return written if failure else written + writer.end(cost_sats=1.25)


@pytest.mark.parametrize("folder", folders("openai-conversation", "request.json"))
def test_requests(folder: Path) -> None:
    """A caller's body means exactly this, and is written for a provider exactly so."""
    request = CALLER.parse((folder / "request.json").read_bytes())

    conversation = CALLER.read(request)
    written = PROVIDER.write(conversation, model=request.model, stream=request.stream)

    compare(pretty(conversation), folder / "conversation.json")
    compare(pretty({"dropped": written.dropped, "body": msgspec.Raw(written.body)}), folder / "sent.json")
    assert msgspec.json.decode((folder / "conversation.json").read_bytes(), type=Conversation) == conversation


@pytest.mark.parametrize("folder", folders("openai-answer", "provider.sse"))
def test_streams(folder: Path) -> None:
    """The events are what is expected, however the bytes are cut, and so is the caller's answer."""
    stream = (folder / "provider.sse").read_bytes()

    whole = frames_of(PROVIDER.decoder(events=True), stream)
    cut = frames_of(PROVIDER.decoder(events=True), *(stream[at : at + 1] for at in range(len(stream))))

    lines = [json.dumps(shown(frame), ensure_ascii=False) for frame in whole]
    compare(("[\n  " + ",\n  ".join(lines) + "\n]\n").encode(), folder / "frames.json")
    assert [shown(one) for one in cut if not one.comment] == [shown(one) for one in whole if not one.comment]
    compare(answered(whole), folder / "answer.sse")
    if not any(frame.failure for frame in whole):
        compare(
            pretty(msgspec.Raw(CALLER.whole(ASKED, whole, request_id="id", model="model", created=1))),
            folder / "answer.json",
        )


@pytest.mark.parametrize("folder", folders("openai-answer", "provider.json"))
def test_whole_answers(folder: Path) -> None:
    """A whole answer is one frame with all its events, from which either form of an answer is made."""
    frame = PROVIDER.parse_whole((folder / "provider.json").read_bytes(), events=True)

    compare(("[\n  " + json.dumps(shown(frame), ensure_ascii=False) + "\n]\n").encode(), folder / "frames.json")
    compare(answered([frame]), folder / "answer.sse")
    compare(
        pretty(msgspec.Raw(CALLER.whole(ASKED, [frame], request_id="id", model="model", created=1))),
        folder / "answer.json",
    )


@pytest.mark.parametrize("folder", folders("openai-openai", "answer.sse"))
def test_events_come_on_top_of_what_is_observed(folder: Path) -> None:
    """Whoever wants events gets the same frames as who does not, with events in them; and so byte by byte."""
    stream = (folder / "answer.sse").read_bytes()
    pieces = [stream[at : at + 1] for at in range(len(stream))]

    found = frames_of(PROVIDER.decoder(events=True), stream)

    assert [shown(msgspec.structs.replace(frame, events=())) for frame in found] == [
        shown(frame) for frame in frames_of(StreamDecoder(), stream)
    ]
    cut = frames_of(PROVIDER.decoder(events=True), *pieces)
    assert [frame.events for frame in cut if frame.events] == [frame.events for frame in found if frame.events]


@pytest.mark.parametrize("folder", folders("openai-openai", "answer.json"))
def test_whole_events_come_on_top_of_what_is_observed(folder: Path) -> None:
    """The same of whole answers: what is none with events is none without, and for the same reason."""
    body = (folder / "answer.json").read_bytes()

    found: list[Any] = []
    for events in (False, True):
        try:
            found.append(shown(msgspec.structs.replace(PROVIDER.parse_whole(body, events=events), events=())))
        except UpstreamFailure as failure:
            found.append((failure.kind, failure.message))

    assert found[0] == found[1]
