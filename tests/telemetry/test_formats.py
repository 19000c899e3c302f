"""The look of a line: one line, valid, bounded, readable."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbstr.domain.secret import Secret
from arbstr.telemetry.formats import LONGEST_TEXT, clean, json_line, renderer, summary, text_line, timestamp

HEAD = {"timestamp": "2026-11-20T19:30:00.125Z", "level": "info", "event": "request"}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_800_000_000.125, "2027-01-15T08:00:00.125Z"),
        (1_800_000_000.9999, "2027-01-15T08:00:00.999Z"),
    ],
)
def test_timestamps_are_utc_with_milliseconds(seconds: float, expected: str) -> None:
    """RFC 3339, three digits, never rounded up into a second that has not come."""
    assert timestamp(seconds) == expected


@given(st.text())
def test_any_text_is_one_json_line(text: str) -> None:
    """Whatever a caller writes into a name comes back from the line, and cannot start a second one."""
    line = json_line(HEAD | {"model": text})

    assert line.count(b"\n") == 1
    assert msgspec.json.decode(line)["model"] == text


@given(st.text(st.characters()))
def test_any_text_is_one_text_line(text: str) -> None:
    """The human format is as safe: no line breaks and no control characters from outside."""
    line = text_line(HEAD | {"model": text, "event": text}).decode()

    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_a_lone_surrogate_is_escaped() -> None:
    """Text that is no valid UTF-8 costs its own characters, not the line."""
    line = json_line(HEAD | {"model": "\ud800x"})

    assert msgspec.json.decode(line)["model"] == "\\ud800x"


def test_the_text_format_quotes_only_what_needs_it() -> None:
    """Plain words stand as they are, others as JSON strings; what is unknown is left out."""
    line = text_line(
        HEAD | {"model": "gpt-4o", "error": "no luck", "cost_sats": 1.5, "policy": None, "streaming": True}
    )

    assert line == (
        b'2026-11-20T19:30:00.125Z info    request model=gpt-4o error="no luck" cost_sats=1.5 streaming=true\n'
    )


def test_renderers_go_by_name() -> None:
    """The names are those of the configuration."""
    assert renderer("json") is json_line
    assert renderer("text") is text_line


def test_long_texts_are_cut() -> None:
    """One value cannot fill a disk."""
    assert clean("x" * 5000, str) == "x" * LONGEST_TEXT + "…"


def test_secrets_are_masked_wherever_they_are() -> None:
    """As a value, in a list, as a key, deep inside: only the first six characters of a secret are ever shown."""
    secret = Secret("sk-canary-0123456789")
    deep = {"a": {"b": {"c": {"d": {"e": secret}}}}}

    cleaned = str(clean({"key": secret, "list": [secret], secret: 1, "deep": deep, "error": ValueError(secret)}, str))

    assert "canary" not in cleaned
    assert cleaned.count("sk-can***") == 5


def test_known_secrets_are_taken_out_of_texts() -> None:
    """The redactor sees every text, keys and exception messages included."""

    def redact(text: str) -> str:
        return text.replace("hunter2", "***")

    cleaned = clean({"hunter2": ["my hunter2"], "error": ValueError("hunter2 refused")}, redact)

    assert "hunter2" not in str(cleaned)
    assert cleaned["error"]["message"] == "*** refused"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def test_values_without_a_text_do_not_break_a_line() -> None:
    """A broken __str__ is shown as its type."""
    assert clean([Broken(), b"\x00", float("nan"), 2**80, {1}], str)[0] == "<Broken>"
    assert summary(BrokenError())["message"] == ""
    assert json_line(HEAD | {"all": clean([Broken(), b"\x00", float("nan"), 2**80], str)})


def test_an_exception_is_summarised() -> None:
    """Type, message, cause, and the innermost frames with the place of the error last; never a traceback."""

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("no good") from KeyError("why")

    try:
        deep(20)
    except ValueError as error:
        fields = summary(error)

    assert fields["type"] == "ValueError"
    assert fields["message"] == "no good"
    assert fields["cause"] == "KeyError: 'why'"
    assert len(fields["stack"]) == 5
    assert fields["stack"][-1].endswith(" deep")
    assert fields["stack"][-1].startswith("tests/telemetry/test_formats.py:")
