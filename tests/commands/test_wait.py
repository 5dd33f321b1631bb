"""`jobq wait`: for the first of several, its line on a terminal, and what it says of jobs that are not going to start."""

from __future__ import annotations

import json

from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal

WAIT = "while ! [ -e {} ]; do sleep 0.02; done; "


def test_the_first_of_several_is_enough(cli: Cli) -> None:
    cli("add", WAIT.format("go"))
    cli("add", "--retries", "0", f"{WAIT.format('second')} exit 3")
    cli.worker("-j", "2")
    process = cli.start("wait", "--any", "1", "2")
    (cli.cwd / "second").touch()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, "2\n")
    assert "job 2 failed: exit 3" in err
    (cli.cwd / "go").touch()
    cli("wait", "1")
    assert cli("wait", "--any", "1-2", code=3).stdout == "2\n", "it was over first"
    assert "no such jobs" in cli("wait", "--any").stderr


def test_the_jobs_are_printed_as_json(cli: Cli) -> None:
    cli("add", "true", ":::", "1", "2")
    cli("worker", "--drain")
    assert [job["id"] for job in json.loads(cli("wait", "--json", "1-2").stdout)["jobs"]] == [1, 2]


def test_a_line_on_a_terminal_says_how_far_they_are(cli: Cli) -> None:
    cli("add", "--retries", "0", "false")
    cli("add", WAIT.format("go"))
    cli.worker("-j", "1")
    terminal = Terminal(cli, 100, "wait", "1", "2")
    terminal.shows("jobq: 1/2 done, 1 failed, time left: ?")
    (cli.cwd / "go").touch()
    assert terminal.end() == 1
    assert "2 done" not in terminal.text()
    assert terminal.text().splitlines() == ["jobq: job 1 failed: exit 1  false"]


def test_it_says_why_jobs_are_not_going_to_start(cli: Cli) -> None:
    cli("add", "--hold", "true")
    cli("add", "--after", "1", "true")
    cli("add", "--in", "3h", "true")
    cli("add", "--queue", "gup", "true")
    cli.worker("-q", "default")
    done = cli("wait", "-t", "100ms", "2", "3", "4", code=124)
    assert "job 1 is held, and others wait for it; 'jobq release 1' lets it start" in done.stderr
    assert "job 3 does not start before 20" in done.stderr
    assert "no worker serves queue gup" in done.stderr
    assert "jobs 2, 3, 4 are not finished after 0.1 s" in done.stderr


def test_a_reason_is_said_once(cli: Cli) -> None:
    cli("add", "--hold", "true")
    process = cli.start("wait", "1")
    assert process.stderr is not None
    assert "job 1 is held" in process.stderr.readline()
    cli("cancel", "1")
    assert process.wait(30) == 125
    assert "held" not in process.stderr.read()
    wait_until(lambda: process.poll() is not None)
