"""Recorded shapes of providers' answers, read whole and byte by byte.

Each folder is a case: ``answer.sse`` or ``answer.json`` is what a provider sends and ``frames.json`` what is read from
it; ``request.json`` is what a caller sends, ``sent.json`` what a provider is sent for it. ``UPDATE_GOLDEN=1`` writes
the expected files anew, to be looked at before they are committed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from arbstr.dialects.openai import StreamDecoder, encode_chat, parse_chat, parse_whole
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame

CASES = Path(__file__).resolve().parent.parent / "golden" / "openai-openai"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


def folders(file: str) -> list[Any]:
    found = sorted(path.parent for path in CASES.glob(f"*/{file}"))
    assert found
    return [pytest.param(folder, id=folder.name) for folder in found]


def frames(*pieces: bytes) -> list[Frame]:
    decoder = StreamDecoder()
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
        fields[name] = msgspec.to_builtins(value)
    return fields


def failure_shown(failure: UpstreamFailure) -> dict[str, Any]:
    fields = {**vars(failure), "kind": failure.kind.value}
    return {name: msgspec.to_builtins(value) for name, value in fields.items() if value not in (None, False)}


def compare(found: Any, path: Path) -> None:
    if UPDATE:
        lines = ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in found)
        path.write_text(f"[\n  {lines}\n]\n")
    assert found == json.loads(path.read_text())


@pytest.mark.parametrize("folder", folders("answer.sse"))
def test_streams(folder: Path) -> None:
    """The frames say what is expected, however the bytes are cut, and their bytes are those that came."""
    stream = (folder / "answer.sse").read_bytes()

    whole = frames(stream)
    cut = frames(*(stream[at : at + 1] for at in range(len(stream))))

    compare([shown(frame) for frame in whole], folder / "frames.json")
    assert [shown(one) for one in cut if not one.comment] == [shown(one) for one in whole if not one.comment]
    for found in (whole, cut):
        raw = b"".join(frame.raw for frame in found)
        assert raw.startswith(stream) or (found[-1].done and stream.startswith(raw))


@pytest.mark.parametrize("folder", folders("answer.json"))
def test_whole_answers(folder: Path) -> None:
    """A whole answer is one frame, or a failure that says why it is none."""
    body = (folder / "answer.json").read_bytes()

    try:
        frame = parse_whole(body)
    except UpstreamFailure as failure:
        compare([{"failure": failure_shown(failure)}], folder / "frames.json")
    else:
        compare([shown(frame)], folder / "frames.json")
        assert frame.raw == body


@pytest.mark.parametrize("folder", folders("request.json"))
def test_requests(folder: Path) -> None:
    """A caller's body becomes exactly these bytes."""
    sent = encode_chat(parse_chat((folder / "request.json").read_bytes()), model="upstream")

    if UPDATE:
        (folder / "sent.json").write_bytes(sent)
    assert sent == (folder / "sent.json").read_bytes()
