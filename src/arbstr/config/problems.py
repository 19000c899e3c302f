"""What is wrong with a configuration, collected so that all of it is told at once."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

import msgspec

Path = tuple[str | int, ...]
"""Where a value stands: ``("providers", "alpha", "models", 0)``."""

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_LONGEST_NAME = 80


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong. Its text names what was expected and never holds a secret."""

    origin: str
    """The file, the environment variable or the flag that says it."""
    path: Path
    message: str

    @property
    def place(self) -> str:
        """The path as one would write it; empty where it is about the file as a whole."""
        return dotted(self.path)

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.place, self.message) if part)


class ConfigError(Exception):
    """A configuration that cannot be used; its text has one line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Problems:
    """The problems found so far, at most one for each place.

    ``origins`` says of some paths who set them; all others come from ``file``.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.origins: dict[Path, str] = {}
        self._found: dict[Path, Problem] = {}

    def add(self, path: Path, message: str, *, origin: str | None = None) -> None:
        """Remember one; what was first found at a place is what is told of it."""
        self._found.setdefault(path, Problem(origin or self._origin(path), path, message))

    def within(self, path: Path) -> bool:
        """Whether something at or below ``path`` is wrong already, so that conclusions from it would mislead."""
        return any(found[: len(path)] == path for found in self._found)

    def raise_if_any(self) -> None:
        if self._found:
            raise ConfigError(self._found.values())

    def _origin(self, path: Path) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.file


def dotted(path: Path) -> str:
    """The path as one would write it: ``models."gpt-4.1".fallbacks[0].provider``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if len(part) <= _LONGEST_NAME else part[:_LONGEST_NAME] + "…"
            text += ("." if text else "") + (name if _BARE.match(name) else quoted(name))
    return text


def quoted(text: str) -> str:
    """The text in quotes, on one line, with whatever a terminal would act on escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean "listen"?``, or nothing where no known name is near."""
    if len(name) > _LONGEST_NAME:
        return ""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.55)
    if not close:
        lowered = {known_name.lower(): known_name for known_name in names}
        close = [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.55)]
    return f'; did you mean "{close[0]}"?' if close else ""


def any_of(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
