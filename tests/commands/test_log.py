"""`jobq log` of several jobs, of some lines, and of all that runs."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from jobq.job import State
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal

WAIT = "while ! [ -e {} ]; do sleep 0.02; done; "


def test_the_logs_of_several_jobs_stand_below_their_names(cli: Cli) -> None:
    cli("add", "--retries", "0", "echo {}; exit {}", ":::", "0", "3")
    cli("add", "true")
    cli("worker", "--drain", "-j", "1", code=1)
    done = cli("log", "1-3")
    assert done.stdout == "0\n3\n"
    assert done.stderr == "jobq: job 1: echo 0; exit 0\njobq: job 2: echo 3; exit 3\n"
    assert cli("log", "@failed").stdout == "3\n"
    assert "no output of these jobs" in cli("log", "3", "--since", "1h").stderr


def test_only_lines_with_a_text_are_printed(cli: Cli) -> None:
    cli("add", "seq 8 12; printf 'last 1'")
    cli("worker", "--drain")
    assert cli("log", "--grep", "1").stdout == "10\n11\n12\nlast 1\n"
    done = cli("log", "--grep", "x", code=1)
    assert (done.stdout, done.stderr) == ("", "jobq: no line of job 1 holds that text\n")
    assert cli("log", "--grep", "1", "--tail", "2").stdout == "12\nlast 1\n"


def test_only_jobs_that_printed_something_since_are_shown(cli: Cli) -> None:
    cli("add", "echo {}", ":::", "old", "new")
    cli("worker", "--drain", "-j", "1")
    os.utime(cli.store / "runs/0/1.1.log", (0, 0))
    assert cli("log", "1-2", "--since", "1h").stdout == "new\n"


def test_several_jobs_are_followed_to_their_ends_through_retries(cli: Cli) -> None:
    cli("add", "--retries", "1", "--backoff", "const:0s", f"echo try $JOBQ_JOB_ATTEMPT; {WAIT.format('go')} exit 3")
    cli("add", "--hold", "echo held")
    cli.worker("-j", "2")
    process = cli.start("log", "-f", "1", "2")
    assert process.stdout is not None
    assert process.stdout.readline() == "  1 | try 1\n"
    cli("release", "2")
    assert process.stdout.readline() == "  2 | held\n"
    (cli.cwd / "go").touch()
    assert process.stdout.readline() == "  1 | try 2\n"
    assert process.wait(30) == 1
    assert process.stderr is not None
    told = process.stderr.read()
    assert "job 1 failed: exit 3" in told
    assert "job 2 succeeded" in told


def test_all_that_runs_is_followed_and_what_begins_later(cli: Cli) -> None:
    cli("add", f"seq 20; {WAIT.format('go')} echo end")
    cli("add", "--hold", "--name", "later", "seq 0 14")
    cli.worker("-j", "2")
    wait_until(lambda: "20" in cli("log", "1", code=None).stdout)
    process = cli.start("log", "-f", stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(10)] == [f"  1 | {n}\n" for n in range(11, 21)]
    cli("release", "later")
    assert [process.stdout.readline() for _ in range(15)] == [f"2 later | {n}\n" for n in range(15)], "all of it"
    (cli.cwd / "go").touch()
    assert process.stdout.readline() == "  1 | end\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT


def test_jobs_have_colours_in_front_of_their_lines_on_a_terminal(cli: Cli) -> None:
    cli("add", "printf '\\033]0;PWNED\\007done 10%%\\rdone 99%%\\n'", ":::", "1", "2")
    cli("worker", "--drain")
    terminal = Terminal(cli, 80, "log", "-f", "1-2")
    assert terminal.end() == 0
    assert b"\x1b[36m  1 | \x1b[0mdone 99%" in terminal.seen
    assert b"\x1b[32m  2 | \x1b[0mdone 99%" in terminal.seen
    assert not any("PWNED" in title for title in terminal.titles)


@pytest.mark.parametrize("words", [("log", "1"), ("log", "-f", "1"), ("log", "-f", "1-2"), ("log", "1", "--grep", "9")])
def test_a_terminal_without_colours_gets_lines_without_them(cli: Cli, words: tuple[str, ...]) -> None:
    cli("add", "printf '\\033]0;PWNED\\007\\033[31mdone 10%%\\rdone 99%%\\033[0m\\n\\033[1mopen'", ":::", "1", "2")
    cli("worker", "--drain")
    terminal = Terminal(cli, 80, *words, term="dumb")
    assert terminal.end() == 0
    assert b"done 99%\r\n" in terminal.seen
    assert b"\x1b" not in terminal.seen
    raw = Terminal(cli, 80, "log", "--raw", "1", term="dumb")
    assert raw.end() == 0
    assert b"\x1b[31mdone 10%\r" in raw.seen


def test_one_attempt_of_several_jobs_can_not_be_followed(cli: Cli) -> None:
    cli("add", "true", ":::", "1", "2")
    assert "--attempt and --stderr are for one job" in cli("log", "-f", "1-2", "--attempt", "1", code=1).stderr
    cli("log", "-f", "99", code=125)


def test_the_log_of_a_command_that_could_not_start_says_so(cli: Cli) -> None:
    cli("add", "--exec", "no-such-program")
    cli("worker", "--drain", code=1)
    assert "job 1 has no output: could not start: no-such-program: not found" in cli("log", "1").stderr


def test_an_attempt_that_is_followed_has_its_own_exit_code(cli: Cli) -> None:
    job_id = cli.id("--retries", "1", "--backoff", "const:1h", "echo x; exit 5")
    cli.worker()
    assert cli("log", "-f", str(job_id), "--attempt", "1", code=5).stdout == "x\n"
    assert cli.queue.job(job_id).state is State.QUEUED
