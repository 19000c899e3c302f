"""Cursors: where in an order of the log a page ends, as a text that callers hand back."""

from __future__ import annotations

import base64
import binascii

import msgspec

from arbstr.domain.errors import InvalidRequest
from arbstr.domain.statistics import Sort

Value = str | int | float | None
"""What is sorted by: a timestamp as the log has it, microsatoshis, or milliseconds. None: an unknown cost."""

_TYPES: dict[Sort, tuple[type, ...]] = {
    Sort.TIMESTAMP: (str,),
    Sort.COST: (int, type(None)),
    Sort.LATENCY: (int, float),
}
_LONGEST = 200
"""Characters; ours are less than half as long."""
_LARGEST = 2**63 - 1
"""What SQLite can compare with."""


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last entry of a page."""

    sort: Sort
    descending: bool
    value: Value
    id: int

    def text(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def cursor_of(text: str, *, sort: Sort, descending: bool) -> Cursor:
    """The cursor that ``text`` is. Raises InvalidRequest where it is none, or of another order."""
    try:
        if len(text) > _LONGEST or not text.isascii():
            raise ValueError
        padded = text + "=" * (-len(text) % 4)
        cursor = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Cursor)
    except (ValueError, binascii.Error):  # what msgspec says is a ValueError, too
        raise InvalidRequest(
            "the cursor cannot be read, expected the next_cursor of an answer", param="cursor"
        ) from None
    numbers = [number for number in (cursor.value, cursor.id) if isinstance(number, int)]
    if not isinstance(cursor.value, _TYPES[cursor.sort]) or any(abs(number) > _LARGEST for number in numbers):
        raise InvalidRequest("the cursor cannot be read, expected the next_cursor of an answer", param="cursor")
    if (cursor.sort, cursor.descending) != (sort, descending):
        order = "desc" if cursor.descending else "asc"
        said = f"the cursor is of sort={cursor.sort.value} and order={order}, expected one of the same sort and order"
        raise InvalidRequest(said, param="cursor")
    return cursor
