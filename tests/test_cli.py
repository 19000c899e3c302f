"""The command line, as somebody at a terminal or a script meets it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import arbstr
from arbstr.cli.commands import arbstr as group
from tests.config.written import ALPHA, BETA

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
COMMANDS = (
    "check",
    "db",
    "explain",
    "init",
    "keys",
    "logs",
    "models",
    "prices",
    "providers",
    "replay",
    "serve",
    "stats",
)
ON_THEIR_OWN = ("check", "models", "providers")
"""Commands that need no more words, and end by themselves."""
PATIENCE = 20.0
"""Seconds after which a process that says nothing has failed."""

_DEFAULT = "[models.default]\nprimary = { provider = 'alpha', model = 'gpt-4o' }\n"


def run(folder: Path, *words: str, **environ: str) -> Result:
    """The command in this process, in ``folder`` and with nothing of ours in the environment."""
    ours = {name: None for name in os.environ if name.startswith("ARBSTR_")}
    home: dict[str, str | None] = {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": None}
    # No gateway can be listening on port 0, whatever else runs on this machine.
    quiet = {"ARBSTR_SERVER__LISTEN": "127.0.0.1:0"}
    with contextlib.chdir(folder):
        return CliRunner().invoke(group, words, prog_name="arbstr", env=ours | home | quiet | environ)


def written(folder: Path, text: str = ALPHA, name: str = "arbstr.toml") -> Path:
    """A configuration file that only its owner can read."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


# What all commands share.


def test_python_m_arbstr_is_the_same_command() -> None:
    """Both ways to call it print the same."""
    by_module = subprocess.run(
        [sys.executable, "-m", "arbstr", "--version"], capture_output=True, text=True, check=True
    )
    by_script = subprocess.run(
        [str(Path(sys.executable).with_name("arbstr")), "--version"], capture_output=True, text=True, check=True
    )

    assert by_module.stdout == by_script.stdout == f"arbstr {arbstr.__version__}\n"


def test_help_lists_every_command(tmp_path: Path) -> None:
    """A newcomer finds all of them in one place."""
    result = run(tmp_path, "--help")

    assert result.exit_code == 0
    assert tuple(re.findall(r"^  (\w+)  ", result.stdout, re.MULTILINE)) == COMMANDS


def test_help_loads_nothing_slow() -> None:
    """Asking for help does not wait for the server, the loop or the terminal library."""
    slow = {"asyncio", "uvloop", "uvicorn", "rich", "structlog", "sqlite3", "prometheus_client"}
    program = (
        "import sys, atexit; atexit.register(lambda: print(*sys.modules)); from arbstr.cli import main; main(['-h'])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert slow.isdisjoint(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", ON_THEIR_OWN)
def test_shared_options_stand_before_or_after_the_command(tmp_path: Path, command: str) -> None:
    """``--config`` and ``--json`` mean the same wherever they are written."""
    written(tmp_path, name="mine.toml")

    after = run(tmp_path, command, "--config", "mine.toml", "--json")
    before = run(tmp_path, "--json", "--config", "mine.toml", command)

    assert after.exit_code == before.exit_code == 0
    assert json.loads(after.stdout) == json.loads(before.stdout)


def test_the_last_of_two_configurations_counts(tmp_path: Path) -> None:
    """What stands nearest to the end of the line wins, as everywhere."""
    written(tmp_path, name="one.toml")
    written(tmp_path, BETA, name="two.toml")

    result = run(tmp_path, "--config", "one.toml", "providers", "--config", "two.toml")

    assert "beta" in result.stdout
    assert "alpha" not in result.stdout


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["chek"], 'There is no command "chek". Did you mean "check"?'),
        (["provider"], 'There is no command "provider". Did you mean "providers"?'),
        (
            ["frobnicate"],
            "There are check, db, explain, init, keys, logs, models, prices, providers, replay, serve, stats.",
        ),
        (["check", "--jsn"], "No such option"),
        (["check", "extra"], "unexpected extra argument"),
        (["check", "--config"], "requires an argument"),
        (["serve", "--listen", "8080"], 'is not an address, expected HOST:PORT such as "127.0.0.1:8080"'),
        (["serve", "--log-level", "loud"], "'loud' is not one of"),
        (["serve", "--mock", "--config", "x.toml"], "--mock needs no configuration"),
        (["init", "a.toml", "--config", "b.toml"], "PATH and --config name two files"),
        (["init", "arbstr.yaml"], "does not end in .toml"),
    ],
)
def test_a_line_that_makes_no_sense_is_2(tmp_path: Path, words: list[str], hint: str) -> None:
    """It says what was not understood, to programs as JSON too, and does nothing."""
    result = run(tmp_path, *words)
    as_json = run(tmp_path, "--json", *words)

    (problem,) = json.loads(as_json.stdout)["problems"]
    assert result.exit_code == as_json.exit_code == 2
    assert hint in " ".join(result.stderr.split())
    assert as_json.stderr == result.stderr
    assert result.stdout == ""
    assert (problem["file"], problem["path"]) == ("arbstr", "")
    assert hint in problem["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["serve", "check", "providers", "models"])
def test_without_a_configuration_the_ways_out_are_named(tmp_path: Path, command: str) -> None:
    """The line names ``arbstr init`` and ``--mock``."""
    result = run(tmp_path, command)

    assert result.exit_code == 78
    assert result.stdout == ""
    assert "`arbstr init` writes one, `arbstr serve --mock` needs none" in result.stderr


@pytest.mark.parametrize("command", ["serve", "check", "providers", "models"])
def test_bad_configuration_is_78_with_a_line_for_each_problem(tmp_path: Path, command: str) -> None:
    """Every command that reads it says the same."""
    written(tmp_path, ALPHA + "api_key = '${NOWHERE}'\nmodles = 1")

    result = run(tmp_path, command)

    assert result.exit_code == 78
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "arbstr.toml: providers.alpha.api_key: ${NOWHERE} is not set, expected an environment variable NOWHERE",
        'arbstr.toml: providers.alpha.modles: is not a known key; did you mean "models"?',
    ]


@pytest.mark.parametrize("command", ["serve", "check", "providers", "models"])
def test_bad_configuration_is_json_for_programs(tmp_path: Path, command: str) -> None:
    """With ``--json`` stdout holds the problems, and stderr still has the lines."""
    written(tmp_path, "typo = 1")

    result = run(tmp_path, command, "--json")

    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["file"], problem["path"]) == ("arbstr.toml", "typo")
    assert problem["message"].startswith("is not a known key, expected one of server, ")
    assert result.stderr.startswith("arbstr.toml: typo: is not a known key")


@pytest.mark.parametrize("command", ["check", "providers", "models"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_command_shows_a_key(tmp_path: Path, command: str, form: list[str]) -> None:
    """At most its first six characters, wherever it came from."""
    text = f"{ALPHA}api_key = 'sk-canary-literal'\n{BETA}[server]\nadmin_key = 'canary-admin-key'"
    written(tmp_path, text)

    result = run(tmp_path, command, *form, ARBSTR_BETA_API_KEY="sk-canary-variable")

    assert result.exit_code == 0
    assert "canary" not in result.output.replace("sk-can***", "")


# Where nobody reads.


def finished(
    folder: Path, line: str, *, keep: int = 2, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What became of a line of the shell in which ``arbstr`` is the command; it has the descriptor ``keep`` too."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ARBSTR_", "PYTHONUNBUFFERED"))}
    script = f'arbstr() {{ {shlex.quote(sys.executable)} -m arbstr "$@"; }}; {line}'
    clean |= {"ARBSTR_SERVER__LISTEN": "127.0.0.1:0", **(environ or {})}
    command = ["bash", "-c", script]
    return subprocess.run(command, cwd=folder, env=clean, pass_fds=[keep], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("line", ["check", "check --json", "providers", "--help", "chek --json"])
@pytest.mark.parametrize("environ", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_an_answer_that_cannot_be_written_is_one_line(tmp_path: Path, line: str, environ: dict[str, str]) -> None:
    """A full disk behind stdout is no traceback: one line says what is wrong, and the exit code is 1."""
    written(tmp_path)

    done = finished(tmp_path, f"arbstr {line} > /dev/full", environ=environ)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "arbstr: stdout cannot be written: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("line", ["check", "check --json", "models", "--help"])
@pytest.mark.parametrize("environ", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_who_closes_the_pipe_has_read_enough(tmp_path: Path, line: str, environ: dict[str, str]) -> None:
    """As after ``| head -1``: the exit code is 1, and nothing is said."""
    written(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)

    done = finished(tmp_path, f"arbstr {line} >&{writing}", keep=writing, environ=environ)

    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("line", ["check", "providers", "models --json", "--version"])
def test_without_stdout_and_stderr_the_exit_code_says_it(tmp_path: Path, line: str) -> None:
    """Who wants to know no more than that has closed them."""
    written(tmp_path)

    fine = finished(tmp_path, f"arbstr {line} >&-")
    wrong = finished(tmp_path, "arbstr check --config nowhere.toml >&- 2>&-")
    full = finished(tmp_path, "arbstr check --config nowhere.toml 2> /dev/full; arbstr chek 2> /dev/full")

    assert (fine.returncode, fine.stderr) == (0, "")
    assert wrong.returncode == 78
    assert full.returncode == 2


# init


def test_init_writes_a_configuration_that_check_accepts(tmp_path: Path) -> None:
    """From nothing to a sound configuration in two commands."""
    first = run(tmp_path, "init")
    second = run(tmp_path, "check")

    assert first.exit_code == second.exit_code == 0
    assert (tmp_path / "arbstr.toml").stat().st_mode & 0o777 == 0o600
    assert second.stdout.splitlines()[-1] == "arbstr.toml: ok"


@pytest.mark.parametrize(
    "words", [["init", "mine.toml"], ["init", "--config", "mine.toml"], ["--config", "mine.toml", "init"]]
)
def test_init_writes_where_it_is_told_to(tmp_path: Path, words: list[str]) -> None:
    """By argument or by option; the command to go on with names the file."""
    result = run(tmp_path, *words)

    assert (tmp_path / "mine.toml").exists()
    assert "arbstr check --config mine.toml && arbstr serve --config mine.toml" in result.stdout


def test_init_answers_programs(tmp_path: Path) -> None:
    """With ``--json``, what was written and how."""
    result = run(tmp_path, "init", "--json")

    assert json.loads(result.stdout) == {"path": "arbstr.toml", "mode": "0600"}


@pytest.mark.parametrize(
    ("name", "wrong"), [("arbstr.toml", "is there already"), ("no/arbstr.toml", "No such file or directory")]
)
def test_init_never_overwrites_and_says_why_it_failed(tmp_path: Path, name: str, wrong: str) -> None:
    """Failing is 1 and one line, to programs as JSON too."""
    written(tmp_path, "mine = true")

    result = run(tmp_path, "init", name)
    as_json = run(tmp_path, "init", name, "--json")

    (problem,) = json.loads(as_json.stdout)["problems"]
    assert result.exit_code == as_json.exit_code == 1
    assert wrong in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert (problem["file"], problem["path"]) == (name, "")
    assert wrong in problem["message"]
    assert (tmp_path / "arbstr.toml").read_text() == "mine = true"


def test_init_leaves_nothing_half_written(tmp_path: Path) -> None:
    """Where the disk is full, there is no file afterwards that looks like a configuration."""
    command = f"ulimit -f 0; exec {shlex.quote(sys.executable)} -m arbstr init"

    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "Error: arbstr.toml cannot be written: File too large.\n"
    assert list(tmp_path.iterdir()) == []


# check


def test_check_reports_where_keys_come_from_and_warns(tmp_path: Path) -> None:
    """Loose modes, literal keys and missing ones are told; none of them is a failure."""
    path = written(
        tmp_path, f"{ALPHA}api_key = 'sk-0123456789'\n{BETA}{BETA.replace('beta', 'gamma')}api_key = '${{G}}'"
    )
    path.chmod(0o644)

    result = run(tmp_path, "check", G="sk-gamma-0123")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "warning: arbstr.toml: its mode 0644 is looser than 0600: chmod 600 arbstr.toml",
        "warning: arbstr.toml: providers.alpha.api_key: stands in the file, better a variable: "
        '"${ARBSTR_ALPHA_API_KEY}", or no line at all',
        "warning: arbstr.toml: providers.beta.api_key: none is set (ARBSTR_BETA_API_KEY is not either), "
        "so it is called without a key",
        "provider  key from  key",
        "alpha     literal   sk-012***",
        "beta      none      –",
        "gamma     ${G}      sk-gam***",
        "arbstr.toml: ok",
    ]


def test_check_answers_programs(tmp_path: Path) -> None:
    """The same, as JSON."""
    written(tmp_path)

    result = run(tmp_path, "check", "--json", ARBSTR_ALPHA_API_KEY="sk-0123456789")

    assert json.loads(result.stdout) == {
        "ok": True,
        "file": "arbstr.toml",
        "providers": [{"name": "alpha", "api_key": "sk-012***", "key_source": "ARBSTR_ALPHA_API_KEY"}],
        "warnings": [],
    }


def check_exposed(folder: Path, *words: str, **environ: str) -> Result:
    """``check`` of a gateway that others can reach, if nothing else is said."""
    return run(folder, "check", *words, **{"ARBSTR_SERVER__LISTEN": "0.0.0.0:8080"} | environ)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_check_says_that_no_keys_protect_a_gateway(tmp_path: Path, words: list[str]) -> None:
    """What serve would refuse to start with is bad configuration, and nothing is made to find out."""
    written(tmp_path)

    result = check_exposed(tmp_path, *words)

    (line,) = result.stderr.splitlines()
    assert result.exit_code == 78
    assert line.startswith("ARBSTR_SERVER__LISTEN: server.listen: can be reached from other machines, and no keys")
    assert [json.loads(result.stdout)["problems"][0]["path"]] == ["server.listen"] if words else result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["arbstr.toml"]


@pytest.mark.parametrize("standing", ["valid", "revoked"])
def test_with_a_key_a_gateway_may_be_reached(tmp_path: Path, standing: str) -> None:
    """A revoked one protects it as well: with it, everybody is refused."""
    written(tmp_path)
    run(tmp_path, "keys", "create", "team-a")
    if standing == "revoked":
        run(tmp_path, "keys", "revoke", "team-a")

    result = check_exposed(tmp_path)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "arbstr.toml: ok"


@pytest.mark.parametrize("setting", ["ARBSTR_AUTH__REQUIRED", "ARBSTR_SERVER__ALLOW_UNAUTHENTICATED"])
def test_without_a_key_it_needs_a_setting(tmp_path: Path, setting: str) -> None:
    """Everybody is refused, or nobody is: whichever was asked for."""
    written(tmp_path)

    assert check_exposed(tmp_path, **{setting: "true"}).exit_code == 0


def test_keys_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    """A file that is no database is neither a yes nor a no."""
    written(tmp_path)
    (tmp_path / "arbstr.db").write_bytes(b"no database" * 100)

    result = check_exposed(tmp_path)

    (line,) = result.stderr.splitlines()
    assert result.exit_code == 1
    assert line.startswith(f"Error: {tmp_path}/arbstr.db: ")


# providers and models


def test_providers_are_a_table(tmp_path: Path) -> None:
    """Rates are a range where a provider's models differ, and a dash where it has none."""
    text = f"""
    {ALPHA}
    base_fee = 0.25
    {BETA.replace('["gpt-4o"]', '["a", { name = "b", input_rate = 0.000000001, output_rate = 1_000_000 }]')}
    {BETA.replace("beta", "idle").replace("models", "#")}
    """
    written(tmp_path, text)

    result = run(tmp_path, "providers")

    heading, *rows = [line.split() for line in result.stdout.splitlines()]
    assert heading == [
        "provider",
        "kind",
        "base",
        "url",
        "key",
        "tier",
        "input/1k",
        "output/1k",
        "per",
        "request",
        "models",
    ]
    assert rows == [
        ["alpha", "openai", "https://alpha.example/v1", "–", "standard", "10", "30", "0.25", "1"],
        ["beta", "openai", "https://beta.example/v1", "–", "standard", "0.000000001–10", "30–1000000", "0", "2"],
        ["idle", "openai", "https://idle.example/v1", "–", "standard", "–", "–", "–", "0"],
    ]


def test_models_are_a_table_of_who_may_serve_them(tmp_path: Path) -> None:
    """A row for each candidate; the default route is last."""
    route = "[models.assistant]\nprimary = { provider = 'beta', model = 'b' }\nfallbacks = [{ provider = 'alpha' }]\n"
    written(tmp_path, ALPHA + BETA + route + _DEFAULT)

    result = run(tmp_path, "models")

    assert [line.split()[:-3] for line in result.stdout.splitlines()[1:]] == [
        ["assistant", "priority", "beta", "b"],
        ["assistant", "priority", "alpha", "assistant"],
        ["gpt-4o", "cheapest", "alpha", "gpt-4o"],
        ["gpt-4o", "cheapest", "beta", "gpt-4o"],
        ["(any", "other)", "priority", "alpha", "gpt-4o"],
    ]


def test_candidates_are_listed_in_the_order_in_which_they_are_tried(tmp_path: Path) -> None:
    """By price the cheapest first and equals by name, whatever the file's order; by priority as it is written."""
    names = ("dear", "zeta", "alpha", "fee")
    text = "".join(ALPHA.replace("alpha", name) for name in names).replace("input_rate = 10", "input_rate = 11", 1)
    endpoints = ", ".join(f"{{ provider = '{name}', model = 'gpt-4o' }}" for name in names)
    written(tmp_path, f"{text}base_fee = 0.5\n[models.fixed]\nstrategy = 'priority'\nendpoints = [{endpoints}]")

    rows = [line.split()[:3] for line in run(tmp_path, "models").stdout.splitlines()[1:]]
    as_json = json.loads(run(tmp_path, "models", "--json").stdout)["data"]

    assert rows[:4] == [["fixed", "priority", name] for name in names]
    assert rows[4:] == [["gpt-4o", "cheapest", name] for name in ("alpha", "zeta", "fee", "dear")]
    assert [[each["provider"] for each in model["candidates"]] for model in as_json] == [
        ["dear", "zeta", "alpha", "fee"],
        ["alpha", "zeta", "fee", "dear"],
    ]


def test_tables_are_json_for_programs(tmp_path: Path) -> None:
    """The same facts with numbers as numbers; a circuit is null where no gateway runs."""
    priced = {
        "input_rate": 10.0,
        "output_rate": 30.0,
        "base_fee": 0.0,
        "rates": {
            "currency": "sats",
            "per": 1000,
            "input": 10.0,
            "output": 30.0,
            "base_fee": 0.0,
            "tiers": [],
            "source": "config",
        },
    }
    written(tmp_path)

    (provider,) = json.loads(run(tmp_path, "providers", "--json").stdout)["data"]
    (model,) = json.loads(run(tmp_path, "models", "--json").stdout)["data"]

    assert provider == {
        "name": "alpha",
        "kind": "openai",
        "base_url": "https://alpha.example/v1",
        "tier": "standard",
        "api_key": None,
        "key_source": "none",
        "circuit": None,
        "models": [{"model": "gpt-4o", **priced, "context_window": None}],
    }
    assert (model["id"], model["strategy"]) == ("gpt-4o", "cheapest")
    assert model["candidates"] == [
        {
            "provider": "alpha",
            "model": "gpt-4o",
            **priced,
            "circuit": None,
        }
    ]


def test_dollars_are_shown_as_they_are_written(tmp_path: Path) -> None:
    """Per million as ``$2.5/M``, beside satoshis per thousand; in JSON also in satoshis where a dollar has a worth."""
    dollars = "[providers.usd]\nurl = 'https://usd.example/v1'\nmodels = ['gpt-4o']\n"
    dollars += "rates = { input = 2.5, output = 10, cached_input = 1.25, base_fee = 0.001 }\n"
    written(tmp_path, f"{ALPHA}{dollars}[pricing.exchange]\nsats_per_usd = 2_000")

    rows = [line.split() for line in run(tmp_path, "models").stdout.splitlines()[1:]]
    entry = json.loads(run(tmp_path, "models", "--json").stdout)["data"][0]["candidates"][0]

    assert [row[2:] for row in rows] == [
        ["usd", "gpt-4o", "$2.5/M", "$10/M", "$0.001"],
        ["alpha", "gpt-4o", "10", "30", "0"],
    ]
    assert entry["provider"] == "usd"
    assert entry["rates"]["cached_input"] == 1.25
    assert (entry["rates"]["currency"], entry["rates"]["per"]) == ("usd", 1_000_000)


def test_who_has_no_price_is_shown_with_a_dash(tmp_path: Path) -> None:
    """Unknown is not free, in the table and as JSON; it is tried last where price decides."""
    written(tmp_path, f"[providers.new]\nurl = 'https://new.example/v1'\nmodels = ['gpt-4o']\n{ALPHA}")

    rows = [line.split()[2:] for line in run(tmp_path, "models").stdout.splitlines()[1:]]
    entry = json.loads(run(tmp_path, "models", "--json").stdout)["data"][0]["candidates"][1]

    assert rows == [["alpha", "gpt-4o", "10", "30", "0"], ["new", "gpt-4o", "–", "–", "–"]]
    assert (entry["provider"], entry["input_rate"], entry["rates"]) == ("new", None, None)


@contextlib.contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """Something that answers every request on the yielded ``HOST:PORT`` with ``body``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep stderr for failures."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_circuits_are_shown_when_the_gateway_runs(tmp_path: Path) -> None:
    """What a running gateway says of its circuits is a last column; of a provider it does not know, a dash."""
    written(tmp_path, ALPHA + BETA)
    circuit = {"state": "half_open", "failure_count": 3}
    body = json.dumps({"data": [{"name": "alpha", "circuit": circuit}]}).encode()

    with answering(body) as address:
        table = run(tmp_path, "providers", ARBSTR_SERVER__LISTEN=address)
        models = run(tmp_path, "models", ARBSTR_SERVER__LISTEN=address)
        as_json = run(tmp_path, "providers", "--json", ARBSTR_SERVER__LISTEN=address)

    assert [line.split()[-1] for line in table.stdout.splitlines()] == ["circuit", "half_open", "–"]
    assert [line.split()[-1] for line in models.stdout.splitlines()] == ["circuit", "half_open", "–"]
    assert [each["circuit"] for each in json.loads(as_json.stdout)["data"]] == [circuit, None]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 500),
        (b"<html>", 200),
        (b"[]", 200),
        (b'{"data": [{"name": "alpha"}]}', 200),
        (b'{"data": [{"name": "alpha", "circuit": null}]}', 200),
        (b'{"data": [{"name": "other", "circuit": {"state": "open"}}]}', 200),
        (b"[" * 100_000, 200),
        (b"\xff", 200),
    ],
)
def test_whatever_else_listens_there_is_no_gateway(tmp_path: Path, body: bytes, status: int) -> None:
    """Another program on the address, or another gateway, changes nothing."""
    written(tmp_path)

    with answering(body, status) as address:
        result = run(tmp_path, "providers", ARBSTR_SERVER__LISTEN=address)

    assert result.exit_code == 0
    assert "circuit" not in result.stdout


def test_a_table_on_a_terminal_holds_the_same(tmp_path: Path) -> None:
    """On a terminal it is drawn, with nothing in a name taken for markup."""
    written(tmp_path, ALPHA.replace('"gpt-4o"', '"[bold]gpt[/bold]"'))

    shown = on_terminal(tmp_path, "models", width=160)

    assert "[bold]gpt[/bold]" in shown
    assert "upstream model" in shown
    assert "─" in shown


@pytest.mark.parametrize(("width", "beneath"), [(80, "    base url: {url}"), (200, "")])
def test_a_table_fits_the_terminal_and_breaks_no_word(tmp_path: Path, width: int, beneath: str) -> None:
    """What there is no room for stands beneath its row, and a long URL is in one piece."""
    url = "https://a-rather-long-name.europe-west.example/api/v1"
    written(tmp_path, ALPHA.replace("https://alpha.example/v1", url) + "api_key = '${K}'\ntier = 'frontier'")

    lines = on_terminal(tmp_path, "providers", width=width, K="sk-0123456789").splitlines()

    assert max(map(len, lines)) <= width
    assert any(url in line for line in lines)
    assert [line for line in lines if line.startswith("    ")] == [beneath.format(url=url)] * bool(beneath)


def on_terminal(folder: Path, command: str, *, width: int, **environ: str) -> str:
    """What a command shows on a terminal, without its colours."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ARBSTR_")}
    clean |= {"COLUMNS": str(width), "TERM": "xterm", "ARBSTR_SERVER__LISTEN": "127.0.0.1:0"}
    words = [sys.executable, "-m", "arbstr", command]
    with subprocess.Popen(words, cwd=folder, stdout=theirs, env=clean | environ) as process:
        os.close(theirs)
        shown = _read_all(ours)
        assert process.wait(PATIENCE) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def _read_all(terminal: int) -> str:
    """What was written to the other side of a terminal until it was closed."""
    chunks = []
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], PATIENCE)[0] and (chunk := os.read(terminal, 65_536)):
            chunks.append(chunk)
    os.close(terminal)
    return b"".join(chunks).decode()


# serve


@contextlib.contextmanager
def serving(folder: Path, *words: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A gateway process, told to stop at the end if it still runs."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ARBSTR_")}
    command = [sys.executable, "-m", "arbstr", "serve", *words]
    with subprocess.Popen(
        command, cwd=folder, env=clean | environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    """Its first line on stdout, within a bounded time."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], PATIENCE)[0], "nothing was said"
    return process.stdout.readline()


def test_serve_mock_needs_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    """No file, no network: it answers, ends with 0 on SIGTERM and removes its temporary folder."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()

    with serving(tmp_path, "--mock", "--listen", "127.0.0.1:0", TMPDIR=str(temporary)) as process:
        url = json.loads(first_line(process))["url"]
        with urllib.request.urlopen(f"{url}/v1/providers", timeout=PATIENCE) as answer:
            providers = json.load(answer)["data"]
        during = list(temporary.iterdir())
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert [each["kind"] for each in providers] == ["mock"] * 3
    assert len(during) == 1
    assert list(temporary.iterdir()) == []
    assert f"curl -i {url}/v1/chat/completions" in told


def test_serve_takes_its_settings_from_flags_before_the_file(tmp_path: Path) -> None:
    """``--listen``, ``--log-level`` and ``--json`` override the file; the file's warnings are on stderr."""
    written(tmp_path, f"{ALPHA}[server]\nlisten = '192.0.2.1:80'\n[logging]\nformat = 'text'\nlevel = 'error'")
    (tmp_path / "logs").mkdir()

    words = ["--listen", "127.0.0.1:0", "--log-level", "info", "--json"]
    with serving(tmp_path, *words, ARBSTR_STORE__URL="sqlite:///logs/a.db") as process:
        url = json.loads(first_line(process))["url"]
        with urllib.request.urlopen(f"{url}/livez", timeout=PATIENCE) as answer:
            status = answer.status
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE)

    assert (status, process.returncode) == (200, 0)
    assert (tmp_path / "logs" / "a.db").exists()
    assert told.startswith("warning: arbstr.toml: providers.alpha.api_key: none is set")


def test_serve_beyond_loopback_is_refused_without_a_yes(tmp_path: Path) -> None:
    """The flag is told as the origin, and nothing was opened."""
    written(tmp_path)

    result = run(tmp_path, "serve", "--listen", "0.0.0.0:0")

    assert result.exit_code == 78
    assert result.stderr.startswith(
        "--listen: server.listen: can be reached from other machines, and no keys protect it"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["arbstr.toml"]


def test_serve_on_an_address_that_is_taken_is_1(tmp_path: Path) -> None:
    """A clear line, no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(tmp_path, "--mock", "--listen", address) as process:
            _, told = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert address in told or str(taken) in told
    assert "Traceback" not in told


# docs/reference/cli.md


def test_every_command_and_option_is_on_its_page() -> None:
    """What can be typed can be looked up."""
    page = PAGE.read_text()
    options = {
        option
        for command in group.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }

    assert [name for name in group.commands if f"## arbstr {name}\n" not in page] == []
    assert [option for option in sorted(options) if f"`{option}" not in page] == []


def test_what_the_page_shows_is_what_is_printed(tmp_path: Path) -> None:
    """Its examples, typed one after another in an empty folder, print what it says."""
    shown = re.findall(r"```console\n\$ (.*?)\n(.*?)```", PAGE.read_text(), re.DOTALL)

    printed = [(line, _typed(tmp_path, line)) for line, _ in shown]

    assert len(shown) == 6
    assert printed == shown


def _typed(folder: Path, line: str) -> str:
    """What a line with leading assignments prints."""
    words = shlex.split(line)
    environ: Mapping[str, str] = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    return run(folder, *words[len(environ) + 1 :], **environ).output
