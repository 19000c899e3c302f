"""What ``arbstr init`` writes."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path

import pytest

from arbstr.config import load
from arbstr.config.template import TEMPLATE, write_template
from arbstr.domain.limits import Limits
from arbstr.domain.money import Currency, ExchangeRate
from arbstr.domain.routing import BudgetSettings
from tests.config.written import compiled


def test_it_works_as_it_is(tmp_path: Path) -> None:
    """A fresh configuration has no problem; that the key is not set yet is the one warning."""
    path = tmp_path / "arbstr.toml"
    write_template(path)

    config = load(path, environ={})

    assert list(config.snapshot.routes) == ["gpt-4o", "gpt-4o-mini"]
    assert [line.split(":")[0] for line in config.warnings] == ["providers.openai.api_key"]
    assert all(each.rates is not None for each in config.providers[0].deployments)


def test_its_commented_settings_are_right_too(tmp_path: Path) -> None:
    """Every line that begins with a bare sign can be put to use by removing it."""
    text = re.sub(r"^#(?=[^ \n])", "", TEMPLATE, flags=re.MULTILINE)

    config = compiled(tmp_path, text, environ={"OPENAI_API_KEY": "sk-0123456789"})

    assert sorted(config.snapshot.routes) == ["assistant", "gpt-4o", "gpt-4o-mini", "llama3.2"]
    assert [rule.name for rule in config.snapshot.rules] == ["frugal"]
    assert config.providers[0].key_source == "${OPENAI_API_KEY}"
    assert config.snapshot.budget == BudgetSettings(currency=Currency.USD, day=10 * 10**9)
    assert config.snapshot.limits == Limits(rpm=600, max_parallel=50)
    assert config.snapshot.exchange_rate == ExchangeRate.of(Decimal(1000))
    assert config.snapshot.auth_required
    assert len(config.alerts) == 1


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_owner_can_read_it(tmp_path: Path, umask: int) -> None:
    """Whatever new files are by default, this one is private from its first moment."""
    path = tmp_path / "arbstr.toml"
    before = os.umask(umask)
    try:
        write_template(path)
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_is_there_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    """Not even where a link leads elsewhere."""
    path = tmp_path / "arbstr.toml"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(FileExistsError):
        write_template(path)

    assert not (tmp_path / "elsewhere").exists()
    assert kind != "file" or path.read_text() == "mine"
