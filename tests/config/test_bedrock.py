"""Kind bedrock needs nothing but its region."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.written import compiled, problems

BEDROCK = """
[providers.bedrock]
models = ["amazon.nova-lite-v1:0"]
input_rate = 1
output_rate = 2
"""


@pytest.mark.parametrize(
    ("lines", "url"),
    [
        ("", "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ('region = "eu-west-1"', "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ('region = "cn-north-1"', "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ('region = "eu-west-1"\nbase_url = "https://vpce-1.example"', "https://vpce-1.example"),
    ],
)
def test_the_region_says_where_it_is(tmp_path: Path, lines: str, url: str) -> None:
    """China's under its own domain; a URL of one's own stands above it."""
    (spec,) = compiled(tmp_path, f"{BEDROCK}{lines}\n").providers

    assert (spec.kind, spec.base_url) == ("bedrock", url)


def test_a_region_is_a_name(tmp_path: Path) -> None:
    """It becomes part of a host."""
    (line,) = problems(tmp_path, f'{BEDROCK}region = "eu.evil.example/"\n')

    assert "providers.bedrock.region: is no such place" in line
