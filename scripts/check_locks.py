"""Check that the locks keep their promises: `python scripts/check_locks.py requirements/*.txt`.

Every line is pinned and hashed, nothing names an index or a folder of some machine, and every interpreter we support
finds all it needs. pip-compile resolves for the interpreter it runs on, so a dependency that only a newer Python or
another processor has would be missing from the lock, and pip would refuse to install there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from importlib import metadata
from itertools import product
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==\d", re.MULTILINE)
FOREIGN = re.compile(r"https?://|--(?:extra-)?index-url|--find-links|--trusted-host|file://|(?:^|\s)/\w", re.MULTILINE)


def missing(name: str, pins: Collection[str]) -> set[str]:
    """Return what the installed distribution `name` needs on a supported machine and `pins` lacks."""
    needs = [Requirement(line) for line in metadata.requires(name) or ()]
    environments = [
        {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine, "extra": ""}
        for python, machine in product(PYTHONS, MACHINES)
    ]
    return {
        f"{name} needs {need}"
        for need in needs
        for environment in environments
        if (need.marker is None or need.marker.evaluate(environment)) and canonicalize_name(need.name) not in pins
    }


def problems(lock: Path) -> list[str]:
    """Return one line for each promise that `lock` breaks."""
    text = lock.read_text()
    pins = {canonicalize_name(pin["name"]) for pin in PIN.finditer(text)}
    found = [f"names an index or a path: {m.group().strip()!r}" for m in FOREIGN.finditer(text)]
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    found += [f"has no hash: {entry.strip()}" for entry in entries if entry.strip() and "--hash=sha256:" not in entry]
    for name in sorted(pins):
        try:
            found += sorted(missing(name, pins))
        except metadata.PackageNotFoundError:
            found.append(f"cannot be checked here, not installed: {name}")
    return [f"{lock}: {line}" for line in found]


def main() -> int:
    """Print every broken promise; 1 if there was one."""
    found = [line for name in sys.argv[1:] for line in problems(Path(name))]
    print("\n".join(found) if found else "locks: pinned, hashed, complete for Python " + ", ".join(PYTHONS))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
