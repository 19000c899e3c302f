"""Decoding of compressed answers, piece by piece and within bounds.

Pulled, not pushed: compressed bytes are put in as they come, decoded ones are taken out at most ``MOST_OUT`` at a time,
so that a small answer which decodes to a huge one never does so in our memory.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import TYPE_CHECKING

from arbstr.upstream.errors import CutBody, ProtocolError
from arbstr.upstream.limits import Limits

if TYPE_CHECKING:
    from zlib import _Decompress

MOST_OUT = 64 * 1024
# zlib copies what it did not consume after every call: short slices keep that linear.
SLICE = 4 * 1024
# Members of one gzip stream: this many are free, then each must have brought this many decoded bytes on average.
FREE_MEMBERS = 64
MEMBER_BYTES = 256

# Characters of an encoding's name that are quoted. What is longer is none, and may be anything, a key for example.
LONGEST_NAME = 10

GZIP = 16 + zlib.MAX_WBITS
ZLIB = zlib.MAX_WBITS
RAW = -zlib.MAX_WBITS


def decoder(encoding: bytes, limits: Limits) -> Decoder:
    """Return a decoder for a ``Content-Encoding``, given in lower case.

    Raises ProtocolError for encodings that we do not know; we never ask for those.
    """
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        name = encoding.decode("latin-1") if len(encoding) <= LONGEST_NAME else "…"
        raise ProtocolError(f"unsupported content-encoding {name!r}")
    return Decoder(limits, gzip=encoding != b"deflate")


class Decoder:
    """One gzip or deflate body. ``deflate`` is read both ways in which servers send it: with zlib's header and bare."""

    __slots__ = ("_gzip", "_in", "_limits", "_members", "_more", "_out", "_pending", "_stream")

    def __init__(self, limits: Limits, *, gzip: bool) -> None:
        self._limits = limits
        self._gzip = gzip
        self._pending: deque[bytes] = deque()
        self._stream: _Decompress | None = None
        self._more = False  # zlib holds output back that did not fit into the last piece
        self._members = 0
        self._in = 0
        self._out = 0

    def push(self, data: bytes) -> None:
        """Add the next encoded bytes."""
        self._pending.extend(data[start : start + SLICE] for start in range(0, len(data), SLICE))

    def pull(self) -> bytes:
        """Return the next decoded bytes, at most ``MOST_OUT``; nothing means that more input is needed.

        Raises ProtocolError for bytes that are not what the encoding says, and for a decompression bomb.
        """
        while self._pending or self._more:
            stream = self._stream = self._stream or self._begin()
            if stream is None:
                return b""
            data = self._pending.popleft() if self._pending else b""
            try:
                out = stream.decompress(data, MOST_OUT)
            except zlib.error as exc:
                raise ProtocolError("the encoded body is corrupt") from exc
            self._advance(stream, len(data), len(out))
            if out:
                return out
        return b""

    def finish(self) -> None:
        """Check that the body ended where its encoding ends; call it after the last ``pull``. Raises CutBody."""
        if self._pending or self._stream is not None:
            raise CutBody("the encoded body is incomplete")

    def _begin(self) -> _Decompress | None:
        """Start a member at the pending bytes; None while too little is there to tell its kind."""
        if self._gzip:
            self._members += 1
            return zlib.decompressobj(GZIP)
        if self._members:
            raise ProtocolError("bytes after the end of the encoded body")
        if len(self._pending[0]) < 2:
            if len(self._pending) == 1:
                return None
            first = self._pending.popleft()
            self._pending[0] = first + self._pending[0]
        self._members = 1
        return zlib.decompressobj(ZLIB if _has_zlib_header(self._pending[0]) else RAW)

    def _advance(self, stream: _Decompress, given: int, produced: int) -> None:
        """Keep what was not consumed, count, and check the bounds."""
        rest = stream.unused_data if stream.eof else stream.unconsumed_tail
        if rest:
            self._pending.appendleft(rest)
        self._more = produced == MOST_OUT and not stream.eof
        self._in += given - len(rest)
        self._out += produced
        if stream.eof:
            self._stream = None
        if self._out > self._limits.free_decoded and self._out > self._in * self._limits.max_ratio:
            raise ProtocolError(f"the body decodes to more than {self._limits.max_ratio} times its size")
        if self._members > FREE_MEMBERS and self._members * MEMBER_BYTES > self._out:
            raise ProtocolError("the body has too many gzip members")


def _has_zlib_header(data: bytes) -> bool:
    """Tell whether `data`, of at least two bytes, begins as RFC 1950 says; a bare deflate stream hardly ever does."""
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
