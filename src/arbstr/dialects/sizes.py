"""What media in a request count for as input text, by which it is estimated before anybody has counted its tokens.

Rules of thumb, in bytes of text (four of which are taken for a token); what media cost at most is another question
(:mod:`~arbstr.dialects.bounds`).
"""

from __future__ import annotations

from typing import Any

import msgspec

IMAGE_BYTES = 4096
"""Of an image, whatever its own bytes: about 1,000 tokens, as vendors charge for a large one."""

_PER_FILE = 4
"""Base64 of a document for one byte of text: about what its text and its pictures come to."""
_PER_SOUND = 400
"""Base64 of sound or of a video for one byte of text: at 128 kbit/s, vendors charge about 10 tokens a second."""


def file_bytes(data: str) -> int:
    """Of a document in base64."""
    return max(IMAGE_BYTES, len(data) // _PER_FILE)


def part_bytes(part: dict[str, Any], fields: dict[str, msgspec.Raw]) -> int:
    """Of a part that is no text and no image: its own bytes, but for the base64 of what it brings along."""
    size = sum([len(memoryview(raw)) for raw in fields.values()])
    sound, file, video = (part.get(name) for name in ("input_audio", "file", "video_url"))
    data = sound.get("data") if type(sound) is dict else video.get("url") if type(video) is dict else None
    if type(data) is str:
        return size - len(data) + max(IMAGE_BYTES, len(data) // _PER_SOUND)
    data = (file if type(file) is dict else part).get("file_data")
    return size - len(data) + file_bytes(data) if type(data) is str else size
