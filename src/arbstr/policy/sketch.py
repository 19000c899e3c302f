"""Quantiles of many numbers, from few: a sketch that can be merged with others, without loss.

It is DDSketch (Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees",
VLDB 2019): numbers are counted in buckets whose bounds grow by a constant factor, γ = (1 + α) / (1 - α), so that the
middle of a bucket is off by α of any number in it at most. Buckets are never joined: durations from a microsecond to a
day fill 1,260 of them at most, and a merge is a sum that does not care for order.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate

import msgspec

RELATIVE_ERROR = 0.01
"""α: how far a quantile is off at most, as a part of the true one."""

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_LOG = 1 / math.log(_GAMMA)
_MIDDLE = 2 / (_GAMMA + 1)

_log = math.log
_ceil = math.ceil
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[int]).decode


class Sketch:
    """Counts of numbers by bucket: bucket ``i`` holds those above γ^(i-1), up to γ^i. All up to 0 count as 0."""

    __slots__ = ("buckets", "zeros")

    def __init__(self) -> None:
        self.zeros = 0
        self.buckets: dict[int, int] = {}

    @property
    def total(self) -> int:
        """How many numbers were added."""
        return self.zeros + sum(self.buckets.values())

    def add(self, value: float) -> None:
        """Count one number, finite."""
        if value > 0:
            index = _ceil(_log(value) * _PER_LOG)
            self.buckets[index] = self.buckets.get(index, 0) + 1
        else:
            self.zeros += 1

    def merge(self, other: Sketch) -> None:
        """Be the sketch of both one's numbers."""
        self.zeros += other.zeros
        buckets = self.buckets
        for index, count in other.buckets.items():
            buckets[index] = buckets.get(index, 0) + count

    def merge_encoded(self, data: bytes) -> None:
        """:meth:`merge` with what :meth:`encode` gave. Raises ValueError where it is something else."""
        numbers = _decode(data)
        if len(numbers) % 2 != 1:
            raise ValueError("not a sketch")
        self.zeros += numbers[0]
        buckets = self.buckets
        index = 0
        pairs = iter(numbers[1:])
        for step, count in zip(pairs, pairs, strict=True):
            index += step
            buckets[index] = buckets.get(index, 0) + count

    def encode(self) -> bytes:
        """The one encoding of these counts: numbers in MessagePack, which gives small ones a byte. Zeros come first,
        then pairs of a bucket's distance from the one before and its count."""
        numbers = [self.zeros]
        before = 0
        for index in sorted(self.buckets):
            numbers += (index - before, self.buckets[index])
            before = index
        return _encode(numbers)

    @classmethod
    def decode(cls, data: bytes) -> Sketch:
        """What :meth:`encode` was given. Raises ValueError where ``data`` is something else."""
        sketch = cls()
        sketch.merge_encoded(data)
        return sketch

    def quantiles(self, *qs: float) -> tuple[float, ...]:
        """For each, the number below which the share ``q`` of all lies, within RELATIVE_ERROR; of no numbers, 0.

        Of n numbers in order it is the one at place ⌊q · (n - 1)⌋, counted from 0.
        """
        indices = sorted(self.buckets)
        ends = list(accumulate((self.buckets[index] for index in indices), initial=self.zeros))
        ranks = [math.floor(q * (ends[-1] - 1)) for q in qs]
        return tuple(
            [
                _MIDDLE * math.exp(indices[bisect_right(ends, rank) - 1] / _PER_LOG) if rank >= self.zeros else 0.0
                for rank in ranks
            ]
        )
