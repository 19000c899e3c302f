"""Secrets are masked in every text, whenever they became known."""

from __future__ import annotations

from arbstr.domain.secret import Secret
from arbstr.upstream.redact import Redactor


def test_what_is_learned_is_masked_from_then_on() -> None:
    """The one in use and the one before it; the configured ones for good."""
    redact = Redactor([Secret("configured-1"), Secret("short")])
    assert redact("token-aaaa-1") == "token-aaaa-1"

    for number in (1, 2, 3, 3):
        redact.learn("alpha", Secret(f"token-aaaa-{number}"))
    redact.learn("beta", Secret("another-token"))

    assert redact("token-aaaa-1") == "token-aaaa-1"
    assert redact("token-aaaa-2, token-aaaa-3, another-token") == "token-***, token-***, anothe***"
    assert redact("configured-1 and short") == "config*** and short"


def test_secrets_that_are_used_together_are_masked_together() -> None:
    """An AWS key and its session token count as one, however often they are learned."""
    redact = Redactor([])

    for number in (1, 2, 3, 3):
        redact.learn("alpha", Secret(f"key-aaaaaa-{number}"), Secret(f"session-{number}"))

    assert redact("key-aaaaaa-1, session-1") == "key-aaaaaa-1, session-1"
    assert redact("key-aaaaaa-2, session-2") == "key-aa***, ***"
    assert redact("key-aaaaaa-3, session-3") == "key-aa***, ***"


def test_the_beginning_of_a_secret_at_a_cut_is_masked() -> None:
    """Of those that were learned too; below eight characters it may be anything."""
    redact = Redactor([])
    redact.learn("alpha", Secret("token-aaaa-1"))

    assert redact("the token-aaa…") == "the token-***…"
    assert redact("the token-a…") == "the token-a…"
