"""``arbstr keys``, as an operator and his scripts meet it."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from arbstr.cli.keys import keys as group
from tests.config.written import ALPHA
from tests.test_cli import PAGE, finished, run, written

POLICIES = "[[policies.rules]]\nname = 'frugal'\n"
SECRET = re.compile(r"sk-arbstr-[A-Za-z0-9_-]{43}\n")
FIRST = "This is the first key: from now on every request to /v1 needs one."
EVERY = [
    *(
        "--models",
        "gpt-*,o3",
        "--policy",
        "frugal",
        "--budget-hour",
        "10",
        "--budget-day",
        "20",
        "--budget-month",
        "30",
    ),
    *("--budget-total", "40.5", "--budget-currency", "usd", "--rpm", "5", "--tpm", "1000", "--max-parallel", "2"),
    *("--expires", "2099-01-31T00:00:00Z"),
]


def keys(folder: Path, *words: str) -> Result:
    """``arbstr keys`` with these words, in a folder with a configuration."""
    if not (folder / "arbstr.toml").exists():
        written(folder, ALPHA + POLICIES)
    return run(folder, "keys", *words)


def made(folder: Path, name: str, *words: str) -> dict[str, Any]:
    """A new key as JSON."""
    result = keys(folder, "create", name, *words, "--json")
    assert result.exit_code == 0, result.output
    entry: dict[str, Any] = json.loads(result.stdout)
    return entry


def shown(folder: Path, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(keys(folder, "show", name, "--json").stdout)
    return entry


def told(result: Result) -> str:
    """The last line of stderr, where it says what is wrong."""
    return result.stderr.splitlines()[-1]


# create


def test_create_prints_the_secret_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    """For scripts; what it is, and that it is shown this once, stands on stderr."""
    first = keys(tmp_path, "create", "team-a")
    second = keys(tmp_path, "create", "team-b")

    entry = shown(tmp_path, "team-b")
    assert first.exit_code == second.exit_code == 0
    assert SECRET.fullmatch(first.stdout)
    assert SECRET.fullmatch(second.stdout)
    assert first.stderr.splitlines()[0] == FIRST
    assert second.stderr == f"The secret of the key team-b ({entry['id']}), which is shown only this once:\n"


def test_create_answers_programs(tmp_path: Path) -> None:
    """With the key as ``show`` has it, and the secret beside it."""
    result = keys(tmp_path, "create", "team-a", *EVERY, "--json")

    entry = json.loads(result.stdout)
    assert result.stderr == ""
    assert SECRET.fullmatch(entry.pop("key") + "\n")
    assert entry == shown(tmp_path, "team-a")
    assert re.fullmatch(r"key_[0-9a-f]{16}", entry.pop("id"))
    assert re.fullmatch(r"20\d\d-.*Z", entry.pop("created_at"))
    assert entry == {
        "name": "team-a",
        "standing": "active",
        "models": ["gpt-*", "o3"],
        "policy": "frugal",
        "budget_currency": "usd",
        "budget_hour": 10.0,
        "budget_day": 20.0,
        "budget_month": 30.0,
        "budget_total": 40.5,
        "rpm": 5,
        "tpm": 1000,
        "max_parallel": 2,
        "expires_at": "2099-01-31T00:00:00.000000Z",
        "revoked_at": None,
        "previous_until": None,
    }


def test_the_secret_is_nowhere_but_in_its_own_answer(tmp_path: Path) -> None:
    """Not in the database or beside it, not in what other commands say; nor is its hash in what they say."""
    first = made(tmp_path, "team-a")["key"]
    second = keys(tmp_path, "rotate", "team-a", "--grace", "1h").stdout.strip()

    words = (["list"], ["show", "team-a"], ["update", "team-a", "--rpm", "5"], ["create", "team-a"], ["revoke", "a"])
    answers = "".join(keys(tmp_path, *line, *form).output for line in words for form in ([], ["--json"]))
    written_down = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (first, second):
        hashed = hashlib.sha256(secret.encode())
        assert hashed.digest() in written_down
        assert secret.removeprefix("sk-arbstr-").encode() not in written_down
        assert secret.removeprefix("sk-arbstr-") not in answers
        assert hashed.hexdigest() not in answers.lower()


@pytest.mark.parametrize(("config", "currency"), [("", "sats"), ("[budget]\ncurrency = 'usd'\n", "usd")])
def test_budgets_are_in_the_configured_currency_if_nothing_else_is_said(
    tmp_path: Path, config: str, currency: str
) -> None:
    """For create and for the first budget that update sets."""
    written(tmp_path, ALPHA + config)

    made(tmp_path, "team-a", "--budget-day", "5")
    made(tmp_path, "team-b")
    keys(tmp_path, "update", "team-b", "--budget-day", "5")

    assert [shown(tmp_path, name)["budget_currency"] for name in ("team-a", "team-b")] == [currency] * 2


def test_create_makes_the_database_for_its_owner_alone(tmp_path: Path) -> None:
    """Where no server has made it yet."""
    made(tmp_path, "team-a")

    assert (tmp_path / "arbstr.db").stat().st_mode & 0o777 == 0o600


def test_of_those_who_create_the_same_name_at_once_one_wins(tmp_path: Path) -> None:
    """Four processes, and no database yet: one has the secret, the others a line and 1."""
    written(tmp_path)
    command = [sys.executable, "-m", "arbstr", "keys", "create", "team-a"]

    racers = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outcomes = [(racer.communicate(timeout=60), racer.returncode) for racer in racers]

    won = [output for (output, _), code in outcomes if code == 0]
    lost = {(output, error, code) for (output, error), code in outcomes if code != 0}
    assert len(won) == 1
    assert SECRET.fullmatch(won[0])
    assert lost == {("", "Error: There is a key with the name 'team-a' already.\n", 1)}
    assert len(json.loads(keys(tmp_path, "list", "--json").stdout)["data"]) == 1


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["team/a"], "NAME: cannot be written in a URL or on a command line, expected 1 to 100 printable"),
        (["sk-arbstr-x"], "NAME: begins like a secret (sk-) or an id (key_), expected"),
        (["a", "--models", ""], '--models: "" is not the name of a model, expected names or patterns such as'),
        (["a", "--policy", "slow"], '--policy: "slow" is not a policy, expected one of frugal'),
        (["a", "--budget-hour", "-5"], "--budget-hour: -5 is out of range, expected from 0 to 1000000000"),
        (["a", "--budget-total", "much"], "--budget-total: is not a number, expected an amount such as"),
        (["a", "--budget-currency", "usd"], "There is no budget that the currency could be of, expected one of"),
        (["a", "--rpm", "0"], "--rpm: 0 is out of range, expected a whole number from 1 to"),
        (["a", "--max-parallel", "1.5"], "--max-parallel: is a string, expected a whole number from 1 to"),
        (["a", "--expires", "yesterday"], '--expires: "yesterday" is not a duration, expected a duration up to "365d"'),
        (["a", "--expires", "2020-01-01T00:00:00Z"], '--expires: "2020-01-01T00:00:00Z" has passed'),
        (["a", "b"], "unexpected extra argument"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_what_makes_no_sense_is_2_and_makes_no_key(tmp_path: Path, words: list[str], wrong: str) -> None:
    """The line names the option, and says what was expected."""
    result = keys(tmp_path, "create", *words)
    as_json = keys(tmp_path, "create", *words, "--json")

    assert result.exit_code == as_json.exit_code == 2
    assert result.stdout == ""
    assert wrong in told(result)
    assert wrong in json.loads(as_json.stdout)["problems"][0]["message"]
    assert json.loads(keys(tmp_path, "list", "--json").stdout)["data"] == []


# list and show


def test_list_shows_what_each_key_may_do(tmp_path: Path) -> None:
    """A row for each, the oldest first, those that are no longer good too."""
    made(tmp_path, "team-a", *EVERY)
    made(tmp_path, "team-b")
    keys(tmp_path, "revoke", "team-b")

    heading, first, second = keys(tmp_path, "list").stdout.splitlines()

    names = ["name", "id", "standing", "models", "policy", "budget", "limits", "created", "expires"]
    assert heading.split() == names
    budget = "10 usd an hour, 20 usd a day, 30 usd a month, 40.5 usd in all"
    middle = f"  active    gpt-*, o3  frugal  {budget}  5 rpm, 1000 tpm, 2 at a time  20"
    assert middle in first
    assert first.startswith("team-a  key_")
    assert first.endswith("  2099-01-31 00:00:00Z")
    assert re.match(r"team-b  key_\w+  revoked   all        –       –  ", second)
    assert second.endswith("  never")


def test_list_answers_programs(tmp_path: Path) -> None:
    """As ``/admin/keys`` does."""
    made(tmp_path, "team-a")
    made(tmp_path, "team-b")

    answer = json.loads(keys(tmp_path, "list", "--json").stdout)

    assert answer == {"object": "list", "data": [shown(tmp_path, "team-a"), shown(tmp_path, "team-b")]}


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "team-a"]])
def test_looking_leaves_no_database_behind(tmp_path: Path, words: list[str]) -> None:
    """Where there is none yet, there are no keys."""
    result = keys(tmp_path, *words)

    assert result.exit_code == (1 if "show" in words else 0)
    assert [path.name for path in tmp_path.iterdir()] == ["arbstr.toml"]


def test_a_key_is_named_by_name_or_id(tmp_path: Path) -> None:
    """By every command."""
    entry = made(tmp_path, "team-a")

    answers = [
        keys(tmp_path, *words, name, *more, "--json")
        for words, more in ((["show"], []), (["update"], ["--rpm", "5"]), (["rotate"], []), (["revoke"], []))
        for name in ("team-a", entry["id"])
    ]

    assert [answer.exit_code for answer in answers] == [0] * 8
    assert {json.loads(answer.stdout)["id"] for answer in answers} == {entry["id"]}


@pytest.mark.parametrize("words", [["show"], ["update", "--rpm", "5"], ["rotate"], ["revoke"]])
def test_a_key_that_does_not_exist_is_1(tmp_path: Path, words: list[str]) -> None:
    """In one line, and for programs in JSON."""
    result = keys(tmp_path, *words, "nobody")
    as_json = keys(tmp_path, *words, "nobody", "--json")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: There is no key with the name or id 'nobody'.\n"
    assert json.loads(as_json.stdout)["problems"][0]["message"] == "There is no key with the name or id 'nobody'."


# update, rotate, revoke


def test_update_changes_what_is_given(tmp_path: Path) -> None:
    """And shows the key as it is then."""
    before = made(tmp_path, "team-a", *EVERY)

    result = keys(tmp_path, "update", "team-a", "--name", "team-b", "--rpm", "7", "--budget-day", "none")

    changes = {"name": "team-b", "rpm": 7, "budget_day": None}
    assert shown(tmp_path, "team-b") == {name: value for name, value in before.items() if name != "key"} | changes
    assert "limits    7 rpm, 1000 tpm, 2 at a time" in result.stdout.splitlines()


def test_update_takes_every_restriction_away(tmp_path: Path) -> None:
    """``none``, and for models all of them, for the expiry never."""
    made(tmp_path, "team-a", *EVERY)
    none = ("policy", "budget-hour", "budget-day", "budget-month", "budget-total", "rpm", "tpm", "max-parallel")
    words = [word for option in none for word in (f"--{option}", "none")]

    keys(tmp_path, "update", "team-a", *words, "--models", "*", "--expires", "never")

    fixed = ("id", "name", "standing", "created_at")
    assert {value for name, value in shown(tmp_path, "team-a").items() if name not in fixed} == {None}


@pytest.mark.parametrize(
    ("words", "code", "wrong"),
    [
        ([], 2, "There is nothing to change: give one of the options."),
        (["--name", "team-b"], 1, "There is a key with the name 'team-b' already."),
        (["--budget-currency", "sats"], 2, "The key's budget for the hour is in usd: in another currency all of its"),
        (["--models", "none"], 2, "--models: without any model the key would be good for nothing"),
    ],
)
def test_an_update_that_makes_no_sense_changes_nothing(tmp_path: Path, words: list[str], code: int, wrong: str) -> None:
    """What the line itself shows is 2, what the keys say is 1."""
    made(tmp_path, "team-a", *EVERY)
    made(tmp_path, "team-b")
    before = shown(tmp_path, "team-a")

    result = keys(tmp_path, "update", "team-a", *words)

    assert (result.exit_code, result.stdout) == (code, "")
    assert wrong in told(result)
    assert shown(tmp_path, "team-a") == before


def test_rotate_prints_a_new_secret(tmp_path: Path) -> None:
    """As create does; the old one is good no longer, or for as long as was asked."""
    first = made(tmp_path, "team-a")["key"]
    at_once = keys(tmp_path, "rotate", "team-a")
    entry = shown(tmp_path, "team-a")
    with_grace = json.loads(keys(tmp_path, "rotate", "team-a", "--grace", "1h", "--json").stdout)

    assert SECRET.fullmatch(at_once.stdout)
    assert entry["previous_until"] is None
    assert re.match(r"20\d\d-", with_grace["previous_until"])
    assert len({first, at_once.stdout.strip(), with_grace["key"]}) == 3
    assert re.search(r"^old secret until  20\d\d-", keys(tmp_path, "show", "team-a").stdout, re.MULTILINE)


@pytest.mark.parametrize("grace", ["soon", "-1h", "60"])
def test_a_grace_is_a_duration(tmp_path: Path, grace: str) -> None:
    """Anything else is 2, and the secret stays."""
    made(tmp_path, "team-a")

    result = keys(tmp_path, "rotate", "team-a", "--grace", grace)

    assert result.exit_code == 2
    assert "expected a duration such as" in told(result)


def test_revoke_is_for_good(tmp_path: Path) -> None:
    """Once more, it says the same; what is revoked can only be looked at."""
    entry = made(tmp_path, "team-a")

    first, second = (keys(tmp_path, "revoke", "team-a") for _ in range(2))
    as_json = json.loads(keys(tmp_path, "revoke", "team-a", "--json").stdout)
    changed, rotated = keys(tmp_path, "update", "team-a", "--rpm", "5"), keys(tmp_path, "rotate", "team-a")

    assert first.exit_code == second.exit_code == 0
    assert first.stdout == second.stdout == f"The key team-a ({entry['id']}) is revoked.\n"
    assert as_json == shown(tmp_path, "team-a")
    assert as_json["standing"] == "revoked"
    for refused in (changed, rotated):
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert told(refused).endswith("is revoked, which is for good: create another.")
    assert "revoked   20" in keys(tmp_path, "show", "team-a").stdout


# What all of them share.


@pytest.mark.parametrize("command", sorted(group.commands))
def test_every_command_takes_the_shared_options_after_its_last_word(tmp_path: Path, command: str) -> None:
    """And before, and between ``keys`` and its own name."""
    written(tmp_path, name="mine.toml")
    written(tmp_path, "typo = 1")
    shared = ["--config", "mine.toml", "--json"]
    answers = []
    for name in ("one", "two", "three"):
        run(tmp_path, "keys", "create", f"old-{name}", *shared)
        words = {"list": [], "update": [f"old-{name}", "--rpm", "5"], "create": [name]}.get(command, [f"old-{name}"])
        line = {
            "one": [*shared, "keys", command, *words],
            "two": ["keys", *shared, command, *words],
            "three": ["keys", command, *words, *shared],
        }[name]

        answers.append(run(tmp_path, *line))

    assert [answer.exit_code for answer in answers] == [0, 0, 0]
    assert len({tuple(json.loads(answer.stdout)) for answer in answers}) == 1


def test_what_is_mistyped_gets_a_hint(tmp_path: Path) -> None:
    """As with every other command."""
    result = keys(tmp_path, "creat", "team-a")

    assert result.exit_code == 2
    assert told(result) == 'Error: There is no command "creat". Did you mean "create"?'


def test_keys_alone_lists_what_it_can_do(tmp_path: Path) -> None:
    """Each command with a line."""
    result = keys(tmp_path)

    assert result.exit_code == 2
    assert re.findall(r"^  (\w+)  ", result.output, re.MULTILINE) == sorted(group.commands)


@pytest.mark.parametrize("command", sorted(group.commands))
def test_bad_configuration_is_78(tmp_path: Path, command: str) -> None:
    """Whatever was to be done to which key."""
    written(tmp_path, "typo = 1")
    words = {"list": [], "update": ["team-a", "--rpm", "5"]}.get(command, ["team-a"])

    result = run(tmp_path, "keys", command, *words)

    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.startswith("arbstr.toml: typo: is not a known key")


@pytest.mark.parametrize("words", [["list"], ["create", "team-a"], ["revoke", "team-a"]])
@pytest.mark.parametrize("other_version", [0, 999], ids=["garbage", "another program's"])
def test_a_database_that_cannot_be_used_is_one_line(tmp_path: Path, words: list[str], other_version: int) -> None:
    """And 1, and no traceback; nothing is written into it."""
    path = tmp_path / "arbstr.db"
    if other_version:
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"PRAGMA user_version = {other_version}")
    else:
        path.write_bytes(b"garbage" * 1000)
    before = path.read_bytes()

    result = keys(tmp_path, *words)

    wrong = "is the SQLite database of another program" if other_version else "file is not a database"
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {path}: {wrong}\n"
    assert path.read_bytes() == before


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """By who would write into it; who looks finds no keys."""
    written(tmp_path, ALPHA + "[store]\nurl = 'sqlite:///nowhere/arbstr.db'")

    result = keys(tmp_path, "create", "team-a")

    assert (result.exit_code, result.stdout) == (1, "")
    assert told(result).endswith(f"the folder {tmp_path / 'nowhere'} does not exist")
    assert keys(tmp_path, "list").exit_code == 0


def test_a_secret_that_nobody_could_read_leaves_a_key_to_rotate(tmp_path: Path) -> None:
    """A full disk behind stdout is a line and 1, as everywhere."""
    written(tmp_path)

    done = finished(tmp_path, "arbstr keys create team-a > /dev/full")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "arbstr: stdout cannot be written: No space left on device"
    assert SECRET.fullmatch(keys(tmp_path, "rotate", "team-a").stdout)


def test_every_command_and_option_is_on_its_page() -> None:
    """Each command has a heading; its options stand beneath it, or in the table of the settings that two share."""
    page = PAGE.read_text()
    settings = page.partition("### Settings of a key")[2].partition("\n#")[0]

    missing = []
    for name, command in group.commands.items():
        _, heading, section = page.partition(f"### arbstr keys {name}\n")
        text = section.partition("\n#")[0] + (settings if name in ("create", "update") else "")
        own = [option for each in command.params for option in each.opts if option.startswith("--")]
        missing += [f"{name} {option}" for option in own if f"`{option} " not in text]
        missing += [] if heading else [name]

    assert [each for each in missing if not each.endswith(("--config", "--json"))] == []
