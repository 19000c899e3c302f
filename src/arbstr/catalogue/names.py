"""Which model of a provider a name means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date

from arbstr.catalogue.file import Clause, Model

_COMPACT_DATE = re.compile(r"-(20\d{2})(\d{2})(\d{2})(?=-|:|$)")
_GEOGRAPHY = re.compile(r"(?:us|us-gov|eu|apac|ap|au|ca|in|jp|sa|uk|mx|me|af)\.(?=[a-z0-9-]+\.)")
_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:(?:foundation-model|inference-profile)/([^/]+)\Z")
_BEDROCK = re.compile(r"(?:(?:global|regional)\.)?[a-z0-9]+\.(.+?)(?:-\d{8})?(?:-v\d+)?(?::\d+)?")


class Names:
    """The models of one provider, to be found by any name that is theirs."""

    def __init__(self, models: Iterable[Model]) -> None:
        self.equal: dict[str, int] = {}
        """The names that are written out, with the position of their model."""
        self._starts: list[tuple[int, str]] = []
        self._parts: list[tuple[int, str]] = []
        self._others: list[tuple[int, Clause]] = []
        for position, model in enumerate(models):
            for clause in model.match:
                self._add(position, clause, model.id.lower())

    def _add(self, position: int, clause: Clause, own: str) -> None:
        sign, text = clause[0], clause[1:]
        if isinstance(text, tuple) or sign not in "=^*":
            self._others.append((position, clause))
        elif sign == "=":
            self.equal.setdefault(text or own, position)
        else:
            (self._starts if sign == "^" else self._parts).append((position, text))

    def position(self, name: str) -> int | None:
        """Of the first model that has the name. A compact date, as in ``gpt-5.2-20251211``, is tried with its dashes,
        too."""
        name = name.lower()
        found = self._position(name)
        if found is None:
            dashed = _COMPACT_DATE.sub(_with_dashes, name)
            found = self._position(dashed) if dashed != name else None
        return found

    def _position(self, name: str) -> int | None:
        found = (
            self.equal.get(name),
            next((position for position, text in self._starts if name.startswith(text)), None),
            next((position for position, text in self._parts if text in name), None),
            next((position for position, clause in self._others if _holds(clause, name)), None),
        )
        return min((position for position in found if position is not None), default=None)


def _holds(clause: Clause, name: str) -> bool:
    if isinstance(clause, tuple):
        return all(_holds(each, name) for each in clause)
    sign, text = clause[0], clause[1:]
    match sign:
        case "^":
            return name.startswith(text)
        case "$":
            return name.endswith(text)
        case "*":
            return text in name
        case "/":
            return re.search(text, name) is not None
        case _:
            return name == text


def _with_dashes(match: re.Match[str]) -> str:
    year, month, day = match.groups()
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return match[0]
    return f"-{year}-{month}-{day}"


def spellings(provider: str, model: str) -> Iterator[str]:
    """The names under which a catalogue's provider may have what a request calls ``model``, the likeliest first.

    Bedrock: of an ARN, the model or the system's profile in it, and nothing for an ARN that names neither, as only
    its owner knows what is behind it; then without the region of an inference profile. A ``global.`` profile has a
    price of its own, so that prefix stays. Google: without what stands before the last slash (``models/``).
    """
    if provider == "aws" and model.startswith("arn:"):
        arn = _ARN.match(model)
        if arn is None:
            return
        model = arn[1]
    yield model
    if provider == "aws":
        plain = _GEOGRAPHY.sub("", model, count=1) if _GEOGRAPHY.match(model) else model
        if plain != model:
            yield plain
    elif provider == "google" and "/" in model:
        yield model.rpartition("/")[2]


def common(provider: str, name: str) -> str:
    """What is left of a name when the author's part and the differences of spelling between sellers are gone.

    ``openai/gpt-4o`` is ``gpt-4o``, ``anthropic/claude-haiku-4.5`` is ``claude-haiku-4-5``, and Bedrock's
    ``global.anthropic.claude-haiku-4-5-20251001-v1:0`` is that, too.
    """
    tail = name.lower().rpartition("/")[2]
    if provider == "aws":
        bedrock = _BEDROCK.fullmatch(tail)
        tail = bedrock[1] if bedrock else tail
    return tail.replace(".", "-").replace("_", "-")
