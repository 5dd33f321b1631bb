"""The standard input of a job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.job import State
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal


def test_a_job_reads_from_the_file_that_was_named_where_it_was_added(cli: Cli) -> None:
    (cli.cwd / "words").write_bytes(b"a\nb \xff\0c")
    assert cli("run", "--stdin", "words", "-C", "/", "wc -c").stdout.split() == ["7"]
    assert cli("run", "wc -c").stdout.split() == ["0"]
    job_id = cli.id("--stdin", "words", "--retries", "0", "cat > copy")
    cli("worker", "--drain")
    assert (cli.cwd / "copy").read_bytes() == b"a\nb \xff\0c"
    assert cli.queue.job(job_id).spec.stdin == str(cli.cwd / "words")


@pytest.mark.parametrize("what", ["missing", "directory", "fifo", ""])
def test_what_is_no_file_is_refused_when_it_is_added(cli: Cli, what: str) -> None:
    (cli.cwd / "directory").mkdir()
    os.mkfifo(cli.cwd / "fifo")
    assert "stdin" in cli("add", "--stdin", what, "true", code=2).stderr
    assert cli.queue.jobs() == []


@pytest.mark.parametrize("way", ["gone", "fifo", "forbidden"])
def test_an_input_that_can_not_be_read_any_more_is_told_and_blocks_nothing(cli: Cli, way: str) -> None:
    path: Path = cli.cwd / "input"
    path.write_text("x")
    job_id, other = cli.id("--stdin", "input", "cat"), cli.id("true")
    path.unlink()
    if way == "fifo":
        os.mkfifo(path)
    if way == "forbidden":
        path.mkdir()
    cli("worker", "--drain", code=1)
    job = cli.queue.job(job_id)
    assert job.state is State.FAILED
    assert "its input" in str(job.ending)
    assert cli.queue.job(other).state is State.SUCCEEDED


def test_the_command_of_run_has_the_input_of_run(cli: Cli) -> None:
    assert cli("run", "cat; echo end", stdin="one\ntwo").stdout == "one\ntwoend\n"
    assert cli("run", "--stdin", "/dev/null", "cat", stdin="not this").stdout == ""
    assert cli("run", "cat", ":::", "-", "-", stdin="nor this").stdout == "", "several jobs have no input"


def test_run_leaves_what_its_command_does_not_read(cli: Cli) -> None:
    """As in `while read line; do jobq run ...; done < file`: the command shares the place in the file."""
    loop = f"while read x; do {sys.executable} -m jobq run 'read y; echo $y'; done"
    (cli.cwd / "lines").write_text("1\n2\n3\n4\n")
    done = subprocess.run(
        ["sh", "-c", f"{loop} < lines"], env=cli.env, cwd=cli.cwd, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "4"]
    only = f"while read x; do {sys.executable} -m jobq run echo $x; done < lines"
    done = subprocess.run(["sh", "-c", only], env=cli.env, cwd=cli.cwd, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "2", "3", "4"]


def test_the_descriptor_of_the_input_is_nothing_else_to_the_job(cli: Cli) -> None:
    listed = "import os; print(sorted(n for n in map(int, os.listdir('/proc/self/fd')) if os.path.exists(f'/proc/self/fd/{n}')))"
    done = cli("run", "--", sys.executable, "-c", listed, stdin="x")
    assert done.stdout == "[0, 1, 2]\n"


def test_run_works_without_an_input(cli: Cli) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m jobq run 'cat; echo end' <&-"],
        env=cli.env, cwd=cli.cwd, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "end\n"


def test_the_streams_of_run_keep_their_order_in_one_place(cli: Cli) -> None:
    line = "for n in 1 2 3 4 5; do echo $n; echo e$n >&2; done"
    done = subprocess.run(
        [sys.executable, "-m", "jobq", "run", line], env=cli.env, cwd=cli.cwd, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [f"{e}{n}" for n in range(1, 6) for e in ("", "e")]
    done = cli("run", line)
    assert (done.stdout.split(), done.stderr.split()) == (list("12345"), [f"e{n}" for n in range(1, 6)])


def test_a_job_of_run_takes_nothing_that_is_typed_for_the_shell(cli: Cli) -> None:
    terminal = Terminal(cli, 80, "-i", program=("/bin/sh",))
    terminal.shows("$")
    terminal.type(
        f"{sys.executable} -m jobq run 'cat; touch over; while ! [ -e go ]; do sleep 0.02; done' &\r".encode()
    )
    wait_until((cli.cwd / "over").exists)
    terminal.type(b"echo for the ''shell\r")
    terminal.shows("for the shell")
    (cli.cwd / "go").touch()
    cli("wait", "1")
    terminal.type(b"exit\r")
    terminal.end()
