"""What a request is expected to cost, and what it did."""

from __future__ import annotations

from arbstr.domain.money import Cost, Currency, ExchangeRate, Pico, Rates
from arbstr.domain.request import ChatRequest
from arbstr.domain.usage import Usage, estimated_tokens

DEFAULT_OUTPUT_TOKENS = 512
"""Expected output of a model of which fewer than :data:`ENOUGH_ANSWERS` answers were seen."""

ENOUGH_ANSWERS = 10


class OutputMean:
    """The mean number of output tokens of a model's answers, as far as they were seen."""

    __slots__ = ("_answers", "_tokens")

    def __init__(self) -> None:
        self._answers = 0
        self._tokens = 0

    def add(self, output_tokens: int, choices: int = 1) -> None:
        """An answer of ``choices`` choices used ``output_tokens`` in all: each choice counts as an answer."""
        self._answers += choices
        self._tokens += output_tokens

    def expected(self) -> int:
        """Output tokens to expect of the next answer: the mean, or 512 until ten answers were seen."""
        if self._answers < ENOUGH_ANSWERS:
            return DEFAULT_OUTPUT_TOKENS
        return self._tokens // self._answers


def expected_tokens(request: ChatRequest, mean_output: int) -> tuple[int, int]:
    """Input and output tokens to expect of ``request``: the estimate of its text, and the model's mean output for
    each of its ``n`` choices, bounded by its ``max_tokens``."""
    output = mean_output if request.max_tokens is None else min(mean_output, request.max_tokens)
    return estimated_tokens(request.input_bytes), output * request.n


def cost_of(usage: Usage, rates: Rates, rate: ExchangeRate | None) -> Cost:
    """The cost of ``usage`` by ``rates``: ``input × rate + output × rate + base fee``, with what was cached, written to
    a cache and thought by rates of their own; converted by ``rate``, and rounded once in each currency."""
    pico = rates.charge(
        usage.input_tokens,
        usage.output_tokens,
        cached=usage.cached_input_tokens,
        cache_write=usage.cache_write_tokens,
        cache_write_1h=usage.cache_write_1h_tokens,
        reasoning=usage.reasoning_tokens,
    )
    return Cost.of_pico(pico, rates.currency, rate)


def comparable(pico: Pico, currency: Currency, rate: ExchangeRate | None) -> Pico:
    """A price by which offers in both currencies can be ranked: in pico-satoshis where a rate is known."""
    return pico if currency is Currency.SATS or rate is None else rate.to_sats(pico)
