"""How many tokens a request used."""

from __future__ import annotations

import msgspec

from arbstr.domain.money import Currency


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What a provider itself says that it charged for an answer."""

    amount: int
    """In the currency's smallest units: millionths of a satoshi or billionths of a dollar. Never negative."""
    currency: Currency


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Token counts of one answer, never negative.

    ``cached_input_tokens`` (read from a cache) and ``cache_write_tokens`` are part of ``input_tokens``, and
    ``reasoning_tokens`` part of ``output_tokens``, as OpenAI counts them; a dialect that counts them outside adds them
    in when it reads them, and takes them out when it writes them.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    """True where the provider gave no usable numbers and these are this gateway's estimate."""
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Those of ``cache_write_tokens`` that were written for an hour, which costs more than for five minutes."""
    reported_cost: Charge | None = None
    """None where the provider says nothing, which most do."""


BYTES_PER_TOKEN = 4
"""The rule of thumb by which text is estimated where nobody counted: English averages four bytes a token."""


def estimated_tokens(text_bytes: int) -> int:
    """Tokens in ``text_bytes`` bytes of text, at least one for any text at all."""
    return -(-text_bytes // BYTES_PER_TOKEN)
