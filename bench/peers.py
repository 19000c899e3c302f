"""The programs the bench needs, and where it puts the gateways it compares with (`bench/.cache`, never committed).

`python -m bench.peers litellm` installs that peer if it is not there yet and prints the path of its program.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "bench" / ".cache"

# The newest versions that installed when the numbers in performance.md were taken.
LITELLM = "1.106.2"
PORTKEY = "1.15.2"
# npm would choose a newer one, with which Portkey answers every stream with 500 (Portkey-AI/gateway issue 1389).
_HONO_NODE_SERVER = "1.14.1"

_PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux", "node": "nodejs", "npm": "npm"}


class Missing(Exception):
    """A program is not there and could not be brought; the message says which package has it."""


def program(name: str) -> str:
    """The path of a system program; `Missing` names its Debian package."""
    # Debian keeps nginx in /usr/sbin, which is not on every user's PATH.
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        package = _PACKAGES.get(name, name)
        raise Missing(f"{name} is not installed; as root: apt-get install {package}")
    return found


def ensure_programs(names: Sequence[str]) -> None:
    """Make sure that system programs are there: by apt-get when we are root, else `Missing` lists the packages."""
    absent = [name for name in names if not _present(name)]
    if not absent:
        return
    packages = [_PACKAGES[name] for name in absent]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"bench: installing {' '.join(packages)} with apt-get", file=sys.stderr)
        _apt("update", "-qq")
        _apt("install", "-y", "-qq", "--no-install-recommends", *packages)
        absent = [name for name in absent if not _present(name)]
    if absent:
        raise Missing(f"{', '.join(absent)} not installed; as root: apt-get install {' '.join(packages)}")


def litellm() -> Path:
    """LiteLLM's proxy in an environment of its own; installed on first use."""
    home = CACHE / f"litellm-{LITELLM}"
    if not (home / "installed").exists():
        print(f"bench: installing LiteLLM {LITELLM} (about a minute)", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", home])
        _run([home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", f"litellm[proxy]=={LITELLM}"])
        (home / "installed").touch()
    return home / "bin" / "litellm"


def portkey() -> Path:
    """Portkey's gateway, the file to be run by node; installed on first use."""
    home = CACHE / f"portkey-{PORTKEY}"
    if not (home / "installed").exists():
        ensure_programs(["node", "npm"])
        print(f"bench: installing Portkey's gateway {PORTKEY}", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        package = {
            "private": True,
            "dependencies": {"@portkey-ai/gateway": PORTKEY},
            "overrides": {"@hono/node-server": _HONO_NODE_SERVER},
        }
        (home / "package.json").write_text(json.dumps(package))
        _run([program("npm"), "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], cwd=home)
        (home / "installed").touch()
    return home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def version_of(name: str) -> str:
    """What a system program calls its version, in one word."""
    word = "--version" if name == "node" else "-v"
    done = subprocess.run([program(name), word], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _present(name: str) -> bool:
    try:
        program(name)
    except Missing:
        return False
    return True


def _apt(*words: str) -> None:
    subprocess.run(
        ["apt-get", *words], stdout=sys.stderr, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    )


def _run(command: Sequence[str | Path], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"{' '.join(str(word) for word in command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")


if __name__ == "__main__":
    try:
        print({"litellm": litellm, "portkey": portkey}[sys.argv[1]]())
    except Missing as error:
        raise SystemExit(f"bench: {error}") from error
