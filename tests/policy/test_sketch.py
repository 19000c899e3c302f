"""Sketches of quantiles: how far they are off, and that they can be merged, written down and read."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.policy.sketch import RELATIVE_ERROR, Sketch

NUMBERS = st.lists(st.one_of(st.integers(0, 10**11), st.floats(0, 1e11)), max_size=60)


def sketch_of(numbers: list[float]) -> Sketch:
    sketch = Sketch()
    for number in numbers:
        sketch.add(number)
    return sketch


@given(NUMBERS.filter(bool), st.floats(0, 1))
def test_a_quantile_is_off_by_one_percent_at_most(numbers: list[float], q: float) -> None:
    """Whatever the numbers are, small or large, alike or not."""
    true = sorted(numbers)[math.floor(q * (len(numbers) - 1))]

    (told,) = sketch_of(numbers).quantiles(q)

    assert told == pytest.approx(true, rel=RELATIVE_ERROR + 1e-9, abs=0)


@given(NUMBERS, NUMBERS)
def test_a_merge_is_the_sketch_of_all(ones: list[float], others: list[float]) -> None:
    """Merged, in whichever order, as an object or as bytes, it is as if one sketch had seen all of them."""
    merged, back, read = sketch_of(ones), sketch_of(others), sketch_of(ones)

    merged.merge(sketch_of(others))
    back.merge(sketch_of(ones))
    read.merge_encoded(sketch_of(others).encode())

    assert {each.encode() for each in (merged, back, read)} == {sketch_of(ones + others).encode()}
    assert merged.total == len(ones) + len(others)


@given(NUMBERS)
def test_it_is_read_as_it_was_written(numbers: list[float]) -> None:
    """What a roll-up keeps says the same quantiles."""
    sketch = sketch_of(numbers)

    again = Sketch.decode(sketch.encode())

    assert (again.zeros, again.buckets) == (sketch.zeros, sketch.buckets)


def test_nothing_is_nothing() -> None:
    """Of no numbers, and of those up to 0, every quantile is 0; several are told at once."""
    assert Sketch().quantiles(0.5, 1) == (0, 0)
    assert sketch_of([0, 0, -1]).quantiles(0.99) == (0,)
    assert sketch_of([0, 5]).quantiles(0, 1) == pytest.approx((0, 5), rel=RELATIVE_ERROR)


def test_it_stays_small() -> None:
    """A hundred thousand durations, from a millisecond to a minute, in a kilobyte or two."""
    sketch = sketch_of([1000 * 1.0001**number for number in range(100_000)])

    assert len(sketch.encode()) < 2500


@pytest.mark.parametrize("data", [b"", b"nonsense", msgspec.msgpack.encode([]), msgspec.msgpack.encode([1, 2])])
def test_what_is_no_sketch_is_refused(data: bytes) -> None:
    """A damaged database does not become a wrong figure."""
    with pytest.raises(ValueError):
        Sketch.decode(data)
