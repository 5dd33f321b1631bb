"""Chains of commands that once led to jobs that wait for ever, run twice, or can't be read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobq.api import Queue
from jobq.errors import Refused, UsageError
from jobq.job import Ending, Outcome
from jobq.moment import Moment
from jobq.options.table import OPTIONS
from jobq.rules import lifecycle, retry
from jobq.rules.order import will_end
from jobq.store import check, compaction
from jobq.store.format import JOB_OPTIONS
from jobq.store.store import Store
from tests.conftest import Cli
from tests.helpers.finished import NOW, end


@pytest.fixture
def queue(store: Store) -> Queue:
    return Queue(store.path)


def states(queue: Queue, *ids: int) -> list[str]:
    return [job.state.value for job in queue.jobs_of(list(ids))]


@pytest.mark.parametrize("text", ["0900-01-01", "9999-12-31", "-1", "9" * 400, "1e308", "600000w", "const:600000w"])
def test_whatever_an_option_accepts_can_be_read_again(text: str) -> None:
    for option in OPTIONS:
        if option.is_value and not option.many:
            try:
                value = option.parse(text)
            except UsageError:
                continue
            assert option.kind.stored.allows(json.loads(json.dumps(value))), option.name


def test_a_time_that_can_not_be_stored_is_refused_on_every_way(cli: Cli) -> None:
    cli("add", "--at", "tomorrow", "true")
    cli("add", "--at", "0900-01-01", "true", code=2)
    cli("add", "--jsonl", "-", stdin='{"command": "true", "at": "0900-01-01"}\n', code=2)
    assert len(cli.queue.jobs()) == 1


def test_a_replacement_is_checked_as_an_edit_is(queue: Queue) -> None:
    first = queue.add("true", key="k")
    with pytest.raises(Refused, match="can't wait for itself"):
        queue.add("true", key="k", on_conflict="replace", after=first.id)
    queue.add("true", name="n")
    with pytest.raises(Refused, match="named n"):
        queue.add("true", key="k", on_conflict="replace", name="n")
    failed = queue.add("false")
    end(queue.store, failed.id, status=1)
    with pytest.raises(Refused, match=f"after job {failed.id}"):
        queue.add("true", key="k", on_conflict="replace", after=failed.id)
    held = queue.add("other", key="k", on_conflict="replace", hold=True)
    assert (held.id, held.state.value, held.job.command) == (first.id, "held", "other")


def test_no_circle_is_closed_through_a_skipped_job(queue: Queue) -> None:
    first = queue.add("false").id
    a = queue.add("A").id
    b = queue.add("B", after=first, after_any=a).id
    end(queue.store, first, status=1)
    x = queue.add("X", after_any=b).id
    assert [str(refused) for refused in queue.edit([a], after_any=[x]).refused] == [f"job {a} can't wait for itself"]


def test_a_skipped_job_stays_so_if_its_name_or_work_is_taken(queue: Queue) -> None:
    first = queue.add("false").id
    old = queue.add("first", after=first, name="n", key="k").id
    end(queue.store, first, status=1)
    new = queue.add("second", name="n", key="k").id
    queue.requeue([first])
    assert states(queue, old, new) == ["skipped", "queued"]
    assert list(check.problems(queue.store)) == []


def test_a_child_that_is_older_than_its_parent_waits_again_too(queue: Queue) -> None:
    first, c = queue.add("false").id, queue.add("C").id
    b = queue.add("B", after=first).id
    queue.edit([c], after=[b])
    end(queue.store, first, status=1)
    assert states(queue, b, c) == ["skipped", "skipped"]
    queue.requeue([first])
    assert states(queue, first, b, c) == ["queued"] * 3


def test_one_expiry_that_skips_another_leaves_one_story(cli: Cli) -> None:
    cli("add", "--expires", "10ms", "true")
    cli("add", "--expires", "10ms", "--after", "1", "true")
    cli("worker", "--drain")
    jobs = cli.queue.jobs_of([1, 2])
    assert jobs[0].state.value == "expired"
    assert jobs[1].state.value in {"expired", "skipped"}
    assert "healthy" in cli("doctor").stdout or cli("doctor").returncode == 0


def test_the_time_to_start_begins_anew_with_a_requeue(queue: Queue) -> None:
    job = lifecycle.cancel(queue.add("true", expires=60.0).job, NOW)
    later = Moment(NOW.wall + 1e6, NOW.boot + 1e6, NOW.boot_id)
    assert retry.left(lifecycle.requeue(job, later), later) == 60
    skipped = lifecycle.skip(queue.add("true", expires=60.0).job, NOW, 1)
    assert retry.left(lifecycle.rearm(skipped, later), later) == 60


def test_the_time_to_start_counts_from_when_it_may_start(queue: Queue) -> None:
    job = queue.add("true", delay=100.0, expires=10.0).job
    assert job.spec.asked is not None
    assert retry.left(job, job.spec.asked) == pytest.approx(110)
    at = queue.add("true", at=NOW.wall + 100, expires=10.0).job
    assert retry.left(at, NOW) == 110


def test_a_store_that_has_had_such_a_job_keeps_its_format(queue: Queue) -> None:
    job = queue.add("true", no_retry_on="7")
    end(queue.store, job.id)
    assert compaction.compact(queue.path, NOW)
    assert compaction.compact(queue.path, NOW)
    assert queue.exists()
    assert queue.store.header is not None
    assert queue.store.header.format == JOB_OPTIONS


def test_an_edit_of_one_time_keeps_the_other(queue: Queue) -> None:
    job = queue.add("true", delay=1000.0)
    (edited,) = queue.edit([job.id], expires=60.0).jobs
    assert edited.spec.delay == pytest.approx(1000, abs=20)
    (edited,) = queue.edit([job.id], at=NOW.wall + 1e9).jobs
    assert (edited.spec.at, edited.spec.delay) == (NOW.wall + 1e9, None)
    (edited,) = queue.edit([job.id], delay=5.0).jobs
    assert (edited.spec.at, edited.spec.delay) == (None, 5.0)


def test_a_job_that_runs_while_its_parent_is_requeued_is_not_retried_after_the_wrong_end(queue: Queue) -> None:
    parent = queue.add("false").id
    child = queue.add("x", after_fail=parent).id
    end(queue.store, parent, status=1)
    with queue.store.transaction(NOW.wall) as changes:
        changes.put(lifecycle.claim(changes.jobs[child], NOW, owner="w1", supervisor="w1/0"))
    queue.requeue([parent])
    end(queue.store, parent)
    with queue.store.transaction(NOW.wall) as changes:
        job = changes.jobs[child]
        changes.put(lifecycle.finish(job, Ending(Outcome.EXIT, status=1, started_at=1.0), NOW, 0.5))
    assert states(queue, child) == ["skipped"]


def test_work_that_was_done_meanwhile_is_not_done_again_by_a_requeue(queue: Queue) -> None:
    first = queue.add("x", once=True, key_ttl=1e9).id
    end(queue.store, first, status=1)
    second = queue.add("x", once=True, key_ttl=1e9).id
    end(queue.store, second)
    (refused,) = queue.requeue([first]).refused
    assert str(refused) == f"job {first} is failed: it can't run: job {second} has done its work"


def test_a_cancel_of_parent_and_child_is_no_error(cli: Cli) -> None:
    cli("add", "true")
    cli("add", "--after", "1", "true")
    cli("cancel", "1", "2")


def test_run_waits_for_the_time_of_its_job(cli: Cli) -> None:
    assert cli("run", "--in", "300ms", "echo hi").stdout == "hi\n"


def test_jobs_of_one_request_can_not_share_a_key(cli: Cli) -> None:
    assert "can't share one key" in cli("add", "--key", "k", "echo", ":::", "a", "b", code=2).stderr
    assert "2 new, 1 already there" in cli("add", "--once", "echo", ":::", "a", "a", "b").stderr


def test_braces_inside_quotes_are_refused_and_those_of_the_shell_left_alone(cli: Cli) -> None:
    for line in ('cat "{}"', "cat '{}'", 'cat "x $(ls {})"'):
        assert "inside quotes" in cli("add", line, ":::", "a", code=2).stderr
    shown = cli("add", "--dry-run", "f() { echo ${1} ${#}; }; f {}", ":::", "a").stdout
    assert shown == "f() { echo ${1} ${#}; }; f a\n"
    cli("add", "echo {" + "1" * 5000 + "}", ":::", "a")


def test_options_can_be_taken_back(cli: Cli) -> None:
    cli("add", "--timeout", "5", "--name", "x", "true")
    cli("add", "--after", "1", "--in", "1h", "true")
    cli("edit", "1", "--timeout", "none", "--name", "none")
    cli("edit", "2", "--after", "none", "--in", "none")
    one, two = cli.queue.jobs_of([1, 2])
    assert (one.spec.timeout, one.spec.name, two.spec.after, two.spec.delay) == (None, None, (), None)


def test_a_dry_run_refuses_what_add_refuses(cli: Cli) -> None:
    cli("add", "--dry-run", "--from", "-", stdin="a\nb\0\n", code=2)
    cli("add", "--dry-run", "--cwd", "/nowhere", "true", code=2)
    assert (
        "line 1" in cli("add", "--dry-run", "--jsonl", "-", stdin='{"command": "x", "timeout": "zz"}\n', code=2).stderr
    )


@pytest.mark.parametrize(
    "line", ['{"command": "x", "cwd": 5}', '{"command": "x", "cwd": ["a"]}', '{"call": "a:b", "python": 5}']
)
def test_a_wrong_type_is_no_bug(cli: Cli, line: str) -> None:
    cli("add", "--jsonl", "-", stdin=f"{line}\n", code=2)


@pytest.mark.parametrize(
    "options",
    [
        {"needs": [("gpu", 0)]}, {"needs": {"gpu": -1}}, {"needs": [["gpu", 10**30]]}, {"needs": "gpu=00" + "9" * 5000},
        {"needs": [("gpu",)]}, {"needs": 5}, {"labels": [("a", 5, 6)]}, {"labels": {"a\n": "x"}}, {"labels": [None]},
        {"locks": [5]}, {"locks": 5},
    ],
)  # fmt: skip
def test_a_pair_that_can_not_be_stored_is_refused(queue: Queue, options: dict[str, Any]) -> None:
    queue.resources.set("gpu", 4)
    with pytest.raises(UsageError):
        queue.add("true", **options)
    assert Store(queue.path).read().jobs == {}


def test_a_job_after_an_older_one_that_waits_for_it_is_no_end(queue: Queue) -> None:
    one, two = queue.add("x").id, queue.add("y").id
    queue.edit([one], after=[two])
    jobs = queue.jobs()
    assert len(will_end(jobs, queue.store.state.dependents.waits_for, NOW, lambda _: True)) == 2
