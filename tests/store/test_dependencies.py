"""Jobs that are after others: who waits, who is skipped, and who waits again after a requeue."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobq.api import Queue
from jobq.errors import NotFound, UsageError
from jobq.job import Ending, Outcome, State
from jobq.rules import lifecycle
from jobq.rules.dependencies import rules_out
from jobq.rules.reasons import why_waiting
from jobq.store import check, compaction
from jobq.store.store import Store
from tests.helpers.finished import NOW, end


@pytest.fixture
def queue(store: Store) -> Queue:
    return Queue(store.path)


def add(queue: Queue, **options: object) -> int:
    return queue.add("true", **options).id  # type: ignore[arg-type]


def states(queue: Queue, *ids: int) -> list[str]:
    return [job.state.value for job in queue.jobs_of(list(ids))]


def ready(queue: Queue) -> list[int]:
    """The ids that a worker could claim now, as a process that has just come reads them."""
    state = Store(queue.path).read()
    return [job.id for job in state.waiting.take(state.jobs, 1_000_000, NOW)]


def test_a_job_starts_after_the_one_that_it_is_after(queue: Queue) -> None:
    build = add(queue, name="build")
    test = add(queue, after="build")
    lint = add(queue, after_any=[build])
    assert ready(queue) == [build]
    around = queue.situation(queue.jobs())
    assert why_waiting(queue.job(test), around) == "after 1 (build)"
    end(queue.store, build)
    assert ready(queue) == [test, lint]


@pytest.mark.parametrize(
    ("option", "status", "expected"),
    [
        ("after", 0, "queued"),
        ("after", 3, "skipped"),
        ("after_any", 0, "queued"),
        ("after_any", 3, "queued"),
        ("after_fail", 0, "skipped"),
        ("after_fail", 3, "queued"),
    ],
)
@pytest.mark.parametrize("added", ["before", "after", "after compaction"])
def test_the_end_of_the_parent_decides(queue: Queue, option: str, status: int, expected: str, added: str) -> None:
    parent = add(queue)
    child = add(queue, **{option: parent}) if added == "before" else 0
    end(queue.store, parent, status=status)
    if added == "after compaction":
        compaction.compact(queue.path, NOW)
    child = child or add(queue, **{option: parent})
    assert states(queue, child) == [expected]
    assert ready(queue) == ([child] if expected == "queued" else [])
    assert queue.job(child).skipped_for == (parent if expected == "skipped" else None)


@pytest.mark.parametrize("way", ["cancel", "remove", "expire"])
def test_a_parent_that_never_runs_skips_what_is_after_it(queue: Queue, way: str) -> None:
    parent = add(queue, expires=1.0)
    child, other = add(queue, after=parent), add(queue, after_any=parent)
    if way == "expire":
        with queue.store.transaction(NOW.wall) as transaction:
            transaction.put(lifecycle.expire(transaction.jobs[parent], NOW))
    else:
        getattr(queue, way)([parent])
    assert states(queue, child, other) == ["skipped", "queued"]
    assert ready(queue) == [other]


def test_a_held_child_is_skipped_too_and_a_retry_of_the_parent_skips_nobody(queue: Queue) -> None:
    parent = add(queue)
    child = add(queue, after=parent)
    queue.hold([child])
    with queue.store.transaction(NOW.wall) as transaction:
        job = lifecycle.claim(transaction.jobs[parent], NOW, owner="w1", supervisor="w1/0")
        transaction.put(job)
        transaction.put(lifecycle.finish(job, Ending(Outcome.EXIT, status=1, started_at=1.0), NOW, 0.5))
    assert states(queue, parent, child) == ["queued", "held"]
    queue.cancel([parent])
    assert states(queue, child) == ["skipped"]


@pytest.mark.parametrize("compacted", [False, True])
def test_the_whole_branch_is_skipped_for_its_first_failure_and_rearmed_with_it(queue: Queue, compacted: bool) -> None:
    build, other = add(queue), add(queue)
    test = add(queue, after=build)
    pack = add(queue, after=[test, other])
    notify = add(queue, after_fail=test)
    end(queue.store, build, status=1)
    assert states(queue, test, pack, notify) == ["skipped", "skipped", "queued"]
    assert [job.skipped_for for job in queue.jobs_of([test, pack])] == [build, build]
    if compacted:
        assert compaction.compact(queue.path, NOW)
    assert queue.requeue([build]).refused == []
    assert states(queue, build, test, pack) == ["queued"] * 3
    assert ready(queue) == [build, other]  # notify waits for test again
    end(queue.store, build, other)
    end(queue.store, test)
    assert states(queue, notify) == ["skipped"]
    assert ready(queue) == [pack]


@pytest.mark.parametrize("compacted", [False, True])
def test_a_job_with_two_failed_parents_waits_for_both_to_be_requeued(queue: Queue, compacted: bool) -> None:
    one, two = add(queue), add(queue)
    child = add(queue, after=[one, two])
    end(queue.store, one, status=1)
    end(queue.store, two, status=1)
    if compacted:
        assert compaction.compact(queue.path, NOW)
    queue.requeue([one])
    assert (states(queue, child), queue.job(child).skipped_for) == (["skipped"], two)
    queue.requeue([two])
    assert states(queue, child) == ["queued"]
    assert ready(queue) == [one, two]


def test_a_job_added_after_a_failure_is_rearmed_as_well(queue: Queue) -> None:
    parent = add(queue)
    end(queue.store, parent, status=1)
    assert compaction.compact(queue.path, NOW)
    child = add(queue, after=parent)
    assert compaction.compact(queue.path, NOW)
    queue.requeue([parent])
    assert states(queue, parent, child) == ["queued", "queued"]


@pytest.mark.parametrize("compacted", [False, True])
def test_a_job_that_was_held_is_held_again_when_it_is_rearmed(queue: Queue, compacted: bool) -> None:
    parent = add(queue)
    child, released = add(queue, after=parent), add(queue, after=parent)
    queue.hold([child, released])
    queue.release([released])
    end(queue.store, parent, status=1)
    late = add(queue, after=parent, hold=True)
    assert states(queue, child, released, late) == ["skipped"] * 3
    if compacted:
        assert compaction.compact(queue.path, NOW)
    assert queue.requeue([parent, child]).refused == []
    assert states(queue, child, released, late) == ["held", "queued", "held"]
    end(queue.store, parent)
    assert ready(queue) == [released]
    queue.release([child])
    assert ready(queue) == [child, released]


def test_a_skipped_job_is_not_requeued_before_its_parent(queue: Queue) -> None:
    parent = add(queue)
    child = add(queue, after=parent)
    end(queue.store, parent, status=1)
    (refused,) = queue.requeue([child]).refused
    assert str(refused) == "job 2 is skipped: it can't be requeued to run after job 1, which is failed"
    assert "jobq requeue 1" in refused.hint
    assert queue.requeue([child, parent]).refused == []
    assert ready(queue) == [parent]


def test_what_can_not_be_waited_for_is_refused(queue: Queue) -> None:
    one, two = add(queue), add(queue)
    for wrong, error in ((7, NotFound), ("nobody", NotFound), ("7-3", UsageError), (True, UsageError)):
        with pytest.raises(error):
            add(queue, after=wrong)
    three = add(queue, after=[one, two])
    assert [str(refused) for refused in queue.edit([one], after=[three]).refused] == ["job 1 can't wait for itself"]
    assert [str(refused) for refused in queue.edit([one], after_any=[one]).refused] == ["job 1 can't wait for itself"]
    end(queue.store, two, status=1)
    (refused,) = queue.edit([one], after=[two]).refused
    assert "it can't be edited to run after job 2, which is failed" in str(refused)
    assert ready(queue) == [one]


def test_an_edit_changes_what_is_waited_for(queue: Queue) -> None:
    one, two, three = add(queue), add(queue), add(queue)
    assert queue.edit([one], after=[three]).refused == []
    assert ready(queue) == [two, three]
    queue.edit([one], after=[])
    assert ready(queue) == [one, two, three]


def test_ranges_and_states_are_what_they_are_when_the_job_is_added(queue: Queue) -> None:
    for _ in range(3):
        add(queue)
    last = add(queue, after=["1-2", "@queued"])
    add(queue)
    assert queue.job(last).spec.after == (1, 2, 3)


KINDS = ("after", "after_any", "after_fail")


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(data=st.data())
def test_random_graphs_behave_as_the_plain_rule_says(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Adds, ends, cancels, requeues and compactions; the model looks at every edge each time."""
    queue = Queue(str(tmp_path_factory.mktemp("graph") / "store"))
    for _ in range(data.draw(st.integers(3, 25))):
        ids = list(range(1, queue.store.read().next_id))
        jobs = {job.id: job for job in queue.jobs_of(ids)} if ids else {}
        what = data.draw(st.sampled_from(["add", "add", "end", "end", "cancel", "requeue", "compact"]))
        if what == "add" or not jobs:
            parents = data.draw(st.lists(st.sampled_from(ids), max_size=3, unique=True)) if ids else []
            add(queue, **{data.draw(st.sampled_from(KINDS)): parents})
        elif what == "end" and (can := ready(queue)):
            end(queue.store, data.draw(st.sampled_from(can)), status=data.draw(st.sampled_from([0, 1])))
        elif what == "cancel":
            queue.cancel([data.draw(st.sampled_from(ids))])
        elif what == "requeue":
            queue.requeue([data.draw(st.sampled_from(ids))])
        elif what == "compact":
            compaction.compact(queue.path, NOW)
        obeys_the_rule(queue)


def obeys_the_rule(queue: Queue) -> None:
    """Check every job against every parent."""
    last = queue.store.read().next_id - 1
    if not last:
        return
    jobs = {job.id: job for job in queue.jobs_of([*range(1, last + 1)])}
    may_run = set(ready(queue))
    for job in jobs.values():
        parents = [jobs[p] for p in (*job.spec.after, *job.spec.after_any, *job.spec.after_fail)]
        dead = [p for p in parents if p.state.final and rules_out(job.spec, p.id, p.state)]
        if job.state is State.QUEUED:
            assert not dead, f"job {job.id} waits, and job {dead[0].id} is {dead[0].state}"
            assert (job.id in may_run) == all(p.state.final for p in parents)
        elif job.state is State.SKIPPED:
            assert dead
            assert job.skipped_for is not None
            assert jobs[job.skipped_for].state.final
            assert jobs[job.skipped_for].skips
    assert list(check.problems(queue.store)) == []


def many(queue: Queue, count: int, **options: object) -> Sequence[int]:
    return queue.add_many(["true"] * count, lambda: queue.spec(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [0, 1])
def test_a_diamond_of_a_million_edges_is_one_group(queue: Queue, status: int) -> None:
    top = add(queue)
    middle = many(queue, 1000, after=top)
    bottom = many(queue, 1000, after=list(middle))
    end(queue.store, top, status=status)
    assert len(ready(queue)) == (1000 if status == 0 else 0)
    if status == 0:
        end(queue.store, *middle)
        assert ready(queue) == list(bottom)
    else:
        assert set(states(queue, *middle, *bottom)) == {"skipped"}
        queue.requeue([top])
        assert set(states(queue, *middle, *bottom)) == {"queued"}


def test_a_long_chain_is_skipped_and_rearmed(queue: Queue) -> None:
    first = last = add(queue)
    for _ in range(1000):
        last = many(queue, 1, after=last)[0]
    end(queue.store, first, status=1)
    assert queue.job(last).skipped_for == first
    queue.requeue([first])
    assert ready(queue) == [first]
    assert states(queue, last) == ["queued"]
