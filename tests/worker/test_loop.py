"""The rules of a worker, step by step: a real store, a runner without processes, a clock of the test's own."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jobq.engine.task import Key
from jobq.errors import NotSaved
from jobq.job import Ending, Job, Outcome, Spec, State
from jobq.moment import Moment
from jobq.queues import Pause, QueueSettings
from jobq.rules import lifecycle
from jobq.store import compaction
from jobq.store.format import FORMAT, HOOKS, LIMITS
from jobq.store.store import Store
from jobq.store.tables import SetQueue
from jobq.store.transaction import Add
from jobq.worker.loop import Worker
from jobq.worker.signals import StopSignals
from jobq.worker.stopping import LAST_GRACE, PATIENCE, OnStop
from tests.helpers.fake_runner import FakeRunner


class Life:
    """One worker that takes a step whenever the test says so."""

    def __init__(self, store: Store, **settings: object) -> None:
        self.store = store
        self.boot = 1_000.0
        self.clock_set = 0.0  # seconds that the wall clock was set ahead
        self.moved: list[tuple[int, str]] = []
        self.runner = FakeRunner()
        slots = settings.pop("slots", 2)
        self.worker = Worker(
            store,
            slots=slots,  # type: ignore[arg-type]
            report=lambda job: self.moved.append((job.id, job.state)),
            make_runner=self.make,
            **settings,  # type: ignore[arg-type]
        )

    def make(self, folder: str, bound: bool) -> FakeRunner:
        """The runner of the worker of this folder."""
        self.runner = FakeRunner(folder)
        return self.runner

    @property
    def now(self) -> Moment:
        """The time of the test."""
        return Moment(1_700_000_000.0 + self.clock_set + self.boot, self.boot, "boot")

    def add(self, *commands: str, **fields: object) -> list[int]:
        """Add jobs of one spec."""
        spec = Spec("/", self.store.save_environment({}), **fields)  # type: ignore[arg-type]
        return list(self.store.append(Add(spec, commands), self.now.wall))

    def step(self, seconds: float = 0.0) -> float:
        """Let this time pass, and the worker take a step."""
        self.boot += seconds
        return self.worker.step(self.now)

    def states(self) -> dict[int, State]:
        """The states of the jobs as another process reads them."""
        return {job.id: job.state for job in Store(self.store.path).read().jobs.values()}

    def job(self, job_id: int) -> Job:
        """One job."""
        return self.store.read().jobs[job_id]

    @contextmanager
    def signals(self, count: int = 1) -> Iterator[None]:
        """Let it be asked to stop so often; no handler is installed, as this process is not the worker's own."""
        signals = StopSignals()
        self.worker._context.signals = signals
        for _ in range(count):
            signals.ask()
        try:
            yield
        finally:
            os.close(signals.fd)
            os.close(signals._wake)


@pytest.fixture
def life(store: Store) -> Iterator[Life]:
    yield (life := Life(store))
    life.worker._context.registration.leave(remove=True)


def test_it_fills_its_slots_in_order_and_records_and_claims_in_one_turn(life: Life) -> None:
    life.add("a", "b", "c")
    life.step()
    assert life.states() == {1: "running", 2: "running", 3: "queued"}
    before = life.store.read().seq
    life.runner.end(2)
    life.step()
    assert life.store.read().seq == before + 1
    assert life.states() == {1: "running", 2: "succeeded", 3: "running"}
    assert life.moved == [(1, "running"), (2, "running"), (2, "succeeded"), (3, "running")]


def test_it_sleeps_until_a_retry_is_due(life: Life) -> None:
    life.add("a", retries=1)
    life.step()
    life.runner.end(1, ending=Ending(Outcome.EXIT, 3, started_at=1.0, ended_at=1.5))
    sleep = life.step()
    assert life.states() == {1: "queued"}
    assert 0.9 < sleep <= 1.5
    life.step(2.0)
    assert life.states() == {1: "running"}
    life.runner.end(1, 2, Ending(Outcome.EXIT, 3, started_at=1.0, ended_at=1.5))
    life.step()
    assert life.states() == {1: "failed"}
    assert life.worker.failed == 1


def test_a_cancel_is_forwarded_once(life: Life) -> None:
    life.add("a")
    life.step()
    with life.store.transaction(life.now.wall) as changes:
        changes.put(lifecycle.cancel(changes.state.jobs[1], life.now))
    life.step()
    life.step()
    assert life.runner.calls.count(("cancel", Key(1, 1))) == 1
    assert life.states() == {1: "cancelled"}


def test_nothing_is_claimed_of_a_paused_queue_until_it_is_resumed(life: Life) -> None:
    life.add("a")
    life.add("b", queue="night")
    compaction.compact(life.store.path, life.now, least_format=FORMAT)
    pause = QueueSettings("night", Pause(1.0, ""))
    for settings, states in (
        (pause, {1: "running", 2: "queued"}),
        (QueueSettings("night"), {1: "running", 2: "running"}),
    ):
        with life.store.transaction(life.now.wall) as changes:
            changes.record(SetQueue(settings))
        life.step()
        assert life.states() == states


def test_only_its_queues_are_served(store: Store) -> None:
    life = Life(store, queues=["night"])
    life.add("a")
    life.add("b", queue="night")
    life.step()
    assert life.states() == {1: "queued", 2: "running"}
    life.worker._context.registration.leave(remove=True)


def test_asked_once_it_claims_nothing_more_and_leaves_what_runs_when_the_time_is_over(life: Life) -> None:
    life.add("a", "b", "c")
    life.step()
    with life.signals():
        life.runner.end(1)
        life.step()
        assert life.states() == {1: "succeeded", 2: "running", 3: "queued"}
        assert not life.worker._stopping.is_over(life.now)
        life.step(31.0)
        assert life.worker._stopping.is_over(life.now)
        assert life.states()[2] == "running"
    assert ("stopping",) in life.runner.calls


def test_asked_twice_it_stops_at_once_and_costs_no_retry(life: Life) -> None:
    life.add("a", retries=0)
    life.add("b", retries=1)
    life.step()
    with life.signals(2):
        life.step()
        life.step()
    assert ("grace", LAST_GRACE) in life.runner.calls
    assert life.states() == {1: "failed", 2: "queued"}
    assert life.job(2).retries_used == 0


def test_hand_back_stops_with_the_grace_of_each_job(store: Store) -> None:
    life = Life(store, on_stop=OnStop.HAND_BACK, stop_after=5.0)
    life.add("a", grace=7.0)
    life.step()
    with life.signals():
        life.step()
        assert not any(call[0] == "stop" for call in life.runner.calls)
        life.step(5.0)
        assert ("grace", 7.0) in life.runner.calls
        assert not life.worker._stopping.is_over(life.now)
        life.boot += 7.0 + PATIENCE
        assert life.worker._stopping.is_over(life.now)
    life.worker._context.registration.leave(remove=True)


def test_an_end_that_can_not_be_saved_is_kept_and_tried_again_later(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.add("a", "b", "c")
    life.step()
    life.runner.end(1)
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise NotSaved("journal", OSError(28, "No space left on device"))

        patch.setattr("jobq.store.store.commit", full)
        assert 0 < life.step() <= 2.0
        assert "No space left" in life.worker.trouble
        assert life.states()[1] == "running"
        life.step(0.1)
    life.step(5.0)
    assert life.states() == {1: "succeeded", 2: "running", 3: "running"}
    assert life.worker.trouble == ""


def test_a_place_that_could_not_start_its_job_makes_the_worker_narrower(life: Life) -> None:
    life.add("a", "b")
    life.step()
    life.runner.end(1, ending=Ending(Outcome.SPAWN_ERROR, error="no processes", counted=False))
    life.step()
    assert ("narrow", 1) in life.runner.calls
    assert life.states()[1] == "queued"
    assert "no processes" in life.worker.trouble


def test_an_edited_priority_decides_the_next_claim(life: Life) -> None:
    life.add("a", "b", "c", "d")
    life.step()
    with life.store.transaction(life.now.wall) as changes:
        job = changes.state.jobs[4]
        changes.edit(lifecycle.edit(job, life.now, job.spec._replace(priority=5)))
    life.runner.end(1)
    life.step()
    assert life.states() == {1: "succeeded", 2: "running", 3: "queued", 4: "running"}


def test_a_job_of_several_slots_keeps_the_others_free(store: Store) -> None:
    life = Life(store, slots=4)
    life.add("narrow")
    compaction.compact(life.store.path, life.now, least_format=LIMITS)
    life.add("wide", slots=3)
    life.add("after it", slots=99)
    life.add("small")
    life.step()
    assert life.states() == {1: "running", 2: "running", 3: "queued", 4: "queued"}
    life.runner.end(1)
    life.step()
    assert life.states() == {1: "succeeded", 2: "running", 3: "queued", 4: "running"}
    life.runner.end(2)
    life.step()
    assert life.states()[3] == "queued"  # it takes all four
    life.runner.end(4)
    life.step()
    assert life.states()[3] == "running"
    life.add("next")
    life.step()
    assert life.states()[5] == "queued"
    life.runner.end(3)
    life.step()
    assert life.states()[5] == "running"
    life.worker._context.registration.leave(remove=True)


def test_a_job_of_several_slots_is_passed_for_ten_minutes(store: Store) -> None:
    life = Life(store, slots=2)
    life.add("small")
    compaction.compact(life.store.path, life.now, least_format=LIMITS)
    life.add("wide", slots=2)
    life.add(*["more"] * 3)
    life.step()
    assert life.states() == {1: "running", 2: "queued", 3: "running", 4: "queued", 5: "queued"}
    life.runner.end(1)
    life.step(601.0)
    assert life.states()[4] == "queued"
    life.runner.end(3)
    life.step()
    assert life.states() == {1: "succeeded", 2: "running", 3: "succeeded", 4: "queued", 5: "queued"}
    life.worker._context.registration.leave(remove=True)


def test_a_hook_wakes_the_worker_that_has_added_it(store: Store) -> None:
    """Nothing else does after the end of the only job: it would wait for the next look at something else."""
    life = Life(store)
    compaction.compact(store.path, life.now, least_format=HOOKS)
    (first,) = life.add("true", on_finish="echo over")
    life.step()
    life.worker._context.registration.drain()
    life.runner.end(first)
    life.step()
    assert select.select([life.worker._context.registration.wakeup_fd], [], [], 0)[0]
    life.step()
    assert [job.spec.queue for job in store.read().jobs.values() if job.state is State.RUNNING] == ["@hooks"]
