"""How large an image is, told by the first bytes of its file.

Only where it is certain: PNG, JPEG and WebP say it in one place, which is what decoders go by. In other formats, and in
a file that is odd, the size is not known.
"""

from __future__ import annotations

import base64
import binascii

Size = tuple[int, int]
"""Width and height in pixels."""

_HEAD = 40
"""Base64 of the 30 bytes in which PNG and WebP say it."""
_JPEG_HEAD = 64 * 1024
"""Base64 of a JPEG in which it must say it: before it there may be a preview and a colour profile."""

_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""The markers of a frame's header. Those left out are tables and extensions."""


def size_of(data: str) -> Size | None:
    """The size of an image in base64; None where it cannot be told."""
    if data.startswith("/9j/"):
        return _jpeg(_decoded(data[:_JPEG_HEAD]))
    head = _decoded(data[:_HEAD])
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR":
        return _known(int.from_bytes(head[16:20]), int.from_bytes(head[20:24]))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    return None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return b""


def _known(width: int, height: int) -> Size | None:
    return (width, height) if width and height else None


def _webp(head: bytes) -> Size | None:
    kind, body = head[12:16], head[20:]
    if kind == b"VP8X" and len(body) >= 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) >= 10:
        width, height = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
        return _known(width & 0x3FFF, height & 0x3FFF)
    return None


def _jpeg(head: bytes) -> Size | None:
    """Walk from segment to segment up to the frame's header."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker in _JPEG_FRAMES:
            return _known(int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7]))
        if marker <= 0xBF or marker >= 0xFF or 0xD0 <= marker <= 0xDA:
            return None  # no segment with a length, or the picture itself
        at += 2 + int.from_bytes(head[at + 2 : at + 4])
    return None
