"""The rules about the shape of the code: who may import whom, what must be declared, how long a module may be."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import arbstr

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "arbstr"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST = 400


def test_rooms_import_only_what_they_may() -> None:
    """Every import contract in pyproject.toml is kept."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_are_short_enough_to_read() -> None:
    """No module has more than 400 lines: one that needs more is about more than one noun."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}

    assert lengths
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_every_third_party_import_is_a_declared_dependency() -> None:
    """What arbstr imports is named in pyproject.toml, not left to what another package brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {_normal(line) for line in project["dependencies"]}
    declared |= {_normal(line) for extra in project.get("optional-dependencies", {}).values() for line in extra}
    distributions = packages_distributions()

    undeclared = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in MODULES
        for name in _imported_roots(path)
        if name != "arbstr"
        and name not in sys.stdlib_module_names
        and not declared & {_normal(owner) for owner in distributions.get(name, [name])}
    }

    assert undeclared == set()


def test_every_declared_dependency_is_imported() -> None:
    """Nothing is installed on a user's machine that no line of arbstr uses."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    distributions = packages_distributions()

    used = {
        _normal(owner) for path in MODULES for name in _imported_roots(path) for owner in distributions.get(name, [])
    }

    assert {_normal(line) for line in project["dependencies"]} - used == set()


def test_the_version_is_a_heading_of_the_changelog() -> None:
    """A release has its entry: `arbstr.__version__` is a heading of CHANGELOG.md."""
    changelog = (ROOT / "CHANGELOG.md").read_text()

    assert f"\n## [{arbstr.__version__}]" in changelog


def test_the_locks_name_no_index_and_no_machine() -> None:
    """The locks work everywhere: pinned and hashed lines only, no index, no folder of the machine that made them."""
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        lines = [line.strip() for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]

        strange = [line for line in lines if line and "==" not in line and not line.startswith("--hash=sha256:")]

        assert strange == [], lock.name
        assert "://" not in lock.read_text(), lock.name


def _imported_roots(path: Path) -> set[str]:
    """Return the top-level names that the module at `path` imports, anywhere in it."""
    roots = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


def _normal(requirement: str) -> str:
    """Return the bare, normalised distribution name of a requirement: `PyYAML>=6` is `pyyaml`."""
    name = "".join(char if char.isalnum() or char in "-_." else " " for char in requirement).split()[0]
    return name.lower().replace("_", "-").replace(".", "-")
