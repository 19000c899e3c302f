"""The writer of lines: nobody waits for it, nothing stops it, and what is lost is counted."""

from __future__ import annotations

import contextlib
import os
import threading

from arbstr.telemetry.lines import LINES_PER_WRITE, LineWriter, stdout_descriptor
from tests.telemetry.pipes import DEADLINE, read_to_end, read_until, wait_for


def notice(count: int) -> bytes:
    return b"dropped %d\n" % count


def test_lines_come_out_in_order_and_whole() -> None:
    """More lines than fit one write arrive complete and in the order in which they were queued."""
    reading, writing = os.pipe()
    writer = LineWriter(writing, notice=notice)
    expected = b"".join(b"line %d\n" % number for number in range(LINES_PER_WRITE * 3 + 1))

    for number in range(LINES_PER_WRITE * 3 + 1):
        writer.put(lambda value: b"line %d\n" % value, number)

    assert writer.close(DEADLINE)
    os.close(writing)
    assert read_to_end(reading) == expected
    assert writer.dropped == 0
    os.close(reading)


def test_a_line_is_written_without_being_asked_for() -> None:
    """What is queued is written at the next look, without a wake or a close."""
    reading, writing = os.pipe()
    writer = LineWriter(writing, notice=notice, interval=0.01)

    writer.put(bytes, b"hello\n")

    assert read_until(reading, lambda data: data == b"hello\n")
    writer.close(DEADLINE)
    os.close(reading)
    os.close(writing)


def test_wake_does_not_wait_for_the_next_look() -> None:
    """A woken writer writes at once, however rarely it looks by itself."""
    reading, writing = os.pipe()
    writer = LineWriter(writing, notice=notice, interval=3600)

    writer.put(bytes, b"hello\n")
    writer.wake()

    assert read_until(reading, lambda data: data == b"hello\n")
    writer.close(DEADLINE)
    os.close(reading)
    os.close(writing)


def test_lines_beyond_the_capacity_are_dropped_and_told() -> None:
    """While the thread is busy the queue fills up; what does not fit is counted, and the next write says so."""
    reading, writing = os.pipe()
    busy, go_on = threading.Event(), threading.Event()
    writer = LineWriter(writing, notice=notice, capacity=2)

    def slow(value: bytes) -> bytes:
        busy.set()
        assert go_on.wait(DEADLINE)
        return value

    writer.put(slow, b"first\n")
    writer.wake()
    assert busy.wait(DEADLINE)
    for number in range(5):
        writer.put(bytes, b"%d\n" % number)
    go_on.set()

    assert writer.close(DEADLINE)
    os.close(writing)
    assert read_to_end(reading) == b"dropped 3\nfirst\n0\n1\n"
    assert writer.dropped == 3
    os.close(reading)


def test_a_blocked_pipe_blocks_nobody() -> None:
    """With a reader that does not read, every put returns, the rest is dropped, and close gives up in time."""
    reading, writing = os.pipe()
    writer = LineWriter(writing, notice=notice, capacity=1000, interval=0.001)

    for _ in range(20_000):
        writer.put(bytes, b"x" * 999 + b"\n")
    closed = writer.close(timeout=0.05)

    assert not closed
    assert writer.dropped > 0
    os.set_blocking(reading, False)
    wait_for(lambda: not _still_writing(writer, reading))
    os.close(reading)
    os.close(writing)


def _still_writing(writer: LineWriter, reading: int) -> bool:
    """Read what there is, so that the thread can end; whether it lives."""
    with contextlib.suppress(BlockingIOError):
        os.read(reading, 1 << 20)
    return not writer.close(timeout=0.01)


def test_a_closed_pipe_is_survived() -> None:
    """Nobody reads any more: the lines are counted as dropped, and that is all."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing, notice=notice)

    writer.put(bytes, b"hello\n")
    writer.put(bytes, b"again\n")

    assert writer.close(DEADLINE)
    assert writer.dropped == 2
    os.close(writing)


def test_writing_goes_on_after_a_failure_and_says_what_was_lost() -> None:
    """A full disk loses lines; once there is room again the first thing written is how many."""
    reading, writing = os.pipe()
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(descriptor, notice=notice)

    writer.put(bytes, b"lost\n")
    writer.wake()
    wait_for(lambda: writer.dropped == 1)
    os.dup2(writing, descriptor)
    writer.put(bytes, b"kept\n")

    assert writer.close(DEADLINE)
    os.close(writing)
    os.close(descriptor)
    assert read_to_end(reading) == b"dropped 1\nkept\n"
    os.close(reading)


def test_a_loss_is_told_at_close_even_if_nothing_follows() -> None:
    """The count of lost lines is not lost itself when no line comes after them."""
    reading, writing = os.pipe()
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(descriptor, notice=notice)

    writer.put(bytes, b"lost\n")
    writer.wake()
    wait_for(lambda: writer.dropped == 1)
    os.dup2(writing, descriptor)

    assert writer.close(DEADLINE)
    os.close(writing)
    os.close(descriptor)
    assert read_to_end(reading) == b"dropped 1\n"
    os.close(reading)


def test_a_value_that_cannot_be_rendered_costs_one_line() -> None:
    """A renderer that raises loses its own line, not those after it."""
    reading, writing = os.pipe()
    writer = LineWriter(writing, notice=notice)

    def broken(value: bytes) -> bytes:
        raise ValueError("strange value")

    writer.put(broken, b"bad\n")
    writer.put(bytes, b"good\n")

    assert writer.close(DEADLINE)
    os.close(writing)
    assert read_to_end(reading) == b"dropped 1\ngood\n"
    os.close(reading)


def test_a_non_blocking_stdout_is_waited_for() -> None:
    """Somebody else made the shared pipe non-blocking and it is full: the line comes out whole when there is room."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    junk = 0
    while True:
        try:
            junk += os.write(writing, b"j" * 65536)
        except BlockingIOError:
            break
    writer = LineWriter(writing, notice=notice)
    line = b"x" * 200_000 + b"\n"

    writer.put(bytes, line)
    writer.wake()
    data = read_until(reading, lambda data: len(data) >= junk + len(line))

    assert data[junk:] == line
    assert writer.close(DEADLINE)
    os.close(reading)
    os.close(writing)


def test_a_full_non_blocking_stdout_does_not_keep_the_thread_alive() -> None:
    """After close gave up, the thread ends by itself although the pipe never has room."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = LineWriter(writing, notice=notice)

    writer.put(bytes, b"x" * 500_000 + b"\n")
    assert not writer.close(timeout=0.05)

    assert writer.close(DEADLINE)
    assert writer.dropped == 1
    os.close(reading)
    os.close(writing)


def test_a_line_after_close_is_a_dropped_line() -> None:
    """Putting into a closed writer does nothing but count."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    writer = LineWriter(descriptor, notice=notice)
    writer.close(DEADLINE)

    writer.put(bytes, b"late\n")

    assert writer.dropped == 1
    os.close(descriptor)


def test_stdout_gets_a_descriptor_of_its_own() -> None:
    """Closing number 1 elsewhere cannot send our lines into whatever takes that number next."""
    descriptor = stdout_descriptor()

    assert descriptor > 2
    assert os.fstat(descriptor).st_ino == os.fstat(1).st_ino
    os.close(descriptor)
