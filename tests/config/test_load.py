"""Where the configuration is looked for, and what cannot be opened."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from arbstr.config import ConfigError, find, load
from arbstr.config.load import loose_mode
from tests.config.written import ALPHA, compiled


def test_the_flag_comes_first_then_the_variable_then_the_folders(tmp_path: Path) -> None:
    """Each place is looked at only if all before it are silent; TOML is looked for before YAML."""
    home = tmp_path / "home"
    (home / ".config" / "arbstr").mkdir(parents=True)
    (home / "xdg" / "arbstr").mkdir(parents=True)
    places = [
        tmp_path / "arbstr.toml",
        tmp_path / "arbstr.yaml",
        home / "xdg" / "arbstr" / "arbstr.toml",
        home / "xdg" / "arbstr" / "arbstr.yaml",
        home / ".config" / "arbstr" / "arbstr.toml",
    ]
    for place in places:
        place.write_text(ALPHA)
    environ = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "xdg"), "ARBSTR_CONFIG": "elsewhere.toml"}

    found = []
    with contextlib.chdir(tmp_path):
        found.append(find("here.toml", environ=environ))
        found.append(find(None, environ=environ))
        del environ["ARBSTR_CONFIG"]
        for place in places:
            if "XDG_CONFIG_HOME" in environ and place.is_relative_to(home / ".config"):
                del environ["XDG_CONFIG_HOME"]
            found.append(find(None, environ=environ).absolute())
            place.unlink()

    assert found == [Path("here.toml"), Path("elsewhere.toml"), *places]


def test_where_there_is_none_the_ways_out_are_named(tmp_path: Path) -> None:
    """A newcomer is told how to get a configuration, and how to do without."""
    with contextlib.chdir(tmp_path), pytest.raises(ConfigError) as caught:
        find(None, environ={"HOME": str(tmp_path), "ARBSTR_CONFIG": "", "XDG_CONFIG_HOME": "relative/is/ignored"})

    (line,) = str(caught.value).split("\n")
    assert line.startswith("arbstr: no configuration found, expected --config PATH, $ARBSTR_CONFIG, or arbstr.toml")
    assert f"in {tmp_path}/.config/arbstr; `arbstr init` writes one, `arbstr serve --mock` needs none" in line


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("none.toml", "cannot be read: No such file or directory, expected a configuration file"),
        ("folder.toml", "cannot be read: Is a directory, expected a configuration file"),
        ("huge.toml", "is longer than 4 MiB, expected a configuration file"),
        ("arbstr", 'ends in "", expected .toml, .yaml or .yml'),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, name: str, wrong: str) -> None:
    """Whatever is the matter with the file, it is told in one line that begins with its name."""
    (tmp_path / "arbstr").touch()
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "huge.toml").write_bytes(b"#" * (4 * 1024**2 + 1))

    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name, environ={})

    assert str(caught.value) == f"{tmp_path / name}: {wrong}"


@pytest.mark.parametrize("url", ["sqlite:///data/log.db", "sqlite:///./data/log.db", "sqlite:///x/../data/log.db"])
def test_relative_paths_are_relative_to_the_file(tmp_path: Path, url: str) -> None:
    """Wherever the command is run from, the request log is the same."""
    folder = tmp_path / "etc"
    folder.mkdir()

    by_absolute_name = compiled(folder, f"store = {{ url = '{url}' }}").store
    with contextlib.chdir(tmp_path):
        by_relative_name = load(Path("etc/arbstr.toml"), environ={}).store

    assert by_absolute_name == by_relative_name == folder / "data" / "log.db"


@pytest.mark.parametrize(
    ("mode", "told"), [(0o600, None), (0o400, None), (0o640, "0640"), (0o604, "0604"), (0o620, "0620"), (0o777, "0777")]
)
def test_a_mode_is_loose_where_others_may_touch_the_file(tmp_path: Path, mode: int, told: str | None) -> None:
    """Only the owner may read or write a file that holds keys."""
    path = tmp_path / "arbstr.toml"
    path.touch()
    os.chmod(path, mode)

    assert loose_mode(path) == told


def test_a_file_that_is_gone_has_no_loose_mode(tmp_path: Path) -> None:
    """It is somebody else's business to say that it is gone."""
    assert loose_mode(tmp_path / "none.toml") is None
