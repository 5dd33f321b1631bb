"""`jobq list` in other forms, and the options that say how jobq prints."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.main import get_command

from jobq.cli import app_for
from jobq.commands.words import ENDING_OPTIONS, WITH_VALUE, wants_json
from jobq.options.table import OPTIONS
from jobq.views.table import ago
from tests.conftest import Cli
from tests.helpers.terminal import Terminal


@pytest.fixture
def done(cli: Cli) -> Cli:
    cli("add", "--retries", "0", "--name", "odd", "--label", "a=b", "printf 'a\\tb' \t; exit 3")
    cli("add", "-p", "5", "sleep 0.3")
    cli("add", "--retries", "0", "kill -9 $$")
    cli("worker", "--drain", "-j", "1", code=1)
    cli("add", "--hold", "true")
    return cli


def lines(cli: Cli, *words: str) -> list[str]:
    return cli("list", *words).stdout.splitlines()


def test_the_state_of_a_failure_has_its_code(done: Cli) -> None:
    rows = {int(line.split()[0]): line for line in lines(done)[1:]}
    assert rows[1].split()[1:3] == ["failed", "3"]
    assert rows[3].split()[1:3] == ["failed", "137"]
    assert "signal 9" in rows[3]
    assert "exit 3" not in rows[1].partition("[odd")[0]


def test_columns_are_chosen(done: Cli) -> None:
    assert lines(done, "--columns", "id,exit,labels", "1") == ["ID  EXIT  LABELS", "1   3     a=b"]
    assert "there is no column 'what'" in done("list", "--columns", "id,what", code=2).stderr
    assert "names no column" in done("list", "--columns", ",", code=2).stderr


def test_jobs_are_sorted_and_only_the_first_or_the_last_are_shown(done: Cli) -> None:
    assert lines(done, "--sort", "id", "--format", "{id}") == ["1", "2", "3", "4"]
    assert lines(done, "--sort", "-time", "-n", "1", "--format", "{id}") == ["2"]
    assert lines(done, "-n", "1", "--format", "{id}") == ["4"]
    assert lines(done, "-n", "0", "--format", "{id}") == []
    assert "there is no key 'age'" in done("list", "--sort", "age", code=2).stderr
    assert "both --tree and --sort" in done("list", "--tree", "--sort", "id", code=2).stderr


def test_a_form_of_ones_own_takes_columns_and_keys(done: Cli) -> None:
    assert lines(done, "--format", "{{{id}}}\\t{state}:{exit_code} {retries}", "1") == ["{1}\tfailed:3 0"]
    assert "\t" not in lines(done, "--format", "{command}", "1")[0], "text of jobs makes no cells"
    assert lines(done, "--format", "{name}", "2") == [""]
    assert "there is no {x.y}" in done("list", "--format", "{x.y}", code=2).stderr
    assert "--format and another form" in done("list", "--format", "x", "--json", code=2).stderr


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "now"), (0.9, "now"), (40, "40 s ago"), (200, "3 m ago"), (86400, "1 d ago")]
)
def test_times_that_are_over_are_said_in_words(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_errors_are_json_where_json_is_asked_for(cli: Cli) -> None:
    told = json.loads(cli("show", "7", "--json", code=1).stderr)
    assert told["jobq"] == 1
    assert told["error"]["message"] == "there is no job 7"
    assert "jobq list" in told["error"]["hint"]
    assert json.loads(cli("list", "--json", "--nonsense", code=2).stderr)["error"]["message"].startswith(
        "no such option"
    )
    assert cli("add", "-q", "@", "echo", "--json", code=2).stderr.startswith("error: "), "it is a word of the command"
    assert json.loads(cli("add", "-q", "@", "--json", "echo", code=2).stderr)["error"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("list --json", True),
        ("--store add show 7 --json", True),
        ("--color never --store x add echo --json", False),
        ("run --halt never --json true", True),
        ("run -j 2 --halt soon,fail=1 echo --json", False),
        ("add -q gpu -- --json", False),
        ("schedule add n @hourly -- ls --json", False),
        ("schedule --json", True),
        ("call --json f", True),
    ],
)
def test_json_is_an_option_or_a_word_of_the_command(words: str, wanted: bool) -> None:
    assert wants_json(words.split()) == wanted


def test_all_options_with_a_value_are_known_without_the_parser() -> None:
    group: Any = get_command(app_for([]))
    for name in ENDING_OPTIONS:
        options = [one for one in group.commands[name].params if one.param_type_name == "option"]
        with_value = {flag for one in options if not one.is_flag for flag in one.opts}
        of_jobs = {flag for option in OPTIONS for flag in option.flags}
        assert with_value - of_jobs <= WITH_VALUE, name


def test_notes_are_left_out_if_nobody_wants_them(cli: Cli) -> None:
    assert cli("--quiet", "add", "true").stderr == ""
    assert cli("--quiet", "show", "9", code=1).stderr.startswith("error: ")
    assert "no worker" in cli("add", "true").stderr


def test_colours_are_a_matter_of_the_terminal_the_environment_and_the_option(done: Cli) -> None:
    assert "\x1b[" not in done("list").stdout
    assert "\x1b[31mfailed" in done("--color", "always", "list").stdout
    done.env["FORCE_COLOR"] = "1"
    assert "\x1b[31mfailed" in done("list").stdout
    assert "\x1b[" not in done("--color", "never", "list").stdout
    done.env["NO_COLOR"] = "1"
    assert "\x1b[31m" not in done("list").stdout
    terminal = Terminal(done, 80, "list")
    terminal.end()
    assert b"\x1b[31m" not in terminal.seen
    assert "--color: 'blue' is not possible" in done("--color", "blue", "list", code=2).stderr


def test_words_of_other_tools_may_follow_the_options_of_jobq(cli: Cli) -> None:
    assert cli("--quiet", "--color", "never", "ls").returncode == 0
    assert cli("--color=never", "queue").returncode == 0
