"""Random operations on a real store and on a dictionary, with reopening, compaction, lost hints and torn tails."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobq.job import Ending, Job, Outcome, Spec, State
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.rules.lifecycle import IllegalMove, WrongState
from jobq.rules.order import Waiting
from jobq.store import check, compaction
from jobq.store.failures import LAST
from jobq.store.folder import Folder
from jobq.store.format import JOURNAL
from jobq.store.hint import HINT
from jobq.store.journal import Header
from jobq.store.selection import open_failures
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.store.transaction import Add
from tests.helpers.changes import Remove, update

DAY = 86_400.0
ALWAYS = 1e9  # seconds
TEXT = st.text(max_size=12)
COMMANDS = st.lists(st.one_of(TEXT, st.lists(TEXT, min_size=1, max_size=3).map(tuple)), min_size=1, max_size=4)
ENDINGS = st.sampled_from(
    [
        Ending(Outcome.EXIT, status=0, started_at=1.0),
        Ending(Outcome.EXIT, status=1, started_at=1.0),
        Ending(Outcome.INTERRUPTED, counted=False),
        Ending(Outcome.CANCELLED, signal=15, started_at=1.0),
        Ending(Outcome.LOST, started_at=1.0, error="é\ud800"),
    ]
)


def attempt(move: Callable[[Job], Job | None], job: Job) -> Job | None:
    try:
        return move(job)
    except WrongState:
        return None


class StoreModel(RuleBasedStateMachine):
    """A store and its model: every handle must show `jobs` at any time."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.path = f"{self.folder}/store"
        self.handles = [Store(self.path), Store(self.path)]
        self.jobs: dict[int, Job] = {}
        self.next_id = 1
        self.now = Moment(1_700_000_000.0, 1_000.0, "boot")
        self.enqueue(0, ["one", "two", "three", "four"], 1, 0)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            fresh = Store(self.path)
            assert list(check.problems(fresh)) == []
            for store in [*self.handles, fresh]:
                store.close()
            shutil.rmtree(self.folder)

    def env(self, which: int) -> str:
        """Save the environment anew for each add: compaction removes one that no job names."""
        return self.handles[which].save_environment({"A": "1"})

    def added(self, ids: list[int], spec: Spec, commands: list[Any]) -> None:
        assert ids == list(range(self.next_id, self.next_id + len(commands)))
        for job_id, command in zip(ids, commands, strict=True):
            self.jobs[job_id] = Job(job_id, spec, command, self.now.wall)
        self.next_id += len(commands)

    @rule(which=st.integers(0, 1), commands=COMMANDS, retries=st.integers(0, 2), priority=st.integers(-1, 1))
    def enqueue(self, which: int, commands: list[Any], retries: int, priority: int) -> None:
        spec = Spec("/", self.env(which), retries=retries, priority=priority)
        self.added(list(self.handles[which].append(Add(spec, commands), self.now.wall)), spec, commands)

    @rule(which=st.integers(0, 1), commands=COMMANDS)
    def add_by_update(self, which: int, commands: list[Any]) -> None:
        spec = Spec("/tmp", self.env(which))
        self.added(update(self.handles[which], lambda _: [Add(spec, commands)], self.now.wall), spec, commands)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), times=st.integers(1, 8))
    def move_some(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            self.move(data)

    def move(self, data: st.DataObject) -> None:
        which, roll, ending = data.draw(st.tuples(st.integers(0, 1), st.floats(0, 1, exclude_max=True), ENDINGS))
        job = data.draw(st.sampled_from(sorted(self.jobs)).map(self.jobs.__getitem__))
        moves: dict[str, Callable[[Job], Job | None]] = {
            "claim": lambda job: lifecycle.claim(job, self.now, owner="w1", supervisor="w1/0"),
            "finish": lambda job: lifecycle.finish(job, ending, self.now, roll),
            "cancel": lambda job: lifecycle.cancel(job, self.now),
            "requeue": lambda job: lifecycle.requeue(job, self.now),
            "hold": lambda job: lifecycle.hold(job, self.now),
            "acknowledge": lambda job: lifecycle.acknowledge(job, self.now) if job.is_open_failure else None,
            "release": lambda job: lifecycle.release(job, self.now),
        }
        possible = {name: after for name, move in moves.items() if (after := attempt(move, job)) is not None}
        if not possible:
            return
        name = data.draw(st.sampled_from(sorted(possible)))
        store = self.handles[which]
        store.read()
        known = store.get(job.id)  # it may have left the journal
        self.jobs[job.id] = possible[name]
        update(store, lambda state: filter(None, [moves[name](state.jobs.get(job.id, known))]), self.now.wall)

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 1), data=st.data())
    def remove(self, which: int, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        failed = self.jobs[job_id].is_open_failure
        if self.jobs[job_id].state is not State.RUNNING:
            update(self.handles[which], lambda _: [Remove(job_id, failed)], self.now.wall)
            del self.jobs[job_id]

    @rule()
    def a_refused_update_changes_nothing(self) -> None:
        def refuse(_: object) -> list[Any]:
            raise IllegalMove(Job(1, Spec("/", ""), "x", 0.0), lifecycle.Event.CLAIM)

        try:
            update(self.handles[0], refuse, self.now.wall)
        except IllegalMove:
            return
        raise AssertionError("the refusal was swallowed")

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.handles[which].close()
        self.handles[which] = Store(self.path)

    @rule(which=st.integers(0, 1))
    def only_one_reads(self, which: int) -> None:
        """Read with one handle, so that the other falls behind, perhaps by generations."""
        self.handles[which].read()

    @rule()
    def compact(self) -> None:
        if os.path.exists(self.path):
            assert compaction.compact(self.path, self.now, keep=ALWAYS)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def compact_while_others_write(self, data: st.DataObject) -> None:
        """Change the store between the snapshot and the lock: compaction keeps the changes, or gives up."""
        write_generation = compaction.write_generation

        def write_then_others(root: Folder, header: Header, lines: Iterable[bytes]) -> tuple[int, int]:
            written = write_generation(root, header, lines)
            self.handles[1].read()
            self.move(data)
            self.enqueue(0, ["meanwhile"], 0, 0)
            self.move(data)
            return written

        compaction.write_generation = write_then_others
        try:
            compaction.compact(self.path, self.now, keep=ALWAYS)
        finally:
            compaction.write_generation = write_generation

    @precondition(lambda self: self.jobs)
    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.now = Moment(self.now.wall + hours * 3600.0, self.now.boot + hours * 3600.0, "boot")

    @precondition(lambda self: self.jobs)
    @rule()
    def retention(self) -> None:
        """Remove every job that finished a day ago or earlier; unfinished jobs stay."""
        assert compaction.compact(self.path, self.now, keep=ALWAYS)  # moves the finished jobs out of the journal
        self.now = Moment(self.now.wall + DAY, self.now.boot + DAY, "boot")
        assert compaction.compact(self.path, self.now, keep=86_400.0)
        self.jobs = {n: job for n, job in self.jobs.items() if not job.state.final}

    @precondition(lambda self: os.path.exists(self.path))
    @rule(tail=st.sampled_from([b"", b"\0" * 9, b'{"seq":', b"\n"]))
    def crash(self, tail: bytes) -> None:
        """Remove the hint, and append bytes that were never acknowledged."""
        for store in self.handles:
            store.close()
        if os.path.exists(f"{self.path}/{HINT}"):
            os.unlink(f"{self.path}/{HINT}")
        if os.path.exists(f"{self.path}/{JOURNAL}"):
            with open(f"{self.path}/{JOURNAL}", "ab") as f:
                f.write(tail)
        self.handles = [Store(self.path), Store(self.path)]

    @invariant()
    def a_handle_that_was_there_all_along_shows_the_model(self) -> None:
        if hasattr(self, "jobs"):
            self.agrees(self.handles[0])

    @rule()
    def all_handles_show_the_model(self) -> None:
        fresh = Store(self.path)
        for store in [*self.handles, fresh]:
            self.agrees(store)
        assert fresh.state.jobs == {n: j for n, j in self.handles[1].state.jobs.items() if n in fresh.state.jobs}
        fresh.close()

    def agrees(self, store: Store) -> None:
        unfinished = {job.id: job for job in store.read().unfinished()}
        assert unfinished == {n: job for n, job in self.jobs.items() if not job.state.final}
        finished = list(store.finished_jobs())
        assert len(finished) == len({job.id for job in finished})
        assert {job.id: job for job in finished} == {n: job for n, job in self.jobs.items() if job.state.final}
        for job_id in range(1, self.next_id + 1):
            assert store.find_all([job_id]).get(job_id) == self.jobs.get(job_id)
        adds_up(store.state)
        failed = [job for job in finished if job.is_open_failure]
        assert store.state.failures.count == len(failed)
        for most in (0, 2, 50):
            count, last = open_failures(store, most)
            assert count == len(failed)
            assert len(last) == min(most, count, LAST)
            assert set(last) <= set(failed)


def adds_up(state: StoreState) -> None:
    """Check the counts that are kept change by change against a count of all jobs."""
    known = state.jobs.values()
    assert state.finished == sum(job.state.final for job in known)
    assert state.running == {job.id for job in known if job.state is State.RUNNING}
    anew = Waiting()
    for job in known:
        anew.note(None, job)
    for counted, recounted in ((state.waiting.active, anew.active), (state.waiting.running, anew.running)):
        assert {key: n for key, n in counted.items() if n} == {key: n for key, n in recounted.items() if n}
    assert state.moves >= 0


TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
