"""`jobq export` and `jobq import`: a store on another machine, or after years."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobq import clock
from jobq.job import Job, State
from jobq.store import compaction
from tests.conftest import Cli, wait_until


@pytest.fixture
def other(cli: Cli, tmp_path: Path) -> Iterator[Cli]:
    """The command, for a store that is not there yet."""
    command = Cli(tmp_path / "other", cli.cwd)
    yield command
    command.stop()


def jobs(cli: Cli) -> dict[int, Job]:
    queue = cli.queue
    return {job.id: job for job in [*queue.jobs(), *queue.finished()]}  # in this order: what ends meanwhile is in both


def shown(cli: Cli) -> object:
    return [
        json.loads(cli(*words, "--json").stdout) for words in (["list", "--all"], ["queue"], ["schedule"], ["resource"])
    ]


def test_all_of_it_comes_back(cli: Cli, other: Cli) -> None:
    cli("resource", "set", "gpu", "4")
    cli("add", "--key", "once", "echo {}", ":::", "a")
    cli("add", "--retries", "0", "--label", "a=b", "false")
    cli("worker", "--drain", code=1)
    assert compaction.compact(str(cli.store), clock.now())
    cli("add", "--env", "TOKEN=secret", "--name", "later", "--in", "1d", "--on-failure", "true", 'printf %s "$TOKEN"')
    cli("add", "--after", "later", "--need", "gpu=2", "--hold", "true")
    cli("queue", "set", "build", "--limit", "2", "--capacity", "5")
    cli("pause", "night", "--reason", "moving")
    cli("schedule", "add", "nightly", "0 3 * * *", "--tz", "Europe/Berlin", "true")
    exported = cli("export", "jobs.jsonl").stderr
    assert "4 jobs exported to jobs.jsonl, with the environments" in exported
    assert (cli.cwd / "jobs.jsonl").stat().st_mode & 0o777 == 0o600
    assert "4 jobs and 1 schedule imported" in other("import", "jobs.jsonl").stderr
    assert jobs(other) == jobs(cli)
    assert shown(other) == shown(cli)
    assert "healthy" in other("doctor").stdout
    assert "deduplicated" in other("add", "--key", "once", "true").stderr
    other("edit", "3", "--in", "0s")
    other("resume", "night")
    other("worker", "--drain", code=None)
    assert other("log", "3").stdout == "secret"
    assert other.id("true") == 5


def test_what_ran_waits_again_and_is_told(cli: Cli, other: Cli) -> None:
    worker = cli.worker("-j", "3")
    ids = [cli.id("sleep 50"), cli.id("--retries", "0", "sleep 50"), cli.id("sleep 50")]
    wait_until(lambda: all(cli.queue.job(job_id).state is State.RUNNING for job_id in ids))
    text = cli("export").stdout
    told = other("import", "-", stdin=text).stderr
    assert "they ran then, and wait again: 1, 3" in told
    assert "they ran then, and may not run again: 2" in told
    found = jobs(other)
    assert [found[job_id].state for job_id in ids] == [State.QUEUED, State.FAILED, State.QUEUED]
    assert found[1].retries_used == 0
    assert "it ran when it was exported" in other("show", "1").stdout
    assert worker.poll() is None
    assert cli.queue.job(1).state is State.RUNNING
    cli("cancel", "1-3")


def test_a_store_that_holds_jobs_is_left_alone(cli: Cli, other: Cli) -> None:
    cli.id("true")
    other.id("false")
    text = cli("export").stdout
    told = other("import", "-", stdin=text, code=1).stderr
    assert f"error: {other.store} holds jobs already" in told
    assert other.queue.job(1).command == "false"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [], "the export is not whole"),
        (lambda lines: lines[:-1], "the export is not whole"),
        (lambda lines: ["{}", *lines], "line 1 is not of an export"),
        (lambda lines: [lines[0].replace('"version":1', '"version":9'), *lines[1:]], "a later version of jobq made it"),
        (lambda lines: [*lines[:2], lines[-2], *lines[2:]], "is there twice"),
        (lambda lines: [lines[0], *lines[2:]], "the environment of job 1 is missing"),
        (lambda lines: [*lines[:2], lines[2].replace('"command":"true"', '"command":7'), *lines[3:]], "line 3 is not"),
        (lambda lines: [lines[0], lines[1].replace('"HOME"', '"HOUSE"'), *lines[2:]], "was changed after the export"),
        (lambda lines: [*lines[:2], *lines[3:]], "it says 2 jobs, and there are 1"),
        (lambda lines: [*lines[:2], '{"job":' + "[" * 400 + "]" * 400 + "}", *lines[2:]], "line 3 is not"),
    ],
)
def test_what_is_no_export_is_refused_with_its_line(cli: Cli, other: Cli, change: object, told: str) -> None:
    cli("add", "true", ":::", "1", "2")
    cli("edit", "1", "--command", "true")
    lines = cli("export").stdout.splitlines()
    text = "\n".join(change(lines))  # type: ignore[operator]
    assert told in other("import", "-", stdin=text, code=1).stderr
    other("list")
    assert jobs(other) == {}
    assert other("import", "-", stdin="\n".join(lines)).returncode == 0
    assert len(jobs(other)) == 2


def test_a_file_that_can_not_be_read_or_written_is_named(cli: Cli) -> None:
    assert "error: nowhere: No such file" in cli("import", "nowhere", code=2).stderr
    cli.id("true")
    assert "/nowhere/x" in cli("export", "/nowhere/x", code=74).stderr


def test_an_import_that_is_killed_leaves_nothing_or_all(cli: Cli, other: Cli, tmp_path: Path) -> None:
    cli("add", "true", ":::", *map(str, range(500)))
    cli("cancel", "1-250")
    (tmp_path / "text").write_text(cli("export").stdout)
    for _ in range(6):
        process = other.start("import", str(tmp_path / "text"))
        wait_until(lambda p=process: (other.store / "journal.jsonl").exists() or p.poll() is not None)
        process.kill()
        process.wait()
        found = jobs(other)
        assert len(found) in {0, 500}
        if found:
            break
    if not jobs(other):
        other("import", str(tmp_path / "text"))
    assert jobs(other) == jobs(cli)
    assert "healthy" in other("doctor").stdout


def test_an_older_store_is_exported(cli: Cli, other: Cli) -> None:
    data = Path(__file__).parents[1] / "data" / "version-1-days"
    subprocess.run(["cp", "-r", data, cli.store], check=True)
    subprocess.run(["chmod", "-R", "go=", cli.store], check=True)
    exported = cli("export", code=None)
    assert exported.returncode == 0, exported.stderr
    other("import", "-", stdin=exported.stdout)
    assert jobs(other).keys() == jobs(cli).keys()


def test_a_job_after_one_that_was_interrupted_by_the_move_is_skipped(cli: Cli, other: Cli) -> None:
    """What follows from an end follows here, too: dependents are skipped, hooks are run."""
    cli.worker("-j", "1")
    first = cli.id("--retries", "0", "--on-failure", "echo told >> log", "sleep 50")
    cli.id("--after", str(first), "true")
    wait_until(lambda: cli.queue.job(first).state is State.RUNNING)
    other("import", "-", stdin=cli("export").stdout)
    assert [jobs(other)[job_id].state for job_id in (1, 2)] == [State.FAILED, State.SKIPPED]
    other("worker", "--drain")
    assert (cli.cwd / "log").read_text() == "told\n"
    cli("cancel", "1")


def test_a_worker_of_the_new_store_runs_what_is_imported(cli: Cli, other: Cli) -> None:
    cli.id("true")
    worker = other.worker()
    other("import", "-", stdin=cli("export").stdout)
    wait_until(lambda: jobs(other)[1].state is State.SUCCEEDED)
    assert worker.poll() is None


def test_what_is_written_takes_the_place_of_files_alone(cli: Cli, tmp_path: Path) -> None:
    cli.id("true")
    (tmp_path / "folder").mkdir()
    cli("export", "folder", code=74)
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    cli("export", "pipe")
    assert reader.communicate()[0].startswith(b'{"jobq":"export"')
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to("real")
    cli("export", "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o600
    assert not [name for name in os.listdir(tmp_path) if name.startswith(("folder.", "pipe.", "real.", "link."))]


def test_an_import_has_one_moment(cli: Cli, other: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ran has stopped in the same step: nobody ever sees a job that runs under a worker of another machine."""
    cli.worker("-j", "1")
    job_id = cli.id("sleep 50")
    wait_until(lambda: cli.queue.job(job_id).state is State.RUNNING)
    text = cli("export").stdout
    steps: list[State] = []
    put = compaction.put_in_place

    def seen(*args: Any) -> None:
        put(*args)
        steps.append(jobs(other)[job_id].state)

    monkeypatch.setattr(compaction, "put_in_place", seen)
    other.queue.copies.import_(text.encode().splitlines(keepends=True))
    assert steps == [State.QUEUED]
    cli("cancel", str(job_id))
