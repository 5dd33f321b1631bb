"""What a person sees: the live table in a real terminal of two widths, and text that must not reach it raw."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.asks import duration
from jobq.job import Job, Moment, Spec, State
from jobq.serving import LiveWorker
from jobq.views.live import Overview, render
from jobq.views.logs import MOST_TAIL, start_of_tail
from jobq.views.output import shown
from jobq.views.table import Situation
from jobq.views.text import command_line, safe, span
from tests.conftest import Cli, wait_until

NASTY = "\x1b]0;PWNED\x07\x1b[31m\u202egnp.exe [/] [link=x]y[/link] :smile:"


class Terminal:
    """A process in a terminal of its own, its screen read by pyte."""

    def __init__(self, cli: Cli, columns: int, *words: str) -> None:
        self.screen = pyte.Screen(columns, 40)
        self._stream = pyte.ByteStream(self.screen)
        self.titles: list[str] = []
        self.screen.set_title = self.titles.append  # type: ignore[method-assign]
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cli.cwd)
            os.execve(sys.executable, [sys.executable, "-m", "jobq", *words], cli.env | {"TERM": "xterm-256color"})
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._fd, 4096):
                self._stream.feed(data)
        except OSError:
            pass

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def shows(self, words: str) -> None:
        try:
            wait_until(lambda: words in self.text())
        except AssertionError:
            raise AssertionError(f"{words!r} is not on the screen:\n{self.text()}") from None

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def end(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self._thread.join(timeout=5)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture(params=[60, 200])
def columns(request: pytest.FixtureRequest) -> Iterator[int]:
    yield request.param


def test_the_live_table_of_a_worker(cli: Cli, columns: int) -> None:
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
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert "stopped" in terminal.text()
    assert cli.queue.job(4).state is State.QUEUED
    assert max(map(len, terminal.text().splitlines())) <= columns


def test_a_long_command_gives_way_not_what_identifies_the_job(cli: Cli, columns: int) -> None:
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
    terminal = Terminal(cli, 80, "log", "-f")
    terminal.shows("begin\n10%")
    (cli.cwd / "half").touch()
    terminal.shows("begin\n50%")
    (cli.cwd / "go").touch()
    assert terminal.end() == 0
    assert terminal.text().splitlines()[:3] == ["begin", "100%", "end"]


def test_closing_the_terminal_drains_the_worker(cli: Cli) -> None:
    cli("add", "while ! [ -e go ]; do sleep 0.05; done")
    terminal = Terminal(cli, 100, "worker", "-j", "1")
    terminal.shows("1/1 running")
    os.kill(terminal.pid, signal.SIGHUP)
    (cli.cwd / "go").touch()
    assert terminal.end() == 0
    assert cli.queue.job(1).state is State.SUCCEEDED


def test_hostile_text_does_not_reach_the_terminal(cli: Cli) -> None:
    cli("add", "--", "printf", "%s\\n", NASTY)
    cli("worker", "--drain")
    for words in (["list"], ["show"], ["worker", "--drain"], [], ["log"]):
        terminal = Terminal(cli, 160, *words)
        terminal.end()
        assert terminal.titles == []
        assert "\u202e" not in terminal.text()
        if words in (["list"], ["show"]):
            assert "\\x1b]0;PWNED" in terminal.text()
    assert cli("log", "--raw").stdout == NASTY + "\n"
    assert cli("log").stdout == NASTY + "\n"


def test_the_tail_of_an_endless_line_is_its_end_on_a_terminal(tmp_path: Path) -> None:
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
    if text.isprintable():
        assert safe(text) == text


def test_output_for_a_terminal_keeps_lines_tabs_and_colours_only() -> None:
    assert shown(b"a\tb\x1b[31mred\x1b[0m\n10%\r50%\r100%\r\n\xff\x1b") == "a\tb\x1b[31mred\x1b[0m\n100%\n\\xff\\x1b"


def test_the_rendering_is_a_function_of_the_overview() -> None:
    from rich.console import Console  # noqa: PLC0415

    now = Moment(1_000.0, 10.0, "boot")
    job = Job(7, Spec("/", ""), ("echo", "a b"), 0.0)
    overview = Overview("w1", [], [job], [], [], 12, 2, 1, 0, 4, 940.0, Situation(now, (LiveWorker("w1"),)))
    console = Console(width=80, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(render(overview, now, 80))
    text = capture.get()
    assert "7  queued        ready  echo 'a b'" in text
    assert "... and 11 more waiting" in text
    assert "0/4 running · 12 waiting · 2 succeeded · 1 failed, 3 a minute" in text


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
def test_durations_in_words(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("2d", 172800)]
)
def test_durations_from_words(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_commands_are_shown_as_one_would_type_them() -> None:
    assert command_line(("echo", "a b", "$HOME")) == "echo 'a b' '$HOME'"
    assert command_line("echo 1\necho 2") == "echo 1\\necho 2"


def test_the_live_table_of_a_worker_tells_what_no_worker_serves(cli: Cli) -> None:
    cli("add", "--queue", "gup", "true")
    terminal = Terminal(cli, 200, "worker", "-q", "gpu")
    terminal.shows("no worker serves queue gup; did you mean gpu?")
    other = cli.worker("-q", "gup")
    terminal.shows("0 waiting")
    other.terminate()
    other.wait(30)
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_the_live_table_keeps_failures_counts_jobs_and_tells_what_was_handed_back(cli: Cli) -> None:
    cli("add", "--retries", "0", "[ -e ok ]")
    terminal = Terminal(cli, 160, "worker", "-j", "1")
    terminal.shows("0 succeeded · 1 failed")
    cli("add", "--from", "-", stdin="true\n" * 8)
    terminal.shows("8 succeeded · 1 failed")
    terminal.shows("1  failed")
    cli("requeue", "1")
    wait_until(lambda: len(cli.queue.job(1).attempts) == 2 and cli.queue.job(1).state is State.FAILED)
    cli("add", "sleep 60")
    terminal.shows("1/1 running")
    terminal.shows("8 succeeded · 1 failed")
    terminal.shows("exit 1 (2 attempts)")
    cli("ack")
    terminal.shows("0 waiting · 8 succeeded · 1 failed")
    wait_until(lambda: "exit 1" not in terminal.text())
    terminal.type(b"\x03")
    terminal.shows("stopping")
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert "10  queued" in terminal.text()
    assert "handed back" in terminal.text()
    assert "1 failed · 1 handed back" in terminal.text()
