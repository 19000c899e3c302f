"""Recorded shapes of Gemini's requests and answers, for an OpenAI caller.

Each folder is a case: ``request.json`` is what a caller sends (its model being the provider's) and ``sent.json`` what
Gemini is sent for it; ``answer.sse`` or ``answer.json`` is what Gemini sends and ``frames.json`` what is read from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbstr.dialects.chat import ChatCaller
from arbstr.dialects.gemini import GeminiDialect
from arbstr.domain.errors import UpstreamFailure
from tests.dialects.vendors import GOLDEN, byte_by_byte, compare, failure_shown, fed, shown

GEMINI = GeminiDialect()


def folders(file: str) -> list[Any]:
    found = sorted(path.parent for path in (GOLDEN / "openai-gemini").glob(f"*/{file}"))
    assert found
    return [pytest.param(folder, id=folder.name) for folder in found]


@pytest.mark.parametrize("folder", folders("answer.sse"))
def test_streams(folder: Path) -> None:
    """The frames say what is expected, however the bytes are cut, and their bytes are those that came."""
    stream = (folder / "answer.sse").read_bytes()

    whole = fed(GEMINI.decoder(events=True), stream)
    cut = fed(GEMINI.decoder(events=True), *byte_by_byte(stream))

    compare([shown(frame) for frame in whole], folder / "frames.json")
    assert [shown(frame) for frame in cut if not frame.comment] == [
        shown(frame) for frame in whole if not frame.comment
    ]
    assert b"".join(frame.raw for frame in whole) == b"".join(frame.raw for frame in cut) == stream


@pytest.mark.parametrize("folder", folders("answer.sse"))
def test_observed_streams(folder: Path) -> None:
    """Without events a frame says all the rest."""
    stream = (folder / "answer.sse").read_bytes()

    observed = [shown(frame) for frame in fed(GEMINI.decoder(events=False), stream)]

    frames = json.loads((folder / "frames.json").read_text())
    assert observed == [{name: value for name, value in frame.items() if name != "events"} for frame in frames]


@pytest.mark.parametrize("folder", folders("answer.json"))
def test_whole_answers(folder: Path) -> None:
    """A whole answer is one frame, or a failure that says why it is none."""
    body = (folder / "answer.json").read_bytes()

    try:
        frame = GEMINI.parse_whole(body, events=True)
    except UpstreamFailure as failure:
        compare([{"failure": failure_shown(failure)}], folder / "frames.json")
    else:
        compare([shown(frame)], folder / "frames.json")
        assert frame.raw == body


@pytest.mark.parametrize("folder", folders("request.json"))
def test_requests(folder: Path) -> None:
    """A caller's body becomes this request."""
    caller = ChatCaller()
    request = caller.parse((folder / "request.json").read_bytes())

    written = GEMINI.write(caller.read(request), model=request.model, stream=request.stream)

    sent = {
        "path": GEMINI.path(request.model, stream=request.stream),
        "dropped": list(written.dropped),
        "body": json.loads(written.body),
    }
    compare(sent, folder / "sent.json")
