"""What tests of vendors' dialects share: frames made readable, expected files, and an encoder of AWS event streams."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from arbstr.dialects.translate import Decoder
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


def fed(decoder: Decoder, *pieces: bytes) -> list[Frame]:
    return [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.finish()


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def shown(frame: Frame) -> dict[str, Any]:
    """What a frame says beyond its defaults, without its bytes."""
    fields: dict[str, Any] = {}
    for name in frame.__struct_fields__:
        value = getattr(frame, name)
        if name in ("raw", "data") or value in (None, False, 0, ()):
            continue
        if name == "events":
            value = [event_shown(event) for event in value]
        elif isinstance(value, UpstreamFailure):
            value = failure_shown(value)
        fields[name] = msgspec.to_builtins(value)
    return fields


def event_shown(event: Any) -> dict[str, Any]:
    fields = {name: msgspec.to_builtins(getattr(event, name)) for name in event.__struct_fields__}
    return {type(event).__name__: {name: value for name, value in fields.items() if value not in (None, "", 0)}}


def failure_shown(failure: UpstreamFailure) -> dict[str, Any]:
    fields = {**vars(failure), "kind": failure.kind.value}
    return {name: value for name, value in fields.items() if value not in (None, False)}


def compare(found: Any, path: Path) -> None:
    """``found`` is what the file says. ``UPDATE_GOLDEN=1`` writes it anew, to be looked at before it is committed."""
    if UPDATE:
        text = json.dumps(found, ensure_ascii=False, indent=2)
        if isinstance(found, list):
            text = "[\n  " + ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in found) + "\n]"
        path.write_text(text + "\n")
    assert found == json.loads(path.read_text())


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of an AWS event stream."""
    block = b"".join(
        bytes([len(name.encode())]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    return framed(block, payload)


def framed(block: bytes, payload: bytes) -> bytes:
    """A message whose headers are ``block``."""
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def event(name: str, payload: dict[str, Any]) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(payload).encode())


def exception(name: str, payload: dict[str, Any]) -> bytes:
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps(payload).encode())


def recorded(path: Path) -> bytes:
    """A recorded stream, as it is on the wire: server-sent events, or an event stream told line by line."""
    return stream(path.read_text().splitlines()) if path.suffix == ".jsonl" else path.read_bytes()


def stream(lines: Iterable[str]) -> bytes:
    """A stream from lines of ``{"event": NAME, …}`` or ``{"exception": NAME, …}``; the rest is the payload."""
    found = b""
    for line in lines:
        payload = json.loads(line)
        if name := payload.pop("event", None):
            found += event(name, payload)
        else:
            found += exception(payload.pop("exception"), payload)
    return found
