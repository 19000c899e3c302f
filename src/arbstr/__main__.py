"""`python -m arbstr` is the `arbstr` command."""

from __future__ import annotations

from arbstr.cli import main

if __name__ == "__main__":
    main()
