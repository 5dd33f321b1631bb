"""Stores of every format so far, as the version that wrote them left them (`tests/data/format-N`).

Each holds a finished day, jobs in every state that a command leads to, a call, a bulk add, an old job that was
requeued, and the folder of a worker that was killed while a job ran; that job then ended by itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobq import clock
from jobq.command import Record
from jobq.job import Outcome, State
from jobq.store.compaction import compact
from jobq.store.format import BASE, CAPACITIES, FORMAT, HOOKS, JOURNAL
from jobq.store.hint import HINT
from jobq.store.journal import decode_line, encode_line
from jobq.store.store import Store
from tests.conftest import Cli, wait_until
from tests.helpers.processes import supervisors

DATA = Path(__file__).parent.parent / "data"
STATES = {
    2: "failed", 3: "succeeded", 4: "succeeded", 5: "failed", 6: "succeeded", 7: "cancelled",
    8: "queued", 9: "running", 10: "queued", 11: "queued",
}  # fmt: skip


@pytest.fixture(params=sorted(path.name for path in DATA.glob("format-*")))
def old(request: pytest.FixtureRequest, cli: Cli) -> Cli:
    """A copy of an old store."""
    return copy_of(DATA / request.param, cli)


def copy_of(data: Path, cli: Cli) -> Cli:
    """Copy the store of `data`, and make it private again."""
    shutil.copytree(data, cli.store)
    for path in [cli.store, *cli.store.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return cli


def test_an_old_store_is_read_in_full(old: Cli) -> None:
    queue = old.queue
    jobs = {job.id: job for job in [*queue.jobs(), *queue.finished()]}
    assert {job_id: str(job.state) for job_id, job in sorted(jobs.items())} == STATES
    night = jobs[6]
    assert night.command == ("printf", "%s\\n", "a b", "café")
    assert (night.spec.queue, night.spec.priority, night.spec.timeout) == ("other", 10, 600.0)
    assert (night.spec.name, night.spec.log_max) == ("night", 1 << 20)
    assert queue.store.load_environment(night.spec.env)["A"] == "1"
    assert queue.result(4) == '"[1]"'
    assert [attempt.ending.status for attempt in jobs[3].attempts if attempt.ending] == [1, 0]
    assert jobs[5].ending is not None
    assert (jobs[5].ending.outcome, jobs[5].ending.signal) == (Outcome.SIGNAL, 9)
    assert old("log", "6").stdout == "a b\ncafé\n"


def test_the_jobs_of_an_old_store_are_run(old: Cli) -> None:
    """The end that its dead worker never recorded is recorded, waiting jobs run, and new ids follow the old ones."""
    assert old.id("true") == 12
    old("cancel", "10")
    old("worker", "--drain", code=1)
    ninth = old.queue.job(9)
    assert ninth.state is State.SUCCEEDED
    assert len(ninth.attempts) == 1
    assert {n: str(old.queue.job(n).state) for n in (8, 10, 11, 12)} == {
        8: "failed", 10: "cancelled", 11: "succeeded", 12: "succeeded",
    }  # fmt: skip


# -- a store with a past -----------------------------------------------------------------------------

PAST_STATES = {
    "succeeded": {1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 14, 16},
    "failed": {7, 13, 15, 17},
    "cancelled": {18},
    "queued": {19, 20, 21, 22, 23, 24, 25},
    "running": {26},
}


@pytest.fixture
def past(cli: Cli) -> Cli:
    """A store of format 1: three days of finished jobs, three environments, names, a bulk, jobs in every state.

    A retry was waiting when its worker was killed; job 26 ended after its worker had died; 7 has run on two days; 8 was
    removed.
    """
    return copy_of(DATA / "version-1-days", cli)


def states_of(cli: Cli) -> dict[str, set[int]]:
    """Return the ids in each state that occurs, after checking that no job is shown twice."""
    jobs = [*cli.queue.jobs(), *cli.queue.finished()]
    assert len({job.id for job in jobs}) == len(jobs)
    return {state: {job.id for job in jobs if job.state == state} for state in {str(job.state) for job in jobs}}


def test_a_store_with_a_past_is_read(past: Cli) -> None:
    queue = past.queue
    assert states_of(past) == PAST_STATES
    assert {queue.named(name).id for name in ("old-night", "day", "waits")} == {13, 15, 19}
    assert [queue.environment_of(queue.job(job_id))["A"] for job_id in (2, 14, 18)] == ["1", "2", "3"]
    assert [len(queue.job(job_id).attempts) for job_id in (7, 13, 18, 25)] == [2, 2, 0, 2]
    assert queue.open_failures() == (4, [queue.job(job_id) for job_id in (17, 7, 15, 13)])
    assert past("log", "14").stdout == "a b\ncafé\n"
    assert past("show", "8", code=1).stderr.startswith("error: there is no job 8")


def test_a_store_with_a_past_is_worked_on_and_compacted(past: Cli) -> None:
    past("edit", "20", "--priority", "high")
    past("hold", "21")
    past("pause", "later")  # which takes a later format
    past("requeue", "13")
    past("ack", "15", "17")
    assert "queue later is paused" in past("worker", "--drain", code=75).stderr
    now = PAST_STATES | {"queued": {19, 20, 22, 23, 24}, "held": {21}, "failed": {7, 13, 15, 17, 25}}
    now["succeeded"] = PAST_STATES["succeeded"] | {26}
    del now["running"]
    assert states_of(past) == now
    assert compact(str(past.store), clock.now())
    assert states_of(past) == now
    past("resume", "later")
    past("release", "21")
    past("worker", "--drain")
    now["succeeded"] |= {19, *range(20, 25)}
    del now["queued"], now["held"]
    assert compact(str(past.store), clock.now())
    assert states_of(past) == now
    queue = past.queue
    assert queue.open_failures()[0] == 3
    assert queue.store.header is not None
    assert queue.store.header.format == BASE
    assert past.id("true") == 27


# -- a store of format 3 ------------------------------------------------------------------------------


@pytest.fixture
def asking(cli: Cli) -> Cli:
    """A store of format 3: jobs with options of that format, waiting and finished, a resource, a paused queue, keys."""
    return copy_of(DATA / "version-options", cli)


def test_a_store_of_format_3_is_read(asking: Cli) -> None:
    queue = asking.queue
    assert states_of(asking) == {
        "succeeded": {1, 2, 5}, "failed": {3}, "skipped": {4}, "queued": {6, 7, 9, 10}, "held": {8},
    }  # fmt: skip
    assert queue.job(4).skipped_for == 3
    spec = queue.job(6).spec
    assert (spec.needs, spec.locks, spec.delay, spec.idle_timeout) == ((("gpu", 2),), ("db",), 3600.0, 300.0)
    spec = queue.job(7).spec
    assert (spec.after, spec.after_any, spec.backoff, spec.jitter) == ((6,), (2,), "list:1,5", "full")
    assert (queue.job(8).spec.meta, queue.job(8).spec.unique, queue.job(9).spec.at) == ('{"a":1}', True, 4007210400.0)
    assert queue.queues.pauses() == {"night": "disk"}
    assert queue.resources.shared().counts == {"gpu": 4}
    kept = queue.store.read().keys.kept()
    assert {key.identity for key in kept} >= {"key:built:1"}


def test_a_store_of_format_3_is_worked_on(asking: Cli) -> None:
    asking("worker", "--drain", code=None)
    queue = asking.queue
    assert queue.job(10).state is State.SUCCEEDED
    assert asking("log", "10").stdout == "all\n"
    asking("requeue", "3")
    assert queue.job(4).state is State.QUEUED
    asking("queue", "set", "night", "--limit", "1", "--capacity", "5")
    assert queue.store.read() is not None
    assert queue.store.header is not None
    assert queue.store.header.format == CAPACITIES
    asking("queue", "rm", "night")
    assert compact(str(asking.store), clock.now(), keep=1e9)
    queue.store.read()
    assert queue.store.header.format == HOOKS  # finished jobs may ask for what it has


# -- stores of later versions ------------------------------------------------------------------------


def rewritten(path: Path, change: Callable[[Record], None]) -> None:
    """Change every line of a file, as a later version might have written it, and renew its checksum."""
    lines = [decode_line(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        del line["crc"]
        change(line)
    path.write_bytes(b"".join(map(encode_line, lines)))


def of_a_later_version(cli: Cli, **versions: int) -> None:
    """Set these versions in the journal's header, and remove the hint."""
    rewritten(cli.store / JOURNAL, lambda line: line.update(versions) if "jobq" in line else None)
    (cli.store / HINT).unlink(missing_ok=True)


def contents(folder: Path) -> dict[Path, bytes | int]:
    """Return the bytes of each file, and the time of the last change of each folder (ns)."""
    return {
        path: path.read_bytes() if path.is_file() else path.lstat().st_mtime_ns
        for path in [folder, *folder.rglob("*")]
        if not path.is_fifo()
    }


@pytest.fixture
def readable(cli: Cli) -> Iterator[Cli]:
    """A store that this version may only read, with a finished job, a waiting one, and one that runs without a worker."""
    cli("run", "echo said")
    cli.id("sleep 1000")
    worker = cli.worker("-j", "1")
    log = cli.store / "runs" / "0" / "2.1.log"
    wait_until(log.exists)
    cli("add", "--queue", "other", "true")
    worker.kill()
    worker.wait()
    of_a_later_version(cli, min_writer=FORMAT + 1, format=FORMAT + 1)
    yield cli
    of_a_later_version(cli, min_writer=FORMAT, format=FORMAT)
    cli("cancel", "2")
    wait_until(lambda: not supervisors(cli.store))


READING = [
    (["list"], 0), (["list", "--all", "--json"], 0), ([], 0), (["show", "1-3"], 0), (["show", "2", "--json"], 0),
    (["log", "1"], 0), (["log", "-f", "1"], 0), (["doctor"], 0), (["wait", "1"], 0), (["wait", "2", "--timeout", "1.5"], 124),
]  # fmt: skip


def test_a_store_that_may_only_be_read_is_read(readable: Cli) -> None:
    before = contents(readable.store)
    for words, code in READING:
        done = readable(*words, code=code)
        assert "format" not in done.stderr, (words, done.stderr)
    assert "running" in readable("list").stdout
    for words in (
        ["add", "true"],
        ["cancel", "3"],
        ["requeue", "1"],
        ["rm", "1"],
        ["run", "true"],
        ["worker", "--drain"],
    ):
        done = readable(*words, code=78)
        assert f"has format {FORMAT + 1}" in done.stderr
        assert f"up to {FORMAT}" in done.stderr
    assert contents(readable.store) == before


def test_log_follows_a_running_job_of_a_store_that_may_only_be_read(readable: Cli) -> None:
    following = readable.start("log", "-f", "2")
    with pytest.raises(subprocess.TimeoutExpired):
        following.wait(2.5)  # it checks for dead workers once a second
    following.terminate()


def test_a_store_that_may_not_even_be_read_is_left_alone(cli: Cli) -> None:
    cli("run", "true")
    of_a_later_version(cli, min_reader=FORMAT + 1)
    before = contents(cli.store)
    for words in ([], ["list"], ["show", "1"], ["add", "true"], ["doctor", "--accept-loss"]):
        assert "upgrade jobq" in cli(*words, code=78).stderr
    assert contents(cli.store) == before
    of_a_later_version(cli, min_reader=FORMAT)


def marked(value: Any) -> None:
    """Add a key of a later version to every object that may have one."""
    match value:
        case {"jobq": "journal"} | {"snapshot_end": True} | {"cwd": str()} | {"call": str()} | {"n": int()}:
            value["new"] = {"a": [1]}
        case {"outcome": str()} | {"state": str()} | {"id": int(), "command": _}:
            value["new"] = {"a": [1]}
        case {"specs": list()}:
            value["new"] = {"a": [1]}
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        marked(inner)


def count_marks(path: Path) -> dict[str, int]:
    """Count the objects of each kind that have the key, in all lines of a file."""
    counts: dict[str, int] = {}

    def look(value: object) -> None:
        if isinstance(value, dict) and "new" in value:
            assert value["new"] == {"a": [1]}
            kinds = ("jobq", "snapshot_end", "specs", "cwd", "call", "outcome", "n", "state", "command")
            kind = next(kind for kind in kinds if kind in value)
            counts[kind] = counts.get(kind, 0) + 1
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(inner)

    for line in path.read_bytes().splitlines():
        look(decode_line(line))
    return counts


def test_keys_of_a_later_version_survive_everywhere(cli: Cli) -> None:
    (cli.cwd / "tasks.py").write_text("def f(): pass\n")
    cli("call", "--no-check", "tasks:f", ":=1")  # fails: it takes no argument
    cli("call", "--no-check", "--queue", "other", "tasks:f")
    cli("add", "--retries", "1", "exit 1")
    cli("cancel", "3")
    cli("worker", "--drain", "-q", "default", code=1)
    cli("requeue", "1")  # it waits, with an attempt that has ended
    compact(str(cli.store), clock.now())
    rewritten(cli.store / JOURNAL, marked)
    (cli.store / HINT).unlink(missing_ok=True)
    of_a_later_version(cli, format=FORMAT + 1)
    before = count_marks(cli.store / JOURNAL)
    assert before == {"jobq": 1, "specs": 1, "snapshot_end": 1, "cwd": 2, "call": 2, "n": 1, "outcome": 1, "command": 2}
    assert compact(str(cli.store), clock.now())
    assert count_marks(cli.store / JOURNAL) == before
    cli("worker", "--drain", "-q", "default", code=1)  # the job is run again
    assert compact(str(cli.store), clock.now())
    (day,) = (cli.store / "finished").iterdir()
    assert count_marks(day) == {"cwd": 1, "call": 1, "n": 1, "outcome": 1, "command": 1}
    cli("requeue", "1")  # its whole record is put back
    assert count_marks(cli.store / JOURNAL)["command"] == 2
    assert compact(str(cli.store), clock.now())
    assert count_marks(cli.store / JOURNAL) == before
    store = Store(str(cli.store))
    store.read()
    assert store.header is not None
    assert (store.header.format, store.header.min_writer) == (FORMAT + 1, BASE)
    with (cli.store / JOURNAL).open("r+b") as journal:  # repair keeps the key, too
        journal.seek(-20, os.SEEK_END)
        journal.write(b"x")
    cli("doctor", "--accept-loss")
    after = count_marks(cli.store / JOURNAL)
    assert after.pop("snapshot_end", None) is None  # the line that was damaged
    assert {**after, "snapshot_end": 1} == before
    store.close()
