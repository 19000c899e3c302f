"""Kind gemini with a project and a location is Vertex AI."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.written import compiled, problems

VERTEX = """
[providers.gemini]
models = ["gemini-2.5-flash"]
input_rate = 1
output_rate = 2
"""


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("global", "https://aiplatform.googleapis.com"),
        ("us", "https://aiplatform.us.rep.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_the_location_says_where_it_is(tmp_path: Path, location: str, url: str) -> None:
    """Google's own names of hosts; the credentials are google-auth's."""
    config = compiled(tmp_path, f'{VERTEX}project = "p"\nlocation = "{location}"\n')

    (spec,) = config.providers
    assert (spec.base_url, spec.project, spec.location) == (url, "p", location)
    assert spec.key_source == "google-auth"
    assert config.warnings == ()


def test_a_command_may_bring_the_token_instead(tmp_path: Path) -> None:
    """Where google-auth is not installed."""
    lines = 'project = "p"\nlocation = "global"\ntoken_command = "gcloud auth print-access-token"\n'

    assert compiled(tmp_path, VERTEX + lines).providers[0].key_source == "token_command"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('project = "p"', "gemini.location: is missing, expected it beside project"),
        ('location = "global"', "gemini.project: is missing, expected it beside location"),
        ('project = "p"\nlocation = "a.evil.example/"', "gemini.location: is no such place"),
        ('project = "p"\nlocation = "global"\napi_key = "k-0123456789"', "gemini.project: is given beside api_key"),
        ('kind = "openai"\nbase_url = "https://a.example/v1"\nproject = "p"', "is for providers of kind gemini"),
        (
            'project = "p"\nlocation = "global"\nheaders = { authorization = "x" }',
            "headers.authorization: is where the token of google-auth goes, expected one of the two",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    """Half a place, a place that is none, and two credentials."""
    assert message in "\n".join(problems(tmp_path, f"{VERTEX}{lines}\n"))
