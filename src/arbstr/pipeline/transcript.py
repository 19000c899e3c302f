"""What the caller gets of a stream, frame by frame, and what is learnt from it on the way. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from arbstr.dialects.openai import merge_usage
from arbstr.dialects.translate import CallerDialect, StreamWriter
from arbstr.domain.errors import UpstreamFailure
from arbstr.domain.events import Frame
from arbstr.domain.money import sats, usd
from arbstr.domain.usage import Usage
from arbstr.pipeline.exchange import Exchange
from arbstr.pipeline.settle import cost


class Transcript:
    """Reads frames on their way to the caller. ``done``, ``finished`` and ``failure`` say how far the answer is."""

    __slots__ = (
        "_dialect",
        "_exchange",
        "_unfinished",
        "_wants_usage",
        "_writer",
        "done",
        "failure",
        "finished",
    )

    def __init__(
        self,
        exchange: Exchange,
        dialect: CallerDialect,
        *,
        writer: StreamWriter | None,
        wants_usage: bool,
        choices: int,
    ) -> None:
        self._dialect = dialect
        self._writer = writer
        self._exchange = exchange
        self._wants_usage = wants_usage
        self.done = False
        """The provider said ``[DONE]``."""
        self._unfinished = choices
        self.finished = False
        """A finish reason was seen."""
        self.failure: UpstreamFailure | None = None
        """The provider reported an error in the stream; nothing after it counts."""

    @property
    def all_finished(self) -> bool:
        """Every choice has had its finish reason: there is no more content to come."""
        return self._unfinished <= 0

    def take(self, frames: Sequence[Frame]) -> bytes:
        """The bytes to pass on for ``frames``: all but usage that nobody asked for and what could not be read."""
        if len(frames) == 1:
            return self._pass(frames[0])
        passed = []
        for frame in frames:
            if self.done or self.failure is not None:
                break
            passed.append(self._pass(frame))
        return b"".join(passed)

    def end(self) -> bytes:
        """What the stream still lacks at its end."""
        if self._writer is None:
            return b"" if self.done else self._dialect.end_mark
        return self._writer.end(**self._cost(self._exchange.usage))

    def _cost(self, usage: Usage | None) -> dict[str, float | None]:
        """What ``usage`` costs, for the caller to read."""
        price = cost(self._exchange, usage)
        return {
            "cost_sats": sats(price.sats) if price is not None and price.sats is not None else None,
            "cost_usd": usd(price.usd) if price is not None and price.usd is not None else None,
        }

    def _pass(self, frame: Frame) -> bytes:
        exchange = self._exchange
        if frame.malformed:
            exchange.malformed += 1
            return b""
        if frame.failure is not None:
            self.failure = frame.failure
            return b""
        exchange.content_bytes += frame.content_bytes
        if frame.finish is not None:
            self.finished = True
            self._unfinished -= 1
        if frame.done:
            self.done = True
        if self._writer is not None:
            return self._translated(frame, self._writer)
        if frame.usage_only and not self._wants_usage:
            exchange.usage = merge_usage(exchange.usage, frame.usage)
            return b""
        if frame.usage is not None:
            exchange.usage = usage = merge_usage(exchange.usage, frame.usage)
            if self._wants_usage:
                return self._dialect.with_cost(frame, **self._cost(usage))
        return frame.raw

    def _translated(self, frame: Frame, writer: StreamWriter) -> bytes:
        """A frame in the caller's dialect. What a provider said in a wrong order breaks the stream where it stands."""
        exchange = self._exchange
        if frame.usage is not None:
            exchange.usage = merge_usage(exchange.usage, frame.usage)
        try:
            return writer.write(frame)
        except UpstreamFailure as failure:
            self.failure = failure
            return b""
