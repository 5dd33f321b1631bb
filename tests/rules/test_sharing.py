"""Locks and resources: who fits, who passes whom, and what is given to whom."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.job import Ending, Outcome, Spec, State
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.rules.sharing import why_lacking
from jobq.store.state import StoreState

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
LATER = Moment(NOW.wall + 700, NOW.boot + 700, NOW.boot_id)


class Scene:
    """A state of a store, and one worker that claims all that it may."""

    def __init__(self, **counts: int) -> None:
        self.state = StoreState()
        for name, count in counts.items():
            self.state.set_resource(name, count)

    def add(self, count: int = 1, **options: Any) -> list[int]:
        spec = self.state.shared(Spec("/", "", **options))
        return list(self.state.add(self.state.next_id, spec, ["x"] * count, NOW.wall))

    def claim(self, most: int = 1_000_000, now: Moment = NOW) -> list[int]:
        claimed: list[int] = []
        while len(claimed) < most and (job := next(self.state.waiting.take(self.state.jobs, 1, now), None)):
            shared = self.state.waiting.shared
            indices = tuple((name, shared.indices(name, n, self.state.jobs)) for name, n in job.spec.needs)
            self.state.put(lifecycle.claim(job, now, owner="w", supervisor="w/0", given=indices), 1)
            claimed.append(job.id)
        return claimed

    def end(self, job_id: int) -> None:
        job = self.state.jobs[job_id]
        self.state.put(lifecycle.finish(job, Ending(Outcome.EXIT, status=0, started_at=1.0), NOW, 0.5), 1)

    def why(self, job_id: int, now: Moment = NOW) -> str:
        return why_lacking(self.state.jobs[job_id], self.state.waiting.shared, self.state.jobs, now)

    def given(self, job_id: int) -> tuple[int, ...]:
        return dict(self.state.jobs[job_id].attempts[-1].given)["gpu"]


def test_one_job_holds_a_lock_at_a_time_and_others_pass() -> None:
    scene = Scene()
    one, two = scene.add(2, locks=("db",))
    (free,) = scene.add()
    assert scene.claim() == [one, free]
    assert scene.why(two) == f"lock db: {one}"
    scene.end(one)
    assert scene.claim() == [two]


def test_a_job_with_several_locks_waits_for_all_and_holds_none_meanwhile() -> None:
    scene = Scene()
    (a,), (both,), (b,) = scene.add(locks=("a",)), scene.add(locks=("a", "b")), scene.add(locks=("b",))
    assert scene.claim() == [a, b]
    scene.end(a)
    assert scene.claim() == []
    scene.end(b)
    assert scene.claim() == [both]


@pytest.mark.parametrize("way", ["cancel", "hold", "edit"])
def test_a_job_that_leaves_does_not_keep_the_next_one_waiting(way: str) -> None:
    scene = Scene()
    first, second, third = scene.add(3, locks=("db",))
    assert scene.claim() == [first]
    scene.end(first)  # the second is offered the lock
    job = scene.state.jobs[second]
    moved = {
        "cancel": lambda: lifecycle.cancel(job, NOW),
        "hold": lambda: lifecycle.hold(job, NOW),
        "edit": lambda: lifecycle.edit(job, NOW, job.spec._replace(locks=("other",), queue="elsewhere")),
    }[way]()
    scene.state.put(moved, 1)
    assert third in scene.claim()


def test_jobs_of_a_queue_that_nobody_serves_do_not_hold_up_others() -> None:
    scene = Scene()
    (first,) = scene.add(locks=("db",))
    assert scene.claim() == [first]
    scene.add(5, locks=("db",), queue="night", priority=9)
    (day,) = scene.add(locks=("db",))
    assert scene.claim() == []
    scene.end(first)
    state = scene.state
    assert [job.id for job in state.waiting.take(state.jobs, 9, NOW, queues={"default"})] == [day]


def test_resources_are_counted_and_their_indices_given_out_once() -> None:
    scene = Scene(gpu=4)
    jobs = scene.add(3, needs=(("gpu", 2),))
    assert scene.claim() == jobs[:2]
    assert [scene.given(job_id) for job_id in jobs[:2]] == [(0, 1), (2, 3)]
    assert scene.why(jobs[2]) == "needs gpu=2, 0 free"
    scene.end(jobs[0])
    assert scene.claim() == [jobs[2]]
    assert scene.given(jobs[2]) == (0, 1)


def test_a_small_job_passes_a_big_one_but_not_for_ever() -> None:
    scene = Scene(gpu=4)
    (running,) = scene.add(needs=(("gpu", 2),))
    assert scene.claim() == [running]
    (big,) = scene.add(needs=(("gpu", 4),))
    small, late = scene.add(2, needs=(("gpu", 1),))
    assert scene.claim(1) == [small]
    assert scene.claim(1, LATER) == []
    assert scene.why(late, LATER) == f"gpu is kept for job {big}"
    scene.end(running)
    scene.end(small)
    assert scene.claim(now=LATER) == [big]
    scene.end(big)
    assert scene.claim(now=LATER) == [late]


def test_a_count_that_is_raised_or_lowered_counts_at_once() -> None:
    scene = Scene(gpu=1)
    one, two = scene.add(2, needs=(("gpu", 1),))
    (big,) = scene.add(needs=(("gpu", 3),))
    assert scene.claim() == [one]
    assert scene.why(big) == "needs gpu=3, there are 1"
    scene.state.set_resource("gpu", 4)
    assert scene.claim() == [two]
    scene.state.set_resource("gpu", 0)
    scene.end(one)
    scene.end(two)
    assert scene.claim() == []
    scene.state.set_resource("gpu", 3)
    assert scene.claim() == [big]


def test_many_jobs_behind_many_locks_cost_each_claim_little() -> None:
    scene = Scene()
    for n in range(200):
        scene.add(20, locks=(f"lock{n}",))
    first = scene.claim()
    assert len(first) == 200
    for job_id in first:
        scene.end(job_id)
    assert len(scene.claim()) == 200


@given(st.data())
def test_no_lock_is_held_twice_nothing_is_given_twice_and_nobody_is_forgotten(data: st.DataObject) -> None:
    scene = Scene(gpu=3)
    spec: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({
        "locks": st.lists(st.sampled_from("ab"), max_size=2, unique=True).map(tuple),
        "needs": st.sampled_from([(), (("gpu", 1),), (("gpu", 2),), (("gpu", 3),)]),
        "priority": st.integers(0, 1),
    })  # fmt: skip
    for _ in range(data.draw(st.integers(1, 30))):
        running = [job.id for job in scene.state.jobs.values() if job.state is State.RUNNING]
        queued = [job.id for job in scene.state.jobs.values() if job.state is State.QUEUED]
        what = data.draw(st.sampled_from(["add", "claim", "claim", "end", "cancel"]))
        if what == "add":
            scene.add(1, **data.draw(spec))
        elif what == "claim":
            scene.claim(data.draw(st.integers(1, 3)))
        elif what == "end" and running:
            scene.end(data.draw(st.sampled_from(running)))
        elif what == "cancel" and queued:
            scene.state.put(lifecycle.cancel(scene.state.jobs[data.draw(st.sampled_from(queued))], NOW), 1)
        check(scene.state)
    while left := [job.id for job in scene.state.jobs.values() if not job.state.final]:
        scene.claim()
        check(scene.state)
        running = [job_id for job_id in left if scene.state.jobs[job_id].state is State.RUNNING]
        assert running, f"jobs {left} are never claimed"
        scene.end(running[0])


def check(state: StoreState) -> None:
    running = [job for job in state.jobs.values() if job.state is State.RUNNING]
    locks = [name for job in running for name in job.spec.locks]
    indices = [i for job in running for _, given in job.attempts[-1].given for i in given]
    assert len(locks) == len(set(locks))
    assert len(indices) == len(set(indices)) == sum(n for job in running for _, n in job.spec.needs)
    assert set(indices) <= {0, 1, 2}
