"""The command line: ``main`` is the ``arbstr`` command. What is slow to import is imported by who needs it."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that ``arguments`` (``sys.argv`` by default) name, and exit: 0, 1, 2 for usage, 78 for bad
    configuration."""
    from arbstr.cli.commands import arbstr

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arbstr.main(args=list(arguments) if arguments is not None else None, prog_name="arbstr")
