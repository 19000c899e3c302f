"""Configurations as somebody wrote them, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from arbstr.config import Compiled, ConfigError, load
from arbstr.config.load import Flags

ALPHA = """
[providers.alpha]
base_url = "https://alpha.example/v1"
models = ["gpt-4o"]
input_rate = 10
output_rate = 30
"""

BETA = ALPHA.replace("alpha", "beta")


def compiled(
    folder: Path,
    text: str,
    *,
    name: str = "arbstr.toml",
    environ: Mapping[str, str] | None = None,
    flags: Flags | None = None,
) -> Compiled:
    """What the file ``name`` with this text comes to."""
    path = folder / name
    path.write_text(text)
    return load(path, environ=environ or {}, flags=flags)


def problems(
    folder: Path,
    text: str,
    *,
    name: str = "arbstr.toml",
    environ: Mapping[str, str] | None = None,
    flags: Flags | None = None,
) -> list[str]:
    """The lines that tell what is wrong with it; the folder is cut from them."""
    with pytest.raises(ConfigError) as caught:
        compiled(folder, text, name=name, environ=environ, flags=flags)
    return str(caught.value).replace(f"{folder}/", "").split("\n")
