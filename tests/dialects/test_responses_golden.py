"""The Responses dialect by recorded shapes: what callers and providers of it send, and what becomes of that.

In ``responses-openai``, ``request.json`` is what a caller sends and ``conversation.json`` how it is read;
``events.json`` is what a provider of another dialect answers, ``told.sse`` and ``told.json`` how the caller is told.
In ``responses-responses``, ``answer.sse`` or ``answer.json`` is what a provider sends and ``frames.json`` what is read
from it; ``sent.json`` is what a provider is sent for ``request.json`` as it is, ``written.json`` by way of the
conversation.
``UPDATE_GOLDEN=1`` writes the expected files anew, to be looked at before they are committed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from arbstr.dialects.responses import ResponsesCaller, ResponsesDecoder, ResponsesProvider
from arbstr.domain import answer
from arbstr.domain.answer import Event
from arbstr.domain.conversation import Conversation
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.usage import Usage

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
CALLER = ResponsesCaller()
PROVIDER = ResponsesProvider()
REQUEST_ID = "01999999-aaaa-7bbb-8ccc-dddddddddddd"


def folders(pair: str, file: str) -> list[Any]:
    found = sorted(path.parent for path in (GOLDEN / pair).glob(f"*/{file}"))
    assert found
    return [pytest.param(folder, id=folder.name) for folder in found]


def frames(decoder: ResponsesDecoder, *pieces: bytes) -> list[Frame]:
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.finish()


def shown(frame: Frame) -> dict[str, Any]:
    """What a frame says beyond its defaults, without its bytes."""
    fields: dict[str, Any] = {}
    for name in frame.__struct_fields__:
        value = getattr(frame, name)
        if name in ("raw", "data") or value in (None, False, 0, ()):
            continue
        if isinstance(value, UpstreamFailure):
            value = failure_shown(value)
        elif name == "events":
            value = [event_shown(event) for event in value]
        fields[name] = msgspec.to_builtins(value)
    return fields


def event_shown(event: Event) -> list[Any]:
    fields = msgspec.to_builtins(event)
    return [type(event).__name__, {name: value for name, value in fields.items() if value not in (None, 0, "")}]


def failure_shown(failure: UpstreamFailure) -> dict[str, Any]:
    fields = {**vars(failure), "kind": failure.kind.value}
    return {name: value for name, value in fields.items() if value not in (None, False)}


def conversation_shown(conversation: Conversation) -> dict[str, Any]:
    def without_defaults(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_defaults(item) for key, item in value.items() if item not in (None, [], False)}
        return [without_defaults(item) for item in value] if isinstance(value, list) else value

    found = without_defaults(msgspec.json.decode(msgspec.json.encode(conversation)))
    assert isinstance(found, dict)
    return found


def compare(found: Any, path: Path) -> None:
    if UPDATE:
        if isinstance(found, list):
            lines = ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in found)
            path.write_text(f"[\n  {lines}\n]\n")
        else:
            path.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    assert found == json.loads(path.read_text())


def compare_bytes(found: bytes, path: Path) -> None:
    if UPDATE:
        path.write_bytes(found)
    assert found == path.read_bytes()


def told(folder: Path) -> list[Frame]:
    """The frames of a provider of another dialect."""
    read: list[Frame] = []
    for entry in json.loads((folder / "events.json").read_text()):
        if isinstance(entry, dict):
            read.append(Frame(b"", usage=Usage(**entry["usage"])))
        else:
            event = msgspec.convert(entry[1], getattr(answer, entry[0]))
            read.append(Frame(b"", content=True, events=(event,)))
    return read


@pytest.mark.parametrize("folder", folders("responses-openai", "request.json"))
def test_requests_are_read(folder: Path) -> None:
    """A caller's body becomes this conversation."""
    request = CALLER.parse((folder / "request.json").read_bytes())

    compare(conversation_shown(CALLER.read(request)), folder / "conversation.json")


@pytest.mark.parametrize("folder", folders("responses-openai", "events.json"))
def test_answers_are_told(folder: Path) -> None:
    """What another dialect answered becomes this stream, and the same whole response."""
    request = CALLER.parse((folder / "request.json").read_bytes())

    stream = CALLER.stream(request, request_id=REQUEST_ID, model="served-model", created=1763640000)
    said = b"".join(stream.write(frame) for frame in told(folder)) + stream.end(cost_sats=12.5)
    whole = CALLER.whole(request, told(folder), request_id=REQUEST_ID, model="served-model", created=1763640000)

    compare_bytes(said, folder / "told.sse")
    compare(json.loads(whole), folder / "told.json")
    last = json.loads(said.rstrip().rpartition(b"data: ")[2])["response"]
    assert last["usage"].pop("cost_sats") == 12.5
    assert last == json.loads(whole)


@pytest.mark.parametrize("folder", folders("responses-responses", "answer.sse"))
def test_streams(folder: Path) -> None:
    """The frames say what is expected, however the bytes are cut, and their bytes are those that came."""
    stream = (folder / "answer.sse").read_bytes()

    whole = frames(PROVIDER.decoder(events=True), stream)
    cut = frames(PROVIDER.decoder(events=True), *(stream[at : at + 1] for at in range(len(stream))))

    compare([shown(frame) for frame in whole], folder / "frames.json")
    assert [shown(one) for one in cut if not one.comment] == [shown(one) for one in whole if not one.comment]
    for found in (whole, cut):
        raw = b"".join(frame.raw for frame in found)
        assert raw.startswith(stream) or (found[-1].done and stream.startswith(raw))


@pytest.mark.parametrize("folder", folders("responses-responses", "answer.sse"))
def test_streams_are_observed_alike(folder: Path) -> None:
    """Without events, the frames say all the rest just the same."""
    stream = (folder / "answer.sse").read_bytes()

    translated = frames(PROVIDER.decoder(events=True), stream)
    observed = frames(PROVIDER.decoder(events=False), stream)

    without = [shown(msgspec.structs.replace(frame, events=())) for frame in translated]
    assert [shown(frame) for frame in observed] == without


@pytest.mark.parametrize("folder", folders("responses-responses", "answer.json"))
def test_whole_answers(folder: Path) -> None:
    """A whole answer is one frame, or a failure that says why it is none."""
    body = (folder / "answer.json").read_bytes()

    try:
        frame = PROVIDER.parse_whole(body, events=True)
    except UpstreamFailure as failure:
        compare([{"failure": failure_shown(failure)}], folder / "frames.json")
    else:
        compare([shown(frame)], folder / "frames.json")
        assert frame.raw == body


@pytest.mark.parametrize("folder", folders("responses-responses", "request.json"))
def test_requests_are_sent(folder: Path) -> None:
    """A caller's body becomes exactly these bytes: as it is, and by way of the conversation."""
    request = CALLER.parse((folder / "request.json").read_bytes())

    compare_bytes(CALLER.encode_same(request, model="upstream"), folder / "sent.json")
    written = PROVIDER.write(CALLER.read(request), model="upstream", stream=request.stream)
    compare({"body": json.loads(written.body), "dropped": list(written.dropped)}, folder / "written.json")
