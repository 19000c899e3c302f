"""What the pages say of alerts is what is sent; and what they say to do with a signature tells right from wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from arbstr.domain.alert import AlertKind, WebhookTarget
from arbstr.domain.secret import Secret
from arbstr.notify import email, lane
from arbstr.notify.dispatcher import REMEMBERED
from arbstr.notify.notice import LONGEST
from arbstr.notify.webhook import Webhook, signature
from arbstr.testing import FakeClock
from arbstr.upstream import post
from tests.markdown import blocks, rows
from tests.notify.news import notice
from tests.notify.receivers import hook

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "alerts.md").read_text()
HOW_TO = (DOCS / "how-to" / "get-alerts.md").read_text()
SECRET = "correct horse battery staple"


def section(title: str) -> list[list[str]]:
    """The rows of the table under a heading, without its own head."""
    found = re.search(rf"^## {title}\n(.*?)(?=^#|\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found, title
    return rows(found[1])[1:]


def names(title: str) -> list[str]:
    return [row[0].strip("`") for row in section(title)]


def test_the_fields_are_those_of_the_body() -> None:
    """Table and example."""
    (example,) = blocks(REFERENCE, "json")

    assert names("Fields") == list(json.loads(notice().body))
    assert example == notice().body.decode() + "\n"


def test_every_kind_is_named() -> None:
    """In the reference, and on the page that says what to do."""
    kinds = {kind.value for kind in AlertKind}

    assert set(names("Kinds")) == kinds
    assert {row[0].strip("`") for row in rows(HOW_TO)[1:]} == kinds


async def test_the_headers_are_those_that_are_sent() -> None:
    """All that begin with ours."""
    async with hook() as (receiver, poster):
        target = WebhookTarget("alerts[0]", receiver.url(), Secret(SECRET))
        await Webhook(target, post=poster, clock=FakeClock()).send(notice())

    sent = [name for name in receiver.posted[0].headers if name.startswith("x-arbstr-")]
    assert [name.lower() for name in names("Headers")] == sent


def test_the_bounds_are_the_ones_that_are_kept() -> None:
    """Every number of the table, and those in sentences, are the code's."""
    bounds = {row[0]: row[1] for row in section("Bounds")}
    text = " ".join(HOW_TO.split())

    assert bounds["alerts that wait for one target"].startswith(f"{lane.QUEUE_LIMIT:,};")
    assert bounds["tries"] == f"{lane.TRIES}, within an hour of the alert"
    assert bounds["pause between two"].startswith(
        f"{lane.FIRST_PAUSE:g} s, doubling up to {lane.LONGEST_PAUSE:g} s, each uniform between half the step and"
    )
    assert bounds["one try"] == (
        f"{lane.PATIENCE:g} s; a webhook's answer {post.PATIENCE:g} s, a mail server's each {email.PATIENCE:g} s"
    )
    assert bounds["causes that are remembered"].startswith(f"{REMEMBERED:,},")
    assert bounds["text of a summary"] == f"{LONGEST:,} characters"
    assert lane.TOO_LATE == 3600
    assert f"tried up to {lane.TRIES} times within an hour, after a second at first" in text
    assert f"within {post.PATIENCE:g} seconds; redirects are not followed" in text
    assert f"how long it waits, up to {lane.PATIENCE:g} seconds" in text


BODY = notice().body


def genuine() -> str:
    """A signature of now."""
    return signature(Secret(SECRET), int(time.time()), BODY)


def forgeries() -> list[tuple[str, bytes]]:
    """Changed, signed by somebody else, old, and old but said to be new."""
    now = int(time.time())
    old = signature(Secret(SECRET), now - 3600, BODY)
    return [
        (genuine(), BODY.replace(b"alpha", b"gamma")),
        (signature(Secret("another"), now, BODY), BODY),
        (old, BODY),
        (old.replace(f"t={now - 3600}", f"t={now}"), BODY),
    ]


def test_the_example_in_python_tells_right_from_wrong() -> None:
    """And from what is no signature at all."""
    (program,) = blocks(HOW_TO, "python")
    scope: dict[str, Any] = {}
    exec(program, scope)
    is_genuine = cast(Callable[[str, str, bytes], bool], scope["is_genuine"])

    assert is_genuine(SECRET, genuine(), BODY)
    assert [is_genuine(SECRET, header, body) for header, body in [*forgeries(), ("", BODY), ("t=1", BODY)]] == [
        False
    ] * 6


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the example calls openssl")
def test_the_example_for_a_shell_tells_right_from_wrong(tmp_path: Path) -> None:
    """The same, by the words that people copy."""
    (script,) = blocks(HOW_TO, "sh")

    def said(header: str, body: bytes) -> str:
        (tmp_path / "body.json").write_bytes(body)
        environ = {"PATH": os.environ["PATH"], "HEADER": header, "ALERT_SECRET": SECRET}
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return done.stdout

    assert said(genuine(), BODY) == "genuine\n"
    assert [said(header, body) for header, body in forgeries()] == [""] * 4
