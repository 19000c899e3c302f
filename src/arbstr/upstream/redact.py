"""Secrets kept out of texts: those of the configuration, and those that are found while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arbstr.domain.secret import Secret

SHORTEST = 8
"""Characters of a secret, or of the beginning of one, that are masked."""

REMEMBERED = 2
"""Of one owner: the secrets that are in use, and those before them, whose requests may still be under way."""


class Redactor:
    """Masks secrets wherever they stand in a text, and where one is cut off by the ``…`` at its end; one too short to
    be a secret is left."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._known = tuple(_pairs(secrets))
        self._learned: dict[str, tuple[tuple[Secret, ...], ...]] = {}
        self._all = self._known

    def learn(self, owner: str, *secrets: Secret) -> None:
        """Mask ``secrets``, which are used together, from now on, until ``owner`` has had as many newer ones as are
        remembered."""
        known = [each for each in self._learned.get(owner, ()) if each != secrets]
        self._learned[owner] = (secrets, *known)[:REMEMBERED]
        learned = [secret for sets in self._learned.values() for each in sets for secret in each]
        self._all = (*self._known, *_pairs(learned))

    def __call__(self, text: str) -> str:
        known = self._all
        for value, masked in known:
            if value in text:
                text = text.replace(value, masked)
        return _without_beginnings(text, known) if text.endswith("…") else text


def _pairs(secrets: Sequence[Secret]) -> Iterator[tuple[str, str]]:
    return ((secret.reveal(), secret.masked) for secret in secrets if len(secret.reveal()) >= SHORTEST)


def _without_beginnings(text: str, known: Sequence[tuple[str, str]]) -> str:
    """``text``, which was cut, with a secret masked of which only the beginning is left."""
    kept = text[:-1]
    for value, masked in known:
        for length in range(len(value) - 1, SHORTEST - 1, -1):
            if kept.endswith(value[:length]):
                return f"{kept[:-length]}{masked}…"
    return text
