"""The examples that people copy: they run, and print what the pages say."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from arbstr.config import load
from tests.markdown import blocks

ROOT = Path(__file__).resolve().parent.parent
URL = "http://127.0.0.1:8080"
DEADLINE = 60.0


@contextmanager
def gateway() -> Iterator[str]:
    """`arbstr serve --mock` as a real process; its URL."""
    command = [sys.executable, "-m", "arbstr", "serve", "--mock", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            listening = msgspec.json.decode(process.stdout.readline())
            yield listening["url"]
        finally:
            process.terminate()
            process.stdout.read()


def run(program: str, url: str) -> str:
    command = [sys.executable, "-c", program.replace(URL, url)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_of_the_readme_prints_what_it_says() -> None:
    """The first thing that a newcomer does in Python, with the output that stands beneath it."""
    (program,) = blocks((ROOT / "README.md").read_text(), "python")
    outputs = blocks((ROOT / "README.md").read_text(), "")

    with gateway() as url:
        printed = run(program, url)

    assert printed in outputs


def test_the_examples_for_openai_s_clients_run() -> None:
    """One after the other, as somebody who reads the page would try them."""
    program = "\n".join(blocks((ROOT / "docs/how-to/use-openai-clients.md").read_text(), "python"))

    with gateway() as url:
        printed = run(program, url)

    assert "cheap-but-flaky 0.055\n" in printed
    assert "\n 0.055 sats\n" in printed
    assert printed.count("This is a mock answer from ") == 3


def test_the_tutorial_shows_what_happens() -> None:
    """The first six requests go where the tutorial says, at the price that it says, after the failures that it says."""
    page = (ROOT / "docs/tutorial/first-request.md").read_text()
    shown = re.findall(r"^(\S+)  (\S+) sats  \d+ ms  failed before: (\S*)", page, re.MULTILINE)[:5]
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}
    seen = []

    with gateway() as url:
        for _ in range(6):
            request = urllib.request.Request(f"{url}/v1/chat/completions", msgspec.json.encode(body))
            request.add_header("content-type", "application/json")
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                names = ("x-arbstr-provider", "x-arbstr-cost-sats", "x-arbstr-retries")
                seen.append(tuple(answer.headers.get(name, "") for name in names))

    assert seen == [("cheap-but-flaky", "0.055", ""), *shown]


def test_the_configuration_of_the_readme_is_complete(tmp_path: Path) -> None:
    """It stands alone: written to a file, it is accepted without a problem and without a warning."""
    (example,) = blocks((ROOT / "README.md").read_text(), "toml")
    file = tmp_path / "arbstr.toml"
    file.write_text(example)

    compiled = load(file, environ={"ARBSTR_ALPHA_API_KEY": "sk-0123456789", "ARBSTR_BETA_API_KEY": "sk-0123456789"})

    assert compiled.warnings == ()
    assert set(tomllib.loads(example)["providers"]) == {spec.name for spec in compiled.providers}


CURLS = [
    (str(page.relative_to(ROOT)), command)
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    for block in [*blocks(page.read_text(), "sh"), *blocks(page.read_text(), "")]
    for command in re.findall(r"^ *(curl [^']+(?:'[^']*'[^']+)*'\{[^']+\}')$", block, re.MULTILINE | re.DOTALL)
]
"""The page and the command of every example that asks by curl."""


def ask(command: str, url: str) -> tuple[int, bytes]:
    """What a curl command that posts would be answered."""
    words = shlex.split(command.replace("\\\n", " ").replace(URL, url))
    (target,) = (word for word in words if word.startswith("http://"))
    request = urllib.request.Request(target, words[words.index("-d") + 1].encode())
    for option, value in itertools.pairwise(words):
        if option == "-H":
            request.add_header(*value.split(": ", 1))
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def test_the_examples_with_curl_are_answered() -> None:
    """Each is answered by `make run` as its page says: with 200, or with the very error that stands beneath it."""
    shown = {page: blocks((ROOT / page).read_text(), "json") for page, _ in CURLS}

    with gateway() as url:
        answers = [(page, *ask(command, url)) for page, command in CURLS]

    assert len(answers) >= 8
    assert [
        (page, status, body)
        for page, status, body in answers
        if status != 200 and f"{body.decode()}\n" not in shown[page]
    ] == []
