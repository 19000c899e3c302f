"""The fields of a caller's request, read one by one; those that nobody asked for are what is dropped."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from arbstr.dialects import lenient
from arbstr.dialects.body import TOO_DEEP, wrong
from arbstr.domain.errors import InvalidRequest

MOST_NAMES = 32
"""Names of dropped fields that are noted."""

_MISSING = object()
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)
_SAYS_NOTHING: dict[str, tuple[object, ...]] = {
    "store": (False,),
    "service_tier": ("auto", "default"),
    "logit_bias": ({},),
    "metadata": ({},),
    "modalities": (["text"],),
    "best_of": (1,),
    "suffix": ("",),
    "include_reasoning": (True,),
}
"""Values by which a field asks for nothing that would not be done anyway."""


class Fields:
    """Each reader names a field, and raises InvalidRequest where its value has the wrong type; ``null`` is absent."""

    def __init__(self, fields: Mapping[str, msgspec.Raw]) -> None:
        self._fields = fields
        self._read: set[str] = set()
        self._also: list[str] = []

    def value(self, name: str) -> Any:
        """The value of a field, as if it were absent where it cannot be read; None for ``null``."""
        self._read.add(name)
        raw = self._fields.get(name)
        return None if raw is None else value_of(raw)

    def typed(self, name: str, kind: type, expected: str) -> Any:
        found = self.value(name)
        if found is not None and type(found) is not kind:
            raise wrong(name, found, expected)
        return found

    def text(self, name: str) -> str | None:
        found: str | None = self.typed(name, str, "a string")
        return found

    def truth(self, name: str) -> bool | None:
        found: bool | None = self.typed(name, bool, "true or false")
        return found

    def whole_number(self, name: str) -> int | None:
        found: int | None = self.typed(name, int, "an integer")
        return found

    def number(self, name: str) -> float | None:
        found = self.value(name)
        if found is None:
            return None
        if type(found) not in (int, float) or not math.isfinite(found):
            raise wrong(name, found, "a number")
        return float(found)

    def texts(self, name: str) -> tuple[str, ...]:
        """A string or a list of strings; empty ones are none."""
        found = self.value(name)
        if found is None:
            return ()
        several = found if type(found) is list else [found]
        for item in several:
            if type(item) is not str:
                raise wrong(name, item, "a string or a list of strings")
        return tuple(item for item in several if item)

    def ignore(self, *names: str) -> None:
        """These have been dealt with elsewhere."""
        self._read.update(names)

    def drop(self, name: str) -> None:
        """Note ``name``, which may be a part of a field."""
        if name not in self._also:
            self._also.append(name)

    def dropped(self) -> tuple[str, ...]:
        """The names of the fields that nobody has read and that ask for something, in their order; a name that is not
        fit for a header is ``?``."""
        rest = [name for name, raw in self._fields.items() if name not in self._read and _says(name, raw)]
        names = [name if _NAME.fullmatch(name) else "?" for name in [*rest, *self._also]]
        return tuple(dict.fromkeys(names))[:MOST_NAMES]


def value_of(raw: msgspec.Raw) -> Any:
    """The value of a field that has been parsed before; lone surrogates are U+FFFD."""
    try:
        return lenient.read(bytes(raw))
    except ValueError:  # nested as deeply as could be read with a shorter call stack
        raise InvalidRequest(TOO_DEEP) from None


def _says(name: str, raw: msgspec.Raw) -> bool:
    value = value_of(raw)
    return value is not None and value not in _SAYS_NOTHING.get(name, ())
