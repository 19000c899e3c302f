"""Reasoning that only its vendor can read, on its way through a dialect whose own is another's.

An opaque piece goes to the caller and comes back in a later turn, perhaps to a provider of another vendor, who would
refuse the whole request for it. So a piece that crosses dialects says where it is from:

* What OpenAI encrypted leaves the provider's side as ``openai:<item id>:<encrypted content>``.
* What others signed or encrypted is given to a caller of this dialect as ``arbstr.<kind>:<piece>``, in the
  ``encrypted_content`` of a reasoning item, which such callers send back as it is. The kind is ``s`` for a signature
  of the item's text, ``r`` for redacted reasoning, ``t`` for the signature of the tool call that follows.
"""

from __future__ import annotations

from typing import Any

OPENAI = "openai:"
FOREIGN = "arbstr."
SIGNATURE = "arbstr.s:"
REDACTED = "arbstr.r:"
TOOL_CALL = "arbstr.t:"
ITEM = "rs_arbstr_"
"""How the ids of reasoning items begin that were made here. OpenAI looks up those that it does not know, in vain."""


def openai_piece(item_id: str, encrypted: str) -> str:
    """What OpenAI encrypted, marked as its own."""
    return f"{OPENAI}{item_id}:{encrypted}"


def openai_parts(piece: str | None) -> tuple[str, str] | None:
    """The item's id and the encrypted content of what OpenAI encrypted; None for what it did not."""
    if piece is None or not piece.startswith(OPENAI):
        return None
    item_id, _, encrypted = piece[len(OPENAI) :].partition(":")
    return item_id, encrypted


def is_foreign(item: dict[str, Any]) -> bool:
    """Whether an input item is reasoning that was made here, and not by OpenAI."""
    if item.get("type") != "reasoning":
        return False
    encrypted, item_id = item.get("encrypted_content"), item.get("id")
    made = type(encrypted) is str and encrypted.startswith(FOREIGN)
    return made or (type(item_id) is str and item_id.startswith(ITEM))
