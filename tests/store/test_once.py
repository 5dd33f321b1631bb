"""Work that is done once: who answers for it, for how long, and what a second add does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from jobq.api import Queue
from jobq.errors import Refused, UsageError
from jobq.moment import Moment
from jobq.store import compaction
from jobq.store.store import Store
from tests.conftest import Cli, wait_until
from tests.helpers.finished import NOW, end

WEEK = 604_800.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[Moment]:
    """The time of all commands of this test."""
    times = [NOW]
    monkeypatch.setattr("jobq.clock.now", lambda: times[-1])
    return times


@pytest.fixture
def queue(store: Store, clock: list[Moment]) -> Queue:
    return Queue(store.path)


def nothing(_queue: Queue) -> None:
    pass


def compact(queue: Queue) -> None:
    assert compaction.compact(queue.path, NOW)
    queue.store.close()  # the next read begins with the snapshot


AFTER = pytest.mark.parametrize("then", [nothing, compact])
OPTIONS = pytest.mark.parametrize("options", [{"key": "k"}, {"once": True}, {"unique": True}], ids=min)


@OPTIONS
@AFTER
def test_an_unfinished_job_answers(queue: Queue, options: dict[str, object], then: Callable[[Queue], None]) -> None:
    first = queue.add("true", **options)  # type: ignore[arg-type]
    then(queue)
    assert queue.add("true", **options).id == first.id  # type: ignore[arg-type]
    queue.hold([first.id])
    assert queue.add("true", **options).id == first.id  # type: ignore[arg-type]


@OPTIONS
@AFTER
def test_a_job_that_succeeded_answers_unless_only_unfinished_ones_count(
    queue: Queue, options: dict[str, object], then: Callable[[Queue], None]
) -> None:
    first = queue.add("true", **options)  # type: ignore[arg-type]
    end(queue.store, first.id)
    then(queue)
    then(queue)
    again = queue.add("true", **options).id  # type: ignore[arg-type]
    assert (again == first.id) is ("unique" not in options)


@OPTIONS
@AFTER
def test_a_job_that_failed_does_not_answer(
    queue: Queue, options: dict[str, object], then: Callable[[Queue], None]
) -> None:
    first = queue.add("false", **options)  # type: ignore[arg-type]
    end(queue.store, first.id, status=1)
    then(queue)
    assert queue.add("false", **options).id != first.id  # type: ignore[arg-type]


@AFTER
def test_a_success_answers_as_long_as_it_lives(
    queue: Queue, clock: list[Moment], then: Callable[[Queue], None]
) -> None:
    first = queue.add("true", once=True)
    end(queue.store, first.id)
    then(queue)
    clock.append(Moment(NOW.wall + WEEK - 1, NOW.boot, NOW.boot_id))
    assert queue.add("true", once=True).id == first.id
    clock.append(Moment(NOW.wall + WEEK + 1, NOW.boot, NOW.boot_id))
    assert queue.add("true", once=True).id != first.id


@AFTER
def test_a_job_that_is_removed_answers_no_more_and_others_are_no_matter(
    queue: Queue, then: Callable[[Queue], None]
) -> None:
    first, other = queue.add("true", once=True), queue.add("false", once=True)
    end(queue.store, first.id)
    end(queue.store, other.id)
    then(queue)
    queue.remove([other.id])
    then(queue)
    assert queue.add("true", once=True).id == first.id
    assert queue.add("false", once=True).id != other.id


def test_the_same_work_is_the_same_command_in_the_same_directory(queue: Queue) -> None:
    first = queue.add(["echo", "1"], once=True, cwd="/")
    assert queue.add(["echo", "1"], once=True, cwd="/", priority=5).id == first.id
    assert queue.add(["echo", "1"], once=True, cwd="/tmp").id != first.id
    assert queue.add("echo 1", once=True, cwd="/").id != first.id
    assert queue.add(["echo", "1"], cwd="/").id != first.id  # which asks for nothing
    call = queue.call("m:f", [1], {"a": 2}, once=True)
    assert queue.call("m:f", [1], {"a": 2}, once=True).id == call.id
    assert queue.call("m:f", [2], {"a": 2}, once=True).id != call.id


def test_a_conflict_is_skipped_or_edits_the_waiting_job_or_fails(queue: Queue) -> None:
    first = queue.add("true", key="k")
    edited = queue.add("echo other", key="k", on_conflict="replace", priority=7)
    assert (edited.id, edited.job.command, edited.job.spec.priority) == (first.id, "echo other", 7)
    with pytest.raises(Refused, match="job 1 is the same work"):
        queue.add("true", key="k", on_conflict="fail")
    end(queue.store, first.id)
    assert queue.add("third", key="k", on_conflict="replace").job.command == "echo other"  # it is done


def test_a_requeue_does_not_make_two_of_the_same_work(queue: Queue) -> None:
    first = queue.add("false", key="k")
    end(queue.store, first.id, status=1)
    second = queue.add("false", key="k")
    (refused,) = queue.requeue([first.id]).refused
    assert str(refused) == f"job 1 is failed: it can't run: job {second.id} is the same work, and is queued"
    queue.cancel([second.id])
    assert queue.requeue([first.id]).refused == []


def test_a_sweep_added_again_runs_only_what_is_missing_or_failed(queue: Queue) -> None:
    commands = [f"run {n}" for n in range(500)]
    first = queue.enqueue(commands, lambda: queue.spec(once=True))
    assert (len(first.new), list(first.ids)) == (500, list(range(1, 501)))
    for job_id in first.ids:
        end(queue.store, job_id, status=1 if job_id <= 20 else 0)
    compact(queue)
    again = queue.enqueue([*commands, "run 0"], lambda: queue.spec(once=True))
    assert list(again.new) == list(range(501, 521))
    assert list(again.ids) == [*range(501, 521), *range(21, 501), 501]


@pytest.mark.parametrize("key", ["", " ", "a\nb", "x" * 501])
def test_what_is_no_key_is_refused(queue: Queue, key: str) -> None:
    with pytest.raises(UsageError, match="can't be a key"):
        queue.add("true", key=key)


def test_the_command_line_prints_the_id_of_the_job_that_answers(cli: Cli) -> None:
    assert cli("add", "--key", "k", "true").stdout == "1\n"
    again = cli("add", "--key", "k", "true")
    assert again.stdout == "1\n"
    assert "deduplicated: job 1 is the same work, and is queued" in again.stderr
    cli("add", "--key", "k", "--on-conflict", "fail", "true", code=1)
    swept = cli("add", "--once", "--from", "-", stdin="a\nb\nc\n")
    assert swept.stdout == "2-4\n"
    swept = cli("add", "--once", "--from", "-", stdin="a\nb\nc\nd\n")
    assert swept.stdout == "2-5\n"
    assert "1 new, 3 already there" in swept.stderr
    assert "no such option" in cli("run", "--key", "k", "true", code=2).stderr
    assert "no such option" in cli("edit", "1", "--hold", code=2).stderr


def test_a_job_is_added_held(cli: Cli) -> None:
    job_id = cli.id("--hold", "true")
    assert cli("list", "-s", "held", "--format", "{id}").stdout.split() == [str(job_id)]
    cli("release", str(job_id))
    cli("worker", "--drain")


ADD = """
import sys
from jobq.api import Queue
sys.stdin.readline()
print(Queue(sys.argv[1]).add("true", key="one").id)
"""


def test_of_many_processes_one_makes_the_job(cli: Cli) -> None:
    cli("add", "first")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ADD, str(cli.store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        for _ in range(16)
    ]  # fmt: skip
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[0].strip() for process in started]
    assert told == ["2"] * 16
    wait_until(lambda: len(json.loads(cli("list", "--json").stdout)["jobs"]) == 2)
