"""Jobs with a terminal of their own: what they see, how they end, and what is typed there."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from jobq.job import Outcome, State
from tests.conftest import Cli, wait_until
from tests.helpers.processes import is_alive
from tests.helpers.terminal import Terminal

SEES = "import os, sys; print(*(os.isatty(n) for n in range(3)), *os.get_terminal_size(), os.environ['TERM'])"


def test_a_job_has_a_terminal(cli: Cli) -> None:
    cli.env["TERM"] = "dumb"
    cli("add", "--pty", "--", sys.executable, "-c", SEES)
    cli("add", "--pty", "--env", "COLUMNS=132", "--env", "LINES=50", f'{sys.executable} -c "{SEES}"')
    cli("worker", "--drain", "-j", "1")
    assert cli("log", "1").stdout == "True True True 80 24 xterm-256color\n"
    assert cli("log", "2").stdout == "True True True 132 50 xterm-256color\n"
    assert not list((cli.store / "runs").rglob("*.tty")), "the FIFO is gone"


@pytest.mark.parametrize(("line", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("true", 0)])
def test_it_ends_as_the_program_does(cli: Cli, line: str, code: int) -> None:
    assert cli("run", "--pty", line, code=code).stdout == ""


def test_a_program_that_is_not_there_is_told(cli: Cli) -> None:
    done = cli("run", "--pty", "--", "./missing", "x", code=127)
    assert done.stdout == "jobq: ./missing: No such file or directory\n"


def test_its_environment_is_that_of_a_job_without_a_terminal(cli: Cli) -> None:
    cli.env = {name: value for name, value in cli.env.items() if not name.startswith("LC_") and name != "LANG"}
    plain, within = (
        {line for line in cli("run", *words, "env").stdout.splitlines() if not line.startswith(("JOBQ_", "_="))}
        for words in ((), ("--pty",))
    )
    assert within == plain


def test_what_is_sent_is_typed(cli: Cli) -> None:
    cli("add", "--pty", "printf 'name? '; read name; echo hello $name; read -r rest; printf 'got %s\\n' \"$rest\"")
    cli.worker("-j", "1")
    wait_until(lambda: "name?" in cli("log", "1", code=None).stdout)
    cli("send", "1", "big", "world")
    wait_until(lambda: "hello big world" in cli("log", "1").stdout)
    cli("send", "1", "-", stdin="a\\b\n")
    assert cli("log", "-f", "1").stdout.endswith("got a\\b\n")
    assert "does not run: its state is succeeded" in cli("send", "1", "x", code=1).stderr


def test_a_key_is_sent_alone_and_interrupts(cli: Cli) -> None:
    cli("add", "--pty", "--retries", "0", "echo ready; exec sleep 300")
    cli.worker("-j", "1")
    wait_until(lambda: "ready" in cli("log", "1", code=None).stdout)
    cli("send", "-n", "1", "\x03")
    cli("wait", "1", code=130)


def test_a_job_without_a_terminal_takes_nothing(cli: Cli) -> None:
    cli("add", "touch began; exec sleep 300")
    cli.worker("-j", "1")
    wait_until((cli.cwd / "began").exists)
    done = cli("send", "1", "x", code=1)
    assert "job 1 has no terminal" in done.stderr
    assert "add it with --pty" in done.stderr
    cli("cancel", "1")


def test_only_the_fifo_of_the_job_is_written_to(cli: Cli, tmp_path: Path) -> None:
    cli("add", "--pty", "touch began; exec sleep 300")
    cli.worker("-j", "1")
    wait_until((cli.cwd / "began").exists)
    (inbox,) = (cli.store / "runs").rglob("*.tty")
    assert inbox.stat().st_mode & 0o777 == 0o600
    inbox.unlink()
    (tmp_path / "target").write_text("")
    inbox.symlink_to(tmp_path / "target")
    cli("send", "1", "x", code=None)
    assert (tmp_path / "target").read_text() == ""
    cli("cancel", "--wait", "1")


def test_a_cancel_ends_everything_in_the_terminal(cli: Cli) -> None:
    """The program gets TERM, and after its grace KILL, with all that it started."""
    stubborn = (
        "trap '' TERM HUP; echo $$ > pid; (trap '' TERM HUP; while :; do sleep 1; done) & while :; do sleep 1; done"
    )
    cli("add", "--pty", "--grace", "300ms", "--", "sh", "-c", stubborn)
    cli.worker("-j", "1")
    wait_until(lambda: (cli.cwd / "pid").exists() and (cli.cwd / "pid").read_text().strip())
    cli("cancel", "--wait", "1")
    assert cli.queue.job(1).state is State.CANCELLED
    wait_until(lambda: not is_alive(int((cli.cwd / "pid").read_text())))


def test_a_timeout_and_silence_end_it(cli: Cli) -> None:
    cli("run", "--pty", "--timeout", "300ms", "exec sleep 300", code=124)
    cli("run", "--pty", "--idle-timeout", "300ms", "exec sleep 300", code=124)
    assert [job.attempts[-1].ending.outcome for job in cli.queue.finished() if job.attempts[-1].ending] == [
        Outcome.IDLE_TIMEOUT,
        Outcome.TIMEOUT,
    ]


def test_much_output_arrives_whole(cli: Cli) -> None:
    assert cli("run", "--pty", "seq 200000").stdout == "".join(f"{n}\n" for n in range(1, 200_001))


def test_a_background_process_does_not_keep_it(cli: Cli) -> None:
    assert cli("run", "--pty", "sleep 300 & echo done").stdout == "done\n"


def test_pipes_end_as_they_do_without_a_terminal(cli: Cli) -> None:
    assert cli("run", "--pty", "yes | head -1").stdout == "y\n"


REOPENS = "import os, time; n = os.open('/dev/null', 2); [os.dup2(n, fd) for fd in (0, 1, 2)]; time.sleep(0.2); "
REOPENS += "os.write(os.open('/dev/tty', 1), b'back\\n')"


def test_a_program_may_open_its_terminal_again(cli: Cli) -> None:
    done = cli("run", "--pty", "--exec", "--", sys.executable, "-c", REOPENS)
    assert done.stdout == "back\n"


def test_run_gives_the_size_of_its_own_terminal(cli: Cli) -> None:
    terminal = Terminal(cli, 97, "run", "--pty", "--", sys.executable, "-c", SEES)
    assert terminal.end() == 0
    assert terminal.text() == "True True True 97 40 xterm-256color"


def test_a_terminal_has_its_own_input_and_errors(cli: Cli) -> None:
    assert "both pty and stderr" in cli("add", "--pty", "--stderr", "apart", "true", code=2).stderr
    assert "both pty and stdin" in cli("add", "--pty", "--stdin", "/dev/null", "true", code=2).stderr


def test_it_outlives_its_worker(cli: Cli) -> None:
    cli("add", "--pty", "touch began; while ! [ -e go ]; do sleep 0.02; done; echo end")
    worker = cli.worker("-j", "1")
    wait_until((cli.cwd / "began").exists)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    (cli.cwd / "go").touch()
    cli("wait", "1")
    assert cli("log", "1").stdout == "end\n"
