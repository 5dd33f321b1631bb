"""`--stderr`: the stderr of a job in a file of its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from tests.conftest import Cli

BOTH = "echo out; echo err >&2; echo out again"


def test_stderr_apart_has_a_log_of_its_own(cli: Cli) -> None:
    job_id = cli.id("--stderr", "apart", BOTH)
    silent = cli.id("--stderr", "apart", "echo out")
    cli("worker", "--drain")
    done = cli("log", str(job_id))
    assert done.stdout == "out\nout again\n"
    assert "its stderr is apart: 'jobq log 1 --stderr'" in done.stderr
    assert cli("log", str(job_id), "--stderr").stdout == "err\n"
    path = cli.queue.log_path(job_id, 1, stderr=True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert f"stderr {path}" in cli("show", str(job_id)).stdout
    assert not os.path.exists(cli.queue.log_path(silent, 1, stderr=True))
    assert "has no output on stderr" in cli("log", str(silent), "--stderr").stderr
    cli("rm", str(job_id))
    assert not os.path.exists(path)


def test_a_file_is_appended_to(cli: Cli) -> None:
    (cli.cwd / "errors").write_text("before\n")
    cli("add", "--stderr", "errors", BOTH, ":::", "", "")
    cli("worker", "--drain")
    assert (cli.cwd / "errors").read_text() == "before\nerr\nerr\n"
    told = cli("log", "1", "--stderr", code=1).stderr
    assert f"it goes to {cli.cwd}/errors" in told
    assert "in the log, with stdout" in cli("log", str(cli.id("true")), "--stderr", code=1).stderr


def test_a_python_call_keeps_it_apart_too(cli: Cli) -> None:
    (cli.cwd / "both.py").write_text("import sys\ndef f():\n    print('o')\n    print('e', file=sys.stderr)\n")
    cli("call", "--stderr", "apart", "both:f")
    cli("worker", "--drain")
    assert (cli("log", "1").stdout, cli("log", "1", "--stderr").stdout) == ("o\n", "e\n")


def test_run_passes_it_to_its_own_stderr(cli: Cli) -> None:
    done = cli("run", "--stderr", "apart", f"{BOTH}; exit 3", code=3)
    assert done.stdout == "out\nout again\n"
    assert done.stderr.startswith("err\n")


def test_follow_prints_it_until_the_end(cli: Cli) -> None:
    job_id = cli.id("--stderr", "apart", "echo one >&2; while ! [ -e go ]; do sleep 0.02; done; echo two >&2")
    cli.worker()
    follower = cli.start("log", "-f", "--stderr", str(job_id), stdin=subprocess.DEVNULL)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "one\n"
    (cli.cwd / "go").touch()
    assert follower.communicate(timeout=30)[0] == "two\n"
    assert follower.returncode == 0


def test_it_has_the_limit_of_the_log(cli: Cli) -> None:
    cli("add", "--stderr", "apart", "--log-max", "64K", "head -c 3000000 /dev/zero | tr '\\0' x >&2")
    cli("worker", "--drain")
    assert os.stat(cli.queue.log_path(1, 1, stderr=True)).st_blocks * 512 <= 128 << 10


@pytest.mark.parametrize(("wrong", "why"), [("gone/x", "gone does not exist"), (".", "can't be a file")])
def test_a_wrong_file_is_refused(cli: Cli, wrong: str, why: str) -> None:
    assert why in cli("add", "--stderr", wrong, "true", code=2).stderr


def test_a_file_that_can_not_be_opened_later_is_told(cli: Cli) -> None:
    (cli.cwd / "sub").mkdir()
    cli("add", "--stderr", "sub/x", "true")
    (cli.cwd / "sub").rmdir()
    cli("worker", "--drain", code=1)
    assert "its stderr" in cli("list").stdout
    os.mkfifo(cli.cwd / "fifo")
    cli("add", "--stderr", "fifo", "true")  # nobody reads it: this must not hang
    cli("worker", "--drain", code=1)


def test_run_loses_nothing_of_it_for_a_slow_reader(cli: Cli) -> None:
    words = f"{sys.executable} -m jobq run --log-max 64K --stderr apart 'seq 60000 >&2'"
    done = subprocess.run(
        ["bash", "-c", f"{words} 2>&1 >/dev/null | (sleep 1; cat)"],
        env=cli.env, cwd=cli.cwd, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == [str(n) for n in range(1, 60001)]


def test_run_of_several_shows_it_of_the_failed_ones(cli: Cli) -> None:
    done = cli("run", "--stderr", "apart", "echo {} >&2; test {} = a", ":::", "a", "b", code=1)
    assert "jobq:   b" in done.stderr


def test_output_to_a_file_counts_as_output(cli: Cli) -> None:
    cli("run", "--idle-timeout", "1s", "--stderr", "errors", "for i in 1 2 3 4; do echo $i >&2; sleep 0.4; done")
