"""Find the configuration, read it, and say everything that is wrong with it at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from arbstr.config.compile import Compiled, compile_config
from arbstr.config.environment import overlay, put, substitute
from arbstr.config.parse import FORMATS, Tree, parse
from arbstr.config.problems import ConfigError, Problem, Problems
from arbstr.config.read import read
from arbstr.config.units import Text

VARIABLE = "ARBSTR_CONFIG"
LARGEST = 4 * 1024**2
"""Bytes of a configuration file."""

Flags = Mapping[tuple[str, ...], tuple[str, str]]
"""The path of a key to the flag that sets it and what it says: ``("server", "listen"): ("--listen", "[::1]:80")``."""


def find(flag: str | None, *, environ: Mapping[str, str]) -> Path:
    """The configuration file: ``--config``, ``$ARBSTR_CONFIG``, the working directory's, the user's.

    Raises :class:`~arbstr.config.problems.ConfigError` where none is named and none is found.
    """
    if flag is not None:
        return Path(flag)
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE])
    users = _user_folder(environ) / "arbstr"
    for path in (folder / name for folder in (Path(), users) for name in ("arbstr.toml", "arbstr.yaml")):
        if os.path.exists(path):
            return path
    raise ConfigError(
        [
            Problem(
                "arbstr",
                (),
                "no configuration found, expected --config PATH, $ARBSTR_CONFIG, or arbstr.toml or arbstr.yaml here "
                f"or in {users}; `arbstr init` writes one, `arbstr serve --mock` needs none",
            )
        ]
    )


def load(path: Path, *, environ: Mapping[str, str], flags: Flags | None = None) -> Compiled:
    """The configuration in ``path``, overridden by the environment and then by ``flags``.

    Raises :class:`~arbstr.config.problems.ConfigError` with every problem that was found.
    """
    problems = Problems(str(path))
    try:
        tree = substitute(parse(_bytes(path), _format(path)), environ, problems)
    except ValueError as error:
        raise ConfigError([Problem(str(path), (), str(error))]) from None
    return _finished(tree, problems, environ=environ, flags=flags or {}, folder=path.parent, source=path)


def load_built_in(text: str, *, environ: Mapping[str, str], flags: Flags, folder: Path) -> Compiled:
    """A configuration in TOML that comes with the program: as :func:`load`, and its providers may be mocks."""
    problems = Problems("the built-in configuration")
    tree = parse(text.encode(), "TOML")
    return _finished(tree, problems, environ=environ, flags=flags, folder=folder, source=None)


def loose_mode(path: Path) -> str | None:
    """The file's mode, as ``0644``, where others than its owner can read or write it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return f"{mode:04o}" if mode & 0o077 else None


def _finished(
    tree: Tree, problems: Problems, *, environ: Mapping[str, str], flags: Flags, folder: Path, source: Path | None
) -> Compiled:
    overlay(tree, environ, problems)
    for names, (flag, value) in flags.items():
        put(tree, names, Text(value, flag), problems)
    config = read(tree, problems)
    return compile_config(config, problems, environ=environ, folder=folder, source=source)


def _format(path: Path) -> str:
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise ValueError(f'ends in "{path.suffix}", expected .toml, .yaml or .yml') from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}, expected a configuration file") from None
    if len(data) > LARGEST:
        raise ValueError("is longer than 4 MiB, expected a configuration file")
    return data


def _user_folder(environ: Mapping[str, str]) -> Path:
    configured = environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(configured):
        return Path(configured)
    return Path(environ.get("HOME") or os.path.expanduser("~")) / ".config"
