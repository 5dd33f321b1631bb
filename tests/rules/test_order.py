"""The order of claims, checked against the simplest program with the same result: sort, then filter."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.job import Attempt, Job, Spec, State
from jobq.moment import Due, Moment
from jobq.rules.order import Waiting, is_ready
from jobq.rules.ranks import claim_key, places_before
from jobq.rules.reasons import Situation, why_waiting
from jobq.rules.serving import LiveWorker, is_near, why_unserved
from jobq.rules.sharing import PATIENCE
from jobq.rules.timers import smallest

NOW = Moment(1_000.0, 100.0, "boot")
SPEC = Spec("/", "")

specs = st.builds(
    lambda queue, priority, runner, slots: SPEC._replace(queue=queue, priority=priority, runner=runner, slots=slots),
    st.sampled_from(["a", "b"]),
    st.integers(-1, 1),
    st.sampled_from([None, None, None, "r1"]),
    st.sampled_from([1, 1, 1, 2, 3]),
)
ages = st.sampled_from([0.0, NOW.wall - 1])  # added long ago, just now
places = st.none() | st.floats(0.5, 25.5)
dues = st.sampled_from([None, None, Due.after(NOW, -5), Due.after(NOW, 5), Due(NOW.wall - 1, 9_999.0, "old boot")])
states = st.sampled_from([State.QUEUED, State.QUEUED, State.QUEUED, State.RUNNING, State.HELD, State.FAILED])


@st.composite
def queues(draw: st.DrawFn) -> dict[int, Job]:
    jobs = {}
    for job_id in range(1, draw(st.integers(1, 25))):
        state = draw(states)
        due = draw(dues) if state is State.QUEUED else None
        place = draw(places)
        attempts = (Attempt(1, "w", "w/0", 0.0),) if state is State.RUNNING else ()
        jobs[job_id] = Job(
            job_id, draw(specs), "true", draw(ages), state, retries_used=4, due=due, place=place, attempts=attempts
        )
    return jobs


def reference(
    jobs: dict[int, Job],
    count: int,
    runner: str | None,
    served: list[str] | None,
    limits: dict[str, int],
    free: int = 10**9,
    slots: int = 10**9,
) -> list[int]:
    running = Counter(job.spec.queue for job in jobs.values() if job.state is State.RUNNING)
    taken: list[int] = []
    for job in sorted(jobs.values(), key=claim_key):
        if len(taken) == count or not is_ready(job, NOW) or job.spec.runner != runner:
            continue
        if served is not None and job.spec.queue not in served:
            continue
        if job.spec.queue in limits and running[job.spec.queue] >= limits[job.spec.queue]:
            continue
        if min(job.spec.slots, slots) > free:
            if NOW.wall - max(job.added_at, job.due.wall if job.due else 0.0) > PATIENCE:
                break
            continue
        free -= min(job.spec.slots, slots)
        running[job.spec.queue] += 1
        taken.append(job.id)
    return taken


@given(
    queues(),
    st.integers(0, 10),
    st.sampled_from([None, "r1"]),
    st.sampled_from([None, ["a"], ["a", "b"], []]),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 4)),
    st.integers(1, 8),
    st.integers(1, 4),
)
def test_claims_go_by_priority_then_place_within_limits_and_slots(
    jobs: dict[int, Job],
    count: int,
    runner: str | None,
    served: list[str] | None,
    limits: dict[str, int],
    free: int,
    slots: int,
) -> None:
    waiting = Waiting()
    for job in jobs.values():
        waiting.note(None, job)
    waiting.wake(jobs, NOW)
    took = waiting.take(jobs, count, NOW, runner=runner, queues=served, limits=limits, free=free, slots=slots)
    assert [job.id for job in took] == reference(jobs, count, runner, served, limits, free, slots)


@given(queues(), st.lists(st.tuples(st.integers(1, 25), states), max_size=30))
def test_the_order_follows_every_change(jobs: dict[int, Job], changes: list[tuple[int, State]]) -> None:
    waiting = Waiting()
    for job in jobs.values():
        waiting.note(None, job)
    for job_id, state in changes:
        before = jobs.get(job_id)
        if before is not None:
            attempts = (Attempt(1, "w", "w/0", 0.0),) if state is State.RUNNING else ()
            jobs[job_id] = before._replace(state=state, due=None, attempts=attempts)
            waiting.note(before, jobs[job_id])
    waiting.wake(jobs, NOW)
    assert [job.id for job in waiting.take(jobs, 100, NOW)] == reference(jobs, 100, None, None, {})
    unfinished = [job for job in jobs.values() if job.state in {State.QUEUED, State.RUNNING}]
    assert sum(waiting.active.values()) == len(unfinished)


def test_a_job_that_is_put_back_can_be_taken_again() -> None:
    jobs = {1: Job(1, SPEC, "true", 0.0)}
    waiting = Waiting()
    waiting.note(None, jobs[1])
    (job,) = waiting.take(jobs, 5, NOW)
    assert list(waiting.take(jobs, 5, NOW)) == []
    waiting.push(job)
    assert list(waiting.take(jobs, 5, NOW)) == [job]


def test_priority_goes_before_age() -> None:
    jobs = {
        n: Job(n, SPEC._replace(priority=priority), "true", 0.0) for n, priority in ((1, 0), (2, -1), (3, 5), (4, 5))
    }
    waiting = Waiting()
    for job in jobs.values():
        waiting.note(None, job)
    assert [job.id for job in waiting.take(jobs, 5, NOW)] == [3, 4, 1, 2]


def test_a_limit_counts_the_jobs_that_are_taken_at_the_same_time() -> None:
    jobs = {n: Job(n, SPEC, "true", 0.0) for n in range(1, 6)}
    jobs[1] = jobs[1]._replace(state=State.RUNNING)
    waiting = Waiting()
    for job in jobs.values():
        waiting.note(None, job)
    assert [job.id for job in waiting.take(jobs, 5, NOW, limits={SPEC.queue: 3})] == [2, 3]


def test_jobs_that_are_added_at_once_come_after_earlier_jobs() -> None:
    jobs = {n: Job(n, SPEC, "true", 0.0) for n in range(1, 6)}
    waiting = Waiting()
    waiting.note(None, jobs[1])
    waiting.add(SPEC, range(2, 4))
    waiting.add(SPEC, range(4, 6))
    assert waiting.about_ready() == sum(waiting.active.values()) == 5
    assert [job.id for job in waiting.take(jobs, 9, NOW)] == [1, 2, 3, 4, 5]


def test_a_job_that_became_due_waits_again_when_the_clock_is_set_back() -> None:
    """The wall clock decides about times of another boot."""
    jobs = {1: Job(1, SPEC, "true", 0.0, retries_used=8, due=Due(NOW.wall + 10, 50.0, "old boot"))}
    waiting = Waiting()
    waiting.note(None, jobs[1])
    assert waiting.wake(jobs, NOW._replace(wall=NOW.wall + 10)) is None
    assert list(waiting.take(jobs, 1, NOW)) == []
    assert waiting.wake(jobs, NOW) == 10.0
    assert waiting.wake(jobs, NOW._replace(wall=NOW.wall + 9.5)) == 0.5
    assert waiting.wake(jobs, NOW._replace(wall=NOW.wall + 10)) is None
    assert [job.id for job in waiting.take(jobs, 1, NOW._replace(wall=NOW.wall + 10))] == [1]


def test_wake_returns_the_time_until_the_next_job_is_due() -> None:
    jobs = {n: Job(n, SPEC, "true", 0.0, due=Due.after(NOW, 10.0 * n)) for n in (1, 2)}
    waiting = Waiting()
    for job in jobs.values():
        waiting.note(None, job)
    assert waiting.wake(jobs, NOW) == 10.0
    later = NOW._replace(boot=NOW.boot + 10)
    assert waiting.wake(jobs, later) == 10.0
    assert [job.id for job in waiting.take(jobs, 5, later)] == [1]


@given(st.lists(st.integers()), st.integers(0, 20))
def test_smallest_returns_the_first_items_of_a_heap(numbers: list[int], count: int) -> None:
    heap = sorted(numbers)
    assert smallest(heap, count) == heap[:count]


def test_why_waiting_gives_the_reason_in_words() -> None:
    served, unserved = Situation(NOW, (LiveWorker("w1"),)), Situation(NOW)
    job = Job(1, SPEC, "true", 0.0)
    retrying = job._replace(due=Due.after(NOW, 30), retries_used=2)
    assert why_waiting(job, served) == "ready"
    assert why_waiting(job._replace(due=Due.after(NOW, 0.4)), served) == "retry 0/3 in 0 s"
    assert why_waiting(job._replace(due=Due.after(NOW, 0.0)), served) == "ready"
    mine = job._replace(spec=SPEC._replace(runner="r1"))
    assert why_waiting(mine, unserved) == "waits for its own jobq run"
    over = served._replace(dead=frozenset({"r1"}))
    assert why_waiting(mine, over) == "its jobq run is over; the next worker cancels it"
    assert why_waiting(job, unserved) == "no worker is running"
    assert why_waiting(retrying, served) == "retry 2/3 in 30 s"
    assert why_waiting(retrying, unserved) == "retry 2/3 in 30 s; no worker is running"
    assert why_waiting(job._replace(state=State.HELD), served) == "held"
    assert why_waiting(job._replace(state=State.RUNNING), served) == ""


def test_a_pause_is_a_reason_of_every_job_of_its_queue() -> None:
    job, around = Job(1, SPEC, "true", 0.0), Situation(NOW, (LiveWorker("w1"),))
    assert why_waiting(job, around._replace(pauses={"default": "disk"})) == "queue default is paused: disk"
    assert why_waiting(job, around._replace(pauses={"*": ""})) == "all queues are paused"
    assert why_waiting(job, around._replace(pauses={"other": ""})) == "ready"
    mine = job._replace(spec=SPEC._replace(runner="r1"))
    assert why_waiting(mine, around._replace(pauses={"*": "later"})) == "all queues are paused: later"


def test_nothing_is_taken_of_a_paused_queue() -> None:
    jobs, waiting = {n: Job(n, SPEC._replace(queue="ab"[n % 2]), "true", 0.0) for n in range(1, 5)}, Waiting()
    for job in jobs.values():
        waiting.note(None, job)
    assert list(waiting.take(jobs, 5, NOW, paused={"*"})) == []
    assert waiting.about_ready(paused={"a"}) == 2
    assert [job.id for job in waiting.take(jobs, 5, NOW, paused={"a"})] == [1, 3]


def test_a_parked_job_stops_no_other_and_comes_back_to_its_place() -> None:
    jobs, waiting = {n: Job(n, SPEC, "true", 0.0) for n in range(1, 5)}, Waiting()
    waiting.add(SPEC, range(1, 5))
    waiting.park("a", {1, 2}, jobs)
    waiting.park("b", {2}, jobs)
    assert [job.id for job in waiting.take(jobs, 1, NOW)] == [3]
    waiting.park("a", (), jobs)
    assert [job.id for job in waiting.take(jobs, 1, NOW)] == [1]
    waiting.park("b", (), jobs)
    assert [job.id for job in waiting.take(jobs, 5, NOW)] == [2, 4]


def test_an_edited_job_is_taken_by_its_new_priority_only() -> None:
    jobs, waiting = {n: Job(n, SPEC, "true", 0.0) for n in range(1, 4)}, Waiting()
    waiting.add(SPEC, range(1, 4))
    urgent = jobs[3]._replace(spec=SPEC._replace(priority=5))
    waiting.note(jobs[3], urgent)
    jobs[3] = urgent
    late = jobs[1]._replace(spec=SPEC._replace(priority=-5))
    waiting.note(jobs[1], late)
    jobs[1] = late
    assert [job.id for job in waiting.take(jobs, 9, NOW)] == [3, 2, 1]


def test_a_requeued_job_of_a_run_is_not_taken_by_that_run_any_more() -> None:
    mine = Job(1, SPEC._replace(runner="r1"), "true", 0.0)
    jobs, waiting = {1: mine}, Waiting()
    waiting.note(None, mine)
    jobs[1] = mine._replace(anyone=True)
    waiting.note(mine, jobs[1])
    assert list(waiting.take(jobs, 1, NOW, runner="r1")) == []
    assert [job.id for job in waiting.take(jobs, 1, NOW)] == [1]


def serving(*queues: str, stopping: bool = False) -> LiveWorker:
    return LiveWorker("w", queues=queues or None, stopping=stopping)


@pytest.mark.parametrize(
    ("queue", "workers", "why"),
    [
        ("gup", [serving()], ""),
        ("gup", [serving("build"), serving("gup")], ""),
        ("gup", [serving("build")], "no worker serves queue gup (workers: build)"),
        ("gup", [serving("b", "a"), serving("d", "c", "e")], "no worker serves queue gup (workers: a, b, c, d, ...)"),
        ("gup", [serving("cpu", "gpu")], "no worker serves queue gup; did you mean gpu?"),
        ("gup", [], "no worker is running"),
        ("gup", [serving(stopping=True)], "the only worker is stopping"),
        ("gup", [serving("gup", stopping=True), serving(stopping=True)], "all 2 workers are stopping"),
        ("gup", [serving("gup", stopping=True), serving("cpu")], "the only worker for queue gup is stopping"),
        ("gup", [serving("gup", stopping=True)] * 2 + [serving("cpu")], "all 2 workers for queue gup are stopping"),
        ("gup", [serving(stopping=True), serving("gup")], ""),
        ("gup", [serving("build", stopping=True)], "no worker serves queue gup (workers: build)"),
    ],
)
def test_why_unserved_gives_the_reason_in_words(queue: str, workers: list[LiveWorker], why: str) -> None:
    assert why_unserved(queue, workers) == why


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("gpu", "gup", True), ("gpu", "gp", True), ("gpu", "gpus", True), ("gpu", "gqu", True), ("gpu", "GPU", True),
        ("gpu", "cpu", True), ("gpu", "ugp", False), ("gpu", "build", False), ("default", "defualt", True), ("ab", "cd", False),
    ],
)  # fmt: skip
def test_is_near_finds_names_with_one_typing_mistake(one: str, other: str, near: bool) -> None:
    assert is_near(one, other) is is_near(other, one) is near


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(1, 10), min_size=1, max_size=3, unique=True))))
def test_moved_jobs_stand_right_before_their_anchor(moves: list[tuple[int, list[int]]]) -> None:
    jobs = {n: Job(n, SPEC, "true", 0.0) for n in range(1, 11)}
    order = list(jobs)
    for at, ids in moves:
        rest = [i for i in order if i not in ids]
        anchor = rest[at % len(rest)]
        place = rest.index(anchor)
        order = [*rest[:place], *ids, *rest[place:]]
        others = sorted((jobs[i] for i in rest), key=claim_key)
        for job_id, place_ in places_before(others.index(jobs[anchor]), others, [jobs[i] for i in ids]).items():
            jobs[job_id] = jobs[job_id]._replace(place=place_)
        assert [job.id for job in sorted(jobs.values(), key=claim_key)] == order


def test_a_gap_that_is_used_up_is_made_again() -> None:
    jobs = {n: Job(n, SPEC, "true", 0.0) for n in (1_000_000, *range(2_000_000, 2_000_301))}
    order = [1_000_000, 2_000_000]
    for job_id in range(2_000_001, 2_000_301):  # each behind all that were moved before it
        others = [jobs[i] for i in order]
        for moved, place in places_before(len(others) - 1, others, [jobs[job_id]]).items():
            jobs[moved] = jobs[moved]._replace(place=place)
        order.insert(-1, job_id)
    assert sorted(order, key=lambda i: claim_key(jobs[i])) == order


@given(
    st.lists(
        st.tuples(st.integers(0, 28), st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True)), max_size=60
    )
)
def test_no_move_takes_a_place_that_new_jobs_will_have(moves: list[tuple[int, list[int]]]) -> None:
    jobs = {n: Job(n, SPEC, "true", 0.0) for n in range(1, 31)}
    for at, ids in [*moves, *[(14, [n]) for n in range(1, 31)] * 8]:
        rest = sorted((job for job in jobs.values() if job.id not in ids), key=claim_key)
        for job_id, place in places_before(min(at, len(rest) - 1), rest, [jobs[i] for i in ids]).items():
            jobs[job_id] = jobs[job_id]._replace(place=place)
    assert max(map(claim_key, jobs.values())) < claim_key(Job(31, SPEC, "true", 0.0))
