"""Headers of a provider: which may be set, and that their values are kept as keys are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.written import ALPHA, compiled, problems

TOKEN = "cashuB-0123456789abcdef"


def test_values_come_from_the_environment_and_are_secrets(tmp_path: Path) -> None:
    """By ``${NAME}`` or by a variable of the key's own; each value is known to those who mask."""
    text = ALPHA + 'headers = { "X-Cashu" = "${TOKEN}", "X-Title" = "arbstr" }\n'
    environ = {"TOKEN": TOKEN, "ARBSTR_PROVIDERS__ALPHA__HEADERS__X_TITLE": "another"}

    config = compiled(tmp_path, text, environ=environ)

    (spec,) = config.providers
    assert [(name, value.reveal()) for name, value in spec.headers] == [("X-Cashu", TOKEN), ("X-Title", "another")]
    assert [secret.reveal() for secret in config.secrets] == [TOKEN, "another"]
    assert TOKEN not in repr(config)


def test_a_credential_behind_its_scheme_is_a_secret_of_its_own(tmp_path: Path) -> None:
    """A provider may quote it without the word in front."""
    config = compiled(tmp_path, ALPHA + f'headers = {{ Authorization = "Cashu {TOKEN}" }}\n')

    assert [secret.reveal() for secret in config.secrets] == [f"Cashu {TOKEN}", TOKEN]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ('{ Host = "x" }', "headers.Host: Host is arbstr's own to send, expected another header"),
        ('{ "content-LENGTH" = "1" }', "headers.content-LENGTH: content-LENGTH is arbstr's own to send"),
        ('{ Transfer-Encoding = "chunked" }', "is arbstr's own to send"),
        ('{ Connection = "close" }', "is arbstr's own to send"),
        ('{ "X Cashu" = "x" }', '"X Cashu" is not the name of a header'),
        ('{ "X-Cashu:" = "x" }', "is not the name of a header"),
        ('{ "" = "x" }', "is not the name of a header"),
        (f'{{ X-Cashu = "{TOKEN}\\r\\nHost: a" }}', "headers.X-Cashu: cannot stand in a header"),
        (f'{{ X-Cashu = " {TOKEN}" }}', "cannot stand in a header"),
        (f'{{ X-Cashu = "{TOKEN}é" }}', "cannot stand in a header"),
        ('{ X-Cashu = "" }', "headers.X-Cashu: is empty"),
        (f'{{ X-Cashu = ["{TOKEN}"] }}', "headers.X-Cashu: is a list"),
        (f'"X-Cashu: {TOKEN}"', "headers: is a string, expected a table"),
        (f'{{ X-Cashu = "{TOKEN}", x-cashu = "b" }}', "headers.x-cashu: is given twice"),
    ],
)
def test_what_cannot_be_a_header_is_refused(tmp_path: Path, headers: str, message: str) -> None:
    """Also what would change where a message goes or ends. No message has a value in it."""
    lines = problems(tmp_path, f"{ALPHA}headers = {headers}\n")

    assert message in "\n".join(lines)
    assert TOKEN not in "\n".join(lines)


@pytest.mark.parametrize(
    ("kind", "header"), [("openai", "Authorization"), ("azure", "api-key"), ("anthropic", "X-Api-Key")]
)
def test_a_key_and_a_header_in_its_place_are_one_too_many(tmp_path: Path, kind: str, header: str) -> None:
    """Which of the two was meant is not ours to guess."""
    text = f'{ALPHA}kind = "{kind}"\nheaders = {{ {header} = "x" }}\n'

    (line,) = problems(tmp_path, text, environ={"ARBSTR_ALPHA_API_KEY": TOKEN})

    assert line.endswith(f"headers.{header}: is where api_key goes, expected one of the two")


def test_signed_requests_have_their_own_authorization(tmp_path: Path) -> None:
    """Of kind bedrock without a key."""
    (line,) = problems(tmp_path, f'{ALPHA}kind = "bedrock"\nheaders = {{ Authorization = "x" }}\n')

    assert "is what requests to AWS are signed with" in line


def test_a_credential_in_the_file_is_warned_of(tmp_path: Path) -> None:
    """By the look of its name; and with headers, nobody is told that there is no key."""
    config = compiled(tmp_path, f'{ALPHA}headers = {{ X-Cashu = "{TOKEN}", X-Title = "arbstr" }}\n')

    (warning,) = config.warnings
    assert warning == 'providers.alpha.headers.X-Cashu: stands in the file, better a variable: "${NAME}"'


def test_a_token_command_takes_the_place_of_the_key(tmp_path: Path) -> None:
    """As words, without a shell; where the key comes from is said."""
    config = compiled(tmp_path, ALPHA + "token_command = \"print-token --for 'a b'\"\n")

    (spec,) = config.providers
    assert spec.token_command == ("print-token", "--for", "a b")
    assert spec.key_source == "token_command"
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('token_command = "a \'b"', "token_command: has a quote or a backslash that is not closed"),
        ('token_command = " "', "token_command: is empty"),
        ("token_command = \"''\"\napi_key = 'sk-0123456789'", "is given beside api_key, expected one of the two"),
        ('token_command = "a"\nheaders = { Authorization = "b" }', "is where the token of token_command goes"),
    ],
)
def test_what_is_no_token_command_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    """Also beside another credential."""
    assert message in "\n".join(problems(tmp_path, f"{ALPHA}{lines}\n"))


def test_a_token_command_beside_a_key_by_convention_is_refused(tmp_path: Path) -> None:
    """Naming the variable, for it is not in the file."""
    (line,) = problems(tmp_path, ALPHA + 'token_command = "a"\n', environ={"ARBSTR_ALPHA_API_KEY": TOKEN})

    assert line.endswith("token_command: is given beside the variable ARBSTR_ALPHA_API_KEY, expected one of the two")


def test_a_vendors_own_address_hides_no_warning_of_its_key(tmp_path: Path) -> None:
    """Where the URL is left out, as where it is not."""
    text = '[providers.anthropic]\nmodels = ["m"]\ninput_rate = 1\noutput_rate = 1\n'

    (missing,) = compiled(tmp_path, text).warnings
    (literal,) = compiled(tmp_path, f'{text}api_key = "{TOKEN}"\n').warnings

    assert missing.startswith("providers.anthropic.api_key: none is set")
    assert literal.startswith("providers.anthropic.api_key: stands in the file")


@pytest.mark.parametrize(
    ("lines", "source"),
    [("", "botocore"), (f'api_key = "{TOKEN}"', "literal"), ('token_command = "print-token"', "token_command")],
)
def test_where_awss_credentials_come_from_is_said(tmp_path: Path, lines: str, source: str) -> None:
    """Without a key of Bedrock's own they are what AWS's tools would find: it is never called without any."""
    (spec,) = compiled(tmp_path, f'{ALPHA}kind = "bedrock"\n{lines}\n').providers

    assert spec.key_source == source
