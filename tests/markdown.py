"""Reading our own pages: what stands in their code blocks and their tables."""

from __future__ import annotations


def blocks(text: str, language: str) -> list[str]:
    """The code blocks in ``language`` (empty: those that name none), each with its last line feed."""
    found: list[str] = []
    fence: str | None = None
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if not line.startswith("```"):
            lines.append(line)
        elif fence is None:
            fence, lines = line.strip("`\n "), []
        else:
            if fence == language:
                found.append("".join(lines))
            fence = None
    return found


def prose(text: str) -> str:
    """The page without its code blocks."""
    kept = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "".join(kept)


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, headings included."""
    return [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
