"""What each generation of Google's models takes: the API answers 400 to what a model does not know.

From the vendor's model pages as of November 2026. A new generation is a line here and a line in the tests.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec


class Generation(msgspec.Struct, frozen=True):
    """What the models of one generation take. The defaults are those of the newest."""

    system: bool = True
    """``systemInstruction``; else the instructions stand before the first message."""
    thinking: str = "level"
    """``level`` (minimal … high), ``budget`` (tokens) or ``none``."""
    can_stop_thinking: bool = False
    """A budget of 0 is taken."""
    minimal_level: str = "low"
    """The least level of thinking."""
    penalties: bool = False
    """``presencePenalty`` and ``frequencyPenalty``."""
    signatures: bool = True
    """A function call in the history must carry a thought signature."""
    json_with_tools: bool = True
    """``responseMimeType`` beside function declarations."""


_FLASH_3 = Generation(minimal_level="minimal")
_PRO_25 = Generation(thinking="budget", signatures=False, json_with_tools=False)
_FLASH_25 = msgspec.structs.replace(_PRO_25, can_stop_thinking=True)
_OLDER = Generation(thinking="none", penalties=True, signatures=False, json_with_tools=False)
_GEMMA = msgspec.structs.replace(_OLDER, penalties=False)
_GEMMA_3 = msgspec.structs.replace(_GEMMA, system=False)

_VERSION = re.compile(r"(gemini|gemma)-(\d+)(?:[.-](\d)(?!\d))?")


@lru_cache(maxsize=1024)
def generation_of(model: str) -> Generation:
    """The generation of ``model``. One without a version (``gemini-flash-latest``) is taken for the newest."""
    name = model.lower().rpartition("/")[2]
    found = _VERSION.match(name)
    flash = "flash" in name
    if found is None:
        if not name.startswith("gemini"):
            return _GEMMA
        return _FLASH_3 if flash else Generation()
    version = (int(found[2]), int(found[3] or 0))
    if found[1] == "gemma":
        return _GEMMA_3 if version < (4, 0) else _GEMMA
    if version >= (3, 0):
        return _FLASH_3 if flash else Generation()
    if version >= (2, 5):
        return _FLASH_25 if flash else _PRO_25
    return _OLDER
