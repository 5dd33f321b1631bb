"""The screen of a user: the live table in real terminals of two widths, and text that must not reach them raw."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.durations import duration, span
from jobq.job import State
from jobq.views import ENCODING
from jobq.views.logs import MOST_TAIL, start_of_tail
from jobq.views.output import ShownOutput, shown
from jobq.views.text import command_line, safe
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal

SGR = re.compile(r"\x1b\[[0-9;:]*m")
ROOT = Path(__file__).parents[2]
NASTY = "\x1b]0;PWNED\x07\x1b[31m\u202egnp.exe [/] [link=x]y[/link] :smile:"


@pytest.fixture(params=[60, 200])
def columns(request: pytest.FixtureRequest) -> Iterator[int]:
    yield request.param


def test_the_live_table_shows_the_jobs_of_a_worker(cli: Cli, columns: int) -> None:
    cli("add", "--name", "one", "while ! [ -e go ]; do sleep 0.05; done")
    cli("add", "--retries", "0", "exit 3")
    cli("add", "--priority", "low", "echo last; " + "x" * 300)
    terminal = Terminal(cli, columns, "worker", "-j", "1")
    terminal.shows("1/1 running · 2 waiting")
    terminal.shows("[one] while")
    (cli.cwd / "go").touch()
    terminal.shows("0/1 running · 0 waiting · 1 succeeded · 2 failed")
    terminal.shows("exit 3")
    cli("add", "sleep 60")
    terminal.shows("1/1 running")
    terminal.type(b"\x03")
    terminal.shows("stopping")
    terminal.press_stop_again()
    assert terminal.end() == 0
    assert "stopped" in terminal.text()
    assert cli.queue.job(4).state is State.QUEUED
    assert max(map(len, terminal.text().splitlines())) <= columns


def test_what_the_live_table_has_shown_can_be_recorded(cli: Cli) -> None:
    cli("add", "--retries", "0", "echo why; exit 3")
    cli("add", "until [ -e go ]; do sleep 0.05; done")
    cli.env["JOBQ_TRACE_FRAMES"] = str(cli.cwd / "frames")
    terminal = Terminal(cli, 100, "worker", "--drain")
    terminal.shows("0 waiting · 0 succeeded · 1 failed")
    (cli.cwd / "go").touch()
    assert terminal.end() == 1
    frames = [json.loads(line) for line in (cli.cwd / "frames").read_text().splitlines()]
    assert {(frame["columns"], frame["rows"]) for frame in frames} == {(100, 40)}
    assert "\n".join(line for frame in frames for line in frame["above"]) == terminal.text()
    assert any("running" in line and "until [" in line for frame in frames for line in frame["lines"])
    cli.env["JOBQ_TRACE_FRAMES"] = "/dev/full"
    cli("add", "true")
    terminal = Terminal(cli, 100, "worker", "--drain")
    assert terminal.end() == 0, "it is drawn all the same"
    assert "1 succeeded" in terminal.text()


def test_a_long_command_is_cut_and_the_columns_that_identify_the_job_stay(cli: Cli, columns: int) -> None:
    cli("add", "--retries", "0", "exit 3; " + "seq " * 3000)
    cli("worker", "--drain", code=1)
    cli("add", "x" * 120_000)
    for words in (["list"], []):
        terminal = Terminal(cli, columns, *words)
        terminal.end()
        text = terminal.text()
        assert " 1  failed" in text
        assert "2  queued" in text
        assert "exit 3" in text
        assert "COMMAND" in text


def test_a_progress_bar_is_seen_while_it_moves(cli: Cli) -> None:
    wait = "while ! [ -e {} ]; do sleep 0.02; done; "
    cli(
        "add",
        rf"printf 'begin\n\r10%%'; {wait.format('half')} printf '\r50%%'; {wait.format('go')} printf '\r100%%\nend'",
    )
    cli.worker("-j", "1")
    terminal = Terminal(cli, 80, "log", "-f", "1")
    terminal.shows("begin\n10%")
    (cli.cwd / "half").touch()
    terminal.shows("begin\n50%")
    (cli.cwd / "go").touch()
    assert terminal.end() == 0
    assert terminal.text().splitlines()[:3] == ["begin", "100%", "end"]


def test_a_person_is_told_when_a_job_starts_and_a_script_only_if_it_is_at_once(cli: Cli) -> None:
    cli("add", "--key", "k", "--at", "2039-01-01", "true")  # since then the quick way could take such a job
    terminal = Terminal(cli, 80, "add", "--at", "2040-01-31 9:00", "true")
    assert terminal.end() == 0
    assert "jobq: starts 2040-01-31 09:00, in " in terminal.text()
    for words in (["--hold"], ["--after", "1"], ["--key", "k"]):
        terminal = Terminal(cli, 80, "add", *words, "--at", "2040-01-31 9:00", "true")
        assert terminal.end() == 0
        assert "starts" not in terminal.text().replace("'jobq worker' starts", "")
    assert "starts 2040" not in cli("add", "--at", "2040-01-31 9:00", "true").stderr
    assert "the time of --at is over" in cli("add", "--at", "2001-01-01", "true").stderr


def test_closing_the_terminal_drains_the_worker(cli: Cli) -> None:
    cli("add", "while ! [ -e go ]; do sleep 0.05; done")
    terminal = Terminal(cli, 100, "worker", "-j", "1")
    terminal.shows("1/1 running")
    os.kill(terminal.pid, signal.SIGHUP)
    (cli.cwd / "go").touch()
    assert terminal.end() == 0
    assert cli.queue.job(1).state is State.SUCCEEDED


BASH = shutil.which("bash") or ""
ECHO = b"stty -a | grep -qw -- -echo || echo echo is ''on\r"  # the state that programs get; bash echoes in its own way
needs_bash = pytest.mark.skipif(not BASH, reason="bash is not installed")


BREAKABLE = """
import os, sys
from jobq.__main__ import main
from jobq.worker.loop import Worker
step = Worker.step
def breakable(worker, *about):
    if os.path.exists("broken"):
        raise ValueError("broken")
    return step(worker, *about)
Worker.step = breakable
sys.argv[1:] = ["worker", "-j", "1"]
main()
"""


def in_shell(cli: Cli) -> Terminal:
    """Start a worker in the foreground of an interactive shell, and wait for its table."""
    cli("add", "while ! [ -e go ]; do sleep 0.05; done")
    terminal = Terminal(cli, 100, "--norc", "-i", program=(BASH,))
    terminal.shows("$")
    (cli.cwd / "breakable.py").write_text(BREAKABLE)
    terminal.type(f"PYTHONPATH={ROOT} {sys.executable} breakable.py\r".encode())
    terminal.shows("1/1 running")
    assert terminal.screen.cursor.hidden
    assert not terminal.echoes()
    return terminal


def leave(terminal: Terminal, cli: Cli) -> None:
    (cli.cwd / "go").touch()
    wait_until(lambda: cli.queue.job(1).state.final)
    terminal.type(b"exit\r")
    terminal.end()


@needs_bash
def test_a_worker_that_is_suspended_from_the_keyboard_restores_the_terminal(cli: Cli) -> None:
    terminal = in_shell(cli)
    terminal.type(b"\x1a")
    terminal.shows("Stopped")
    wait_until(lambda: not terminal.screen.cursor.hidden)
    terminal.type(ECHO)
    terminal.shows("\necho is on\n")
    before = terminal.text()
    terminal.type(b"fg\r")
    wait_until(lambda: terminal.text().count("1/1 running") == 2 and terminal.screen.cursor.hidden)
    assert terminal.text().startswith(before), "the text above has changed"
    wait_until(lambda: not terminal.echoes())
    terminal.type(b"\r\rx\r")
    (cli.cwd / "go").touch()
    terminal.shows("1 succeeded")
    assert terminal.text().count("1/1 running") == 1, f"stale lines:\n{terminal.text()}"
    terminal.type(b"\x03")
    terminal.shows("stopped: 1 succeeded in")
    terminal.shows("\n$")
    assert not terminal.screen.cursor.hidden
    leave(terminal, cli)


@needs_bash
@pytest.mark.parametrize("how", ["quit", "exception"])
def test_a_worker_that_dies_restores_the_terminal(cli: Cli, how: str) -> None:
    terminal = in_shell(cli)
    if how == "quit":
        terminal.type(b"\x1c")
    else:
        (cli.cwd / "broken").touch()
    terminal.shows("\n$")
    assert not terminal.screen.cursor.hidden
    terminal.type(b"echo status $?\r")
    terminal.shows(f"\nstatus {128 + signal.SIGQUIT if how == 'quit' else 70}\n")
    terminal.type(ECHO)
    terminal.shows("\necho is on\n")
    (cli.cwd / "go").touch()
    cli("wait", "1")
    terminal.type(b"exit\r")
    terminal.end()


def test_a_terminal_that_becomes_narrower_keeps_one_table(cli: Cli) -> None:
    cli("add", "while ! [ -e go ]; do sleep 0.05; done")
    terminal = Terminal(cli, 100, "worker", "-j", "1")
    terminal.shows("1/1 running")
    terminal.resize(50, lambda: "…" in terminal.text())
    terminal.resize(120, lambda: "…" not in terminal.text())
    (cli.cwd / "go").touch()
    terminal.shows("1 succeeded")
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.end() == 0
    assert terminal.text().count("1 succeeded") == 1
    assert not terminal.screen.cursor.hidden


EDITED = [
    (b"Building 25%\rBuilding 50%\r\x1b[KCompiled", "Compiled"),
    (b"12345\rab", "ab345"),
    (b"12345\r\x1b[Kab", "ab"),
    (b"12345\x1b[2D\x1b[1Kab", "   ab"),
    (b"12345\x1b[2K\rab", "ab"),
    (b"12345\x1b[3Gab", "12ab5"),
    (b"12345\x1b[2D\x1b[0K", "123"),
    (b"abc\b\bX", "aXc"),
    (b"1\x1b[3C2", "1   2"),
    (b"12345\r\x1b[2P", "345"),
    (b"12345\r\x1b[2X", "  345"),
    (b"345\r\x1b[2@12", "12345"),
    (b"a\r\tb", "a       b"),
    (b"a\x1b[999999999999C", "a"),
    (b"\x1b[?25l\x1b[2J\x1b[1;1H\x1b[1Axy\x1b[?25h", "xy"),
    (b"\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x07", "link"),
    (b"\x1b]0;PWNED\x07\x1bP1$r\x1b\\\x1bc\x1b(Bx\x07\x00\x0f", "x"),
    (b"\x1b]0;PWNED", "\\x1b]0;PWNED"),
    (b"a\x1b", "a\\x1b"),
    (b"\x1b[31mred", "\x1b[31mred\x1b[0m"),
    (b"\x1b[31mred\rgreen", "\x1b[31mgreen\x1b[0m"),
    (b"a\x1b[01;31m\x1b[Kb\x1b[m\x1b[Kc", "a\x1b[01;31mb\x1b[0mc"),
    (b"\x1b[8mhidden", "\x1b[8mhidden\x1b[0m"),
    (b"\x1b[38;5;9;1mx\x1b[22m\ry", "\x1b[38;5;9my\x1b[0m"),
    (b"\x1b[1mone\ntwo\x1b[0m\nthree", "\x1b[1mone\x1b[0m\n\x1b[1mtwo\x1b[0m\nthree"),
]


@pytest.mark.parametrize(("written", "seen"), EDITED)
def test_a_line_is_shown_as_a_terminal_would_have_left_it(written: bytes, seen: str) -> None:
    assert shown(written) == seen


@given(st.lists(st.one_of(st.binary(), st.sampled_from([written for written, _ in EDITED]), st.just(b"\n"))))
def test_output_may_come_in_any_pieces(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    in_pieces = ShownOutput()
    text = "".join(map(in_pieces.feed, pieces)) + in_pieces.open_line()
    assert [seen(line) for line in text.split("\n")] == [seen(line) for line in shown(data).split("\n")]
    for line in text.split("\n"):
        assert all(char.isprintable() or char == "\t" for char in SGR.sub("", line))
        last = SGR.findall(line)[-1:]
        assert last in ([], ["\x1b[0m"]) or last[0] == "\x1b[m"


def seen(line: str) -> str:
    """Return the line without colours, and with spaces instead of tabs."""
    return SGR.sub("", line).expandtabs().rstrip(" ")


@pytest.mark.parametrize("words", [("log",), ("log", "-f", "1"), ("log", "--raw"), ("run", "printf '\\033[8mx'")])
def test_colours_that_a_job_turned_on_end_with_its_output(cli: Cli, words: tuple[str, ...]) -> None:
    cli("add", r"printf '\033[31;8mx'")
    cli("worker", "--drain")
    terminal = Terminal(cli, 80, *words)
    terminal.end()
    after = terminal.screen.cursor.attrs
    assert (after.fg, after.reverse, after.bold) == ("default", False, False)
    terminal.screen.draw("y")
    assert "x" in terminal.text()


def test_hostile_text_does_not_reach_the_terminal(cli: Cli) -> None:
    cli("add", "--", "printf", "%s\\n", NASTY)
    cli("worker", "--drain")
    for words in (["list"], ["show"], ["worker", "--drain"], [], ["log"]):
        terminal = Terminal(cli, 160, *words)
        terminal.end()
        assert not any("PWNED" in title for title in terminal.titles)
        assert "\u202e" not in terminal.text()
        if words in (["list"], ["show"]):
            assert "\\x1b]0;PWNED" in terminal.text()
    assert cli("log", "--raw").stdout == NASTY + "\n"
    assert cli("log").stdout == NASTY + "\n"


def test_the_tail_of_a_very_long_line_is_its_end_on_a_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a\n" + b"b" * (2 * MOST_TAIL) + b"\nc\n")
    with log.open("rb") as f:
        size = log.stat().st_size
        assert [start_of_tail(f.fileno(), n) for n in (0, 1, 2, 3, 9)] == [size, size - 2, 2, 0, 0]
        cut = size - MOST_TAIL
        assert [start_of_tail(f.fileno(), n, MOST_TAIL) for n in (0, 1, 2, 9)] == [size, size - 2, cut, cut]
        assert start_of_tail(f.fileno(), 2, 10 * MOST_TAIL) == 2


@given(st.text())
def test_safe_text_is_printable_and_plain_text_stays(text: str) -> None:
    assert safe(text).isprintable()
    if text.isprintable() and (ENCODING == "utf-8" or text.isascii()):
        assert safe(text) == text


def test_output_for_a_terminal_keeps_lines_tabs_and_colours_only() -> None:
    other = b"\xff".decode(ENCODING, "backslashreplace")
    assert shown(b"a\tb\x1b[31mred\x1b[0m\n10%\r50%\r100%\r\n\xff\x1b") == f"a\tb\x1b[31mred\x1b[0m\n100%\n{other}\\x1b"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.994, "0.99 s"),
        (1, "1.0 s"),
        (9.96, "10 s"),
        (59.6, "1m00s"),
        (3_599, "59m59s"),
        (90_000, "1d01h"),
    ],
)
def test_a_duration_is_shown_in_words(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("2d", 172800)]
)
def test_a_duration_is_read_from_words(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_commands_are_shown_as_a_user_would_type_them() -> None:
    assert command_line(("echo", "a b", "$HOME")) == "echo 'a b' '$HOME'"
    assert command_line("echo 1\necho 2") == "echo 1\\necho 2"


def test_the_live_table_shows_a_queue_that_no_worker_serves(cli: Cli) -> None:
    cli("add", "--queue", "gup", "true")
    terminal = Terminal(cli, 200, "worker", "-q", "gpu")
    terminal.shows("no worker serves queue gup; did you mean gpu?")
    other = cli.worker("-q", "gup")
    terminal.shows("0 waiting")
    other.terminate()
    other.wait(30)
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_the_live_table_keeps_failures_counts_jobs_and_shows_handed_back_jobs(cli: Cli) -> None:
    cli("add", "--retries", "0", "[ -e ok ]")
    terminal = Terminal(cli, 160, "worker", "-j", "1")
    terminal.shows("0 succeeded · 1 failed")
    cli("add", "--from", "-", stdin="true\n" * 8)
    terminal.shows("8 succeeded · 1 failed")
    terminal.shows("1  failed")
    terminal.shows("jobq log 1")
    cli("requeue", "1")
    wait_until(lambda: len(cli.queue.job(1).attempts) == 2 and cli.queue.job(1).state is State.FAILED)
    cli("add", "sleep 60")
    terminal.shows("1/1 running")
    terminal.shows("8 succeeded · 1 failed")
    terminal.shows("exit 1 (2 attempts)")
    cli("ack")
    terminal.type(b"\x03")
    terminal.shows("stopping")
    terminal.press_stop_again()
    assert terminal.end() == 0
    assert "stopped: 8 succeeded · 1 failed · 1 handed back in" in terminal.text()
    assert "✗ 1" not in terminal.text(), "it was acknowledged"


@pytest.mark.parametrize("columns", [44, 60, 200])
def test_no_table_is_wider_than_the_terminal(cli: Cli, columns: int) -> None:
    long = "echo a rather long command line that has many words in it and goes on and on"
    cli("queue", "set", "night", "--limit", "3")
    cli("schedule", "add", "nightly", "@daily", long)
    cli("add", "--retries", "0", "-q", "night", f"{long}; exit 3")
    cli("worker", "--drain", code=1)
    cli("pause", "night", "--reason", "the driver is being updated by the administrators until noon")
    for words, said in ((["stats"], "FAILED"), (["queue"], "night"), (["schedule"], "nightly"), (["events"], "add")):
        terminal = Terminal(
            cli, 250, "-c", f"stty cols {columns}; exec {sys.executable} -m jobq {words[0]}", program=("/bin/sh",)
        )
        assert terminal.end() == 0
        lines = [line for line in terminal.text().splitlines() if not re.match(r"jobq: |\d+ jobs?:", line)]
        assert any(said in line for line in lines), lines
        assert max(map(len, lines)) <= columns, lines
        assert columns < 200 or not any("…" in line for line in lines)
