"""The standard input of a job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobq.job import State
from tests.conftest import Cli


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
