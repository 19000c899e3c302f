from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.dialects.pictures import size_of

LENGTH = st.integers(1, 16_383)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x06\0\0\0" + bytes(40)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(width: int, height: int, *, before: bytes = b"", frame: int = 0xC0) -> bytes:
    header = segment(frame, struct.pack(">BHHB", 8, height, width, 3) + bytes(9))
    return b"\xff\xd8" + segment(0xE0, b"JFIF\0" + bytes(9)) + before + header + segment(0xDA, bytes(10)) + bytes(40)


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", len(body)) + body + bytes(40)


def extended(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X", bytes(4) + sides)


def lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14))


def lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", width | 1 << 14, height))


@pytest.mark.parametrize("make", [png, jpeg, extended, lossless, lossy])
@given(LENGTH, LENGTH)
def test_formats_that_say_it(make, width: int, height: int) -> None:  # type: ignore[no-untyped-def]
    """In each of which a decoder looks at the same place."""
    assert size_of(encoded(make(width, height))) == (width, height)


@pytest.mark.parametrize("frame", [0xC1, 0xC2, 0xCF])
def test_kinds_of_jpeg(frame: int) -> None:
    """Progressive ones, too, and whatever stands before the frame: a preview, a profile, tables."""
    before = segment(0xE1, b"Exif" + jpeg(160, 120)) + segment(0xE2, bytes(3000)) + segment(0xC4, bytes(30))

    assert size_of(encoded(jpeg(4000, 3000, before=before, frame=frame))) == (4000, 3000)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "A",
        "hello, world",
        "iVBORw0KGgo",
        "https://example.com/a.png",
        encoded(b"GIF89a" + struct.pack("<HH", 10, 20) + bytes(40)),
        encoded(png(0, 20)),
        encoded(png(10, 0)),
        encoded(png(10, 20).replace(b"IHDR", b"CgBI")),
        encoded(png(10, 20))[:20] + "*" + encoded(png(10, 20))[20:],
        encoded(jpeg(10, 0)),
        encoded(jpeg(10, 20)[:20]),
        encoded(jpeg(10, 20, before=segment(0xE1, bytes(60_000)))),
        encoded(jpeg(10, 20, before=b"\xff\xd0")),
        encoded(jpeg(10, 20, before=b"\xff\xff")),
        encoded(jpeg(10, 20, before=b"\0")),
        encoded(jpeg(10, 20, before=segment(0xDA, b""))),
        encoded(webp(b"ALPH", bytes(20))),
        encoded(webp(b"VP8L", bytes(20))),
        encoded(webp(b"VP8 ", bytes(20))),
        encoded(lossy(0, 20)),
        encoded(extended(10, 20)[:25]),
        encoded(lossless(10, 20)[:23]),
        encoded(lossy(10, 20)[:28]),
    ],
)
def test_what_is_not_certain_is_not_known(data: str) -> None:
    """Other formats, files that are cut or odd, and what is no base64."""
    assert size_of(data) is None


@given(st.binary(max_size=200), st.sampled_from([png(10, 20), jpeg(10, 20), extended(10, 20), lossy(10, 20)]))
def test_any_bytes(noise: bytes, start: bytes) -> None:
    """Give a size that can be one, or none."""
    for data in (noise, start[: len(noise)] + noise):
        found = size_of(encoded(data))

        assert found is None or all(0 < side < 2**32 for side in found)
