"""The loop of a worker: claim, hand to the engine, collect, record; rescue and adopt; drain and stop.

One thread and no fixed ticks: `step` does what there is to do and says how long it may sleep; a ring of its bell, an
end, or a signal wakes it earlier. The end of one job and the claim of the next are one transaction.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator

from jobq import clock, lifecycle
from jobq.claim import is_mine
from jobq.engine.local import LATE, LocalEngine
from jobq.engine.task import Ended, Key, Task
from jobq.errors import LockTimeout, NotSaved, StoreError, SyncFailed
from jobq.job import Job, Moment, Outcome, State
from jobq.pace import Pace, Width, goes_alone
from jobq.rescue import ROLL, is_needed, orphans_of_run, rescue
from jobq.signals import StopSignals
from jobq.store import workers as presence
from jobq.store.jobs import Jobs
from jobq.store.store import Store
from jobq.upkeep import Upkeep

LOOK_AROUND = 1.5  # seconds between two looks at the other workers and the journal when nobody rings
STOP_AFTER = 30.0  # seconds that running jobs get when the worker is asked to stop
LAST_GRACE = 2.0  # seconds from TERM to KILL when it is asked again
LONGEST_PAUSE = 4.0  # seconds between two tries while the disk or the machine is full

Report = Callable[[Job], None]


class Worker:
    """One worker process. `run` returns its exit code."""

    def __init__(
        self,
        store: Store,
        *,
        slots: int,
        queues: Collection[str] | None = None,
        drain: bool = False,
        own_jobs: bool = False,
        report: Report = lambda _job: None,
        idle: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`queues` None: all. `own_jobs`: claims only jobs whose spec names it as the runner; they end with it.

        `report` is told every job that this worker has moved, once that is durable. `idle` is called before each sleep
        and may shorten it (seconds). Raises StoreForbidden on a network filesystem of another machine.
        """
        self.network = store.check_workers_place()
        self.store = store
        self.slots = slots
        self.queues = queues
        self.drain = drain
        self.failed = 0
        self.trouble = ""  # why it is taking a break, if it is
        self._own_jobs = own_jobs
        self._report = report
        self._idle = idle
        self._member = presence.Membership(store.root, own_jobs=own_jobs)
        self._engine = LocalEngine(self._member.path, store.path, bound=own_jobs)
        self._asked_to_cancel: set[Key] = set()
        self._looked_around = float("-inf")
        self._paused_until = float("-inf")
        self._pause = 1.0
        self._pace = Pace()
        self._width = Width(slots)
        self._knows_all = False  # the last step could read the store
        self._stop_deadline: float | None = None
        self._stops_sent = 0
        self._upkeep = Upkeep(store)

    @property
    def token(self) -> str:
        """Its name in the store."""
        return self._member.token

    # -- the loop --------------------------------------------------------------------------------

    def run(self, signals: StopSignals) -> bool:
        """Work until asked to stop, or drained. Whether all the work there was is done.

        Raises SyncFailed, StoreDamaged, StoreTooNew: running jobs then go on under their supervisors.
        """
        self._engine.watch(self._member.bell_fd)
        self._engine.watch(signals.fd)
        loaded = False
        try:
            while True:
                sleep = self.step(clock.now(), signals.count)
                if self._knows_all and not loaded:
                    loaded = True
                    gc.freeze()  # a million jobs that stay: to look through them again and again would take seconds
                if signals.count and not self._engine.busy and (signals.count > 1 or not self._engine.ended()):
                    return self._is_drained()  # an end that the disk does not take is safe with its supervisor
                if self.drain and self._knows_all and self._is_drained():
                    return True
                wanted = self._idle()
                self._engine.wait(sleep if wanted is None else min(sleep, wanted))
                self._member.hush()
                signals.drain()
        finally:
            self._leave(signals)

    def _leave(self, signals: StopSignals) -> None:
        self._upkeep.finish(in_a_hurry=lambda: signals.count > 1)
        unrecorded = bool(self._engine.ended())
        self._engine.close()
        try:
            now = clock.now()
            if self.drain:
                rescue(self.store, now)  # there may be no other worker to settle a dead one's affairs
            if self._own_jobs:
                self.store.update(lambda jobs: orphans_of_run(jobs, self.token, now), now.wall)
            needed = unrecorded or is_needed(self.store.settle(), self.token)
        except (StoreError, OSError):
            needed = True  # what our supervisors have noted may be all that is known
        self._member.leave(remove=not needed)
        presence.ring(self.store.root)  # others may wait for the same end

    def step(self, now: Moment, stops: int = 0) -> float:
        """Do all there is to do; for how many seconds there will be nothing more, unless something wakes us."""
        self._knows_all = False
        try:
            sleep = self._step(now, stops)
        except OSError as e:
            self._take_a_break(now, e)  # no descriptor to be had, or a disk in trouble
            self._stop_if_asked(now, stops)
            return self._pause
        self._knows_all = True
        return sleep

    def _step(self, now: Moment, stops: int) -> float:
        if now.boot - self._looked_around >= LOOK_AROUND:
            self._looked_around = now.boot
            self._look_around(now, adopt=not stops and not self._own_jobs)
        jobs = self.store.read()
        self._stop_if_asked(now, stops)
        self._pass_on_wishes(jobs)
        if self._engine.ask_back(late=LATE):
            self._pace.doubt()
        if now.boot < self._paused_until:
            return min(self._paused_until - now.boot, LOOK_AROUND)
        ended = self._engine.ended()
        names = self._engine.reserve(self._room(jobs, now)) if not stops else []
        if ended or names:
            try:
                self._turn(now, ended, names)
            except SyncFailed:
                raise
            except (NotSaved, LockTimeout) as e:
                self._take_a_break(now, e)  # what ended is kept and told again
                return self._pause
            jobs = self.store.jobs
        soonest = jobs.waiting.wake(jobs.by_id, now)
        until_look = max(0.0, self._looked_around + LOOK_AROUND - now.boot)
        sleep = until_look if soonest is None else min(until_look, soonest)
        late = self._engine.soonest_late()
        if late is not None:
            sleep = min(sleep, late)
        if self._stop_deadline is not None:
            sleep = min(sleep, max(0.0, self._stop_deadline - now.boot))
        return sleep

    def _room(self, jobs: Jobs, now: Moment) -> int:
        """How many slots to fill: no more than there are jobs that can be claimed."""
        free = self._width.slots - self._engine.busy
        if free <= 0:
            return 0
        jobs.waiting.wake(jobs.by_id, now)
        ready = list(self._claimable(jobs, free, now))
        for job in ready:
            jobs.waiting.push(job)
        try:
            for job in ready:
                self.store.logs.make_folder(job.id)
        except NotSaved as e:
            self._take_a_break(now, e)  # nothing is claimed that could not start
            return 0
        return len(ready)

    def _claimable(self, jobs: Jobs, count: int, now: Moment) -> Iterator[Job]:
        runner = self.token if self._own_jobs else None
        return jobs.waiting.take(jobs.by_id, count, now, runner=runner, queues=self.queues)

    def _turn(self, now: Moment, ended: list[Ended], names: list[str]) -> None:
        """One transaction: record what ended, claim what is next. Then start it."""
        moved: list[Job] = []
        claimed: dict[str, list[Job]] = {}

        def decide(jobs: Jobs) -> Iterator[Job]:
            for end in ended:
                job = jobs.by_id.get(end.key.job_id)
                if job is None or job.state is not State.RUNNING or job.attempts[-1].n != end.key.n:
                    continue  # rescued by somebody who took us for dead, or removed
                job = lifecycle.finish(job, end.ending, now, 0.0 if end.ending.succeeded else ROLL.random())
                moved.append(job)
                yield job
            jobs.waiting.wake(jobs.by_id, now)
            for name in names:
                for at in range(self._at_once(jobs)):
                    job = next(self._claimable(jobs, 1, now), None)
                    if job is None:
                        return  # somebody else was quicker
                    alone = goes_alone(job)
                    if at and alone:
                        jobs.waiting.push(job)
                        break
                    claim = lifecycle.claim(job, now, owner=self.token, supervisor=name)
                    claimed.setdefault(name, []).append(claim)
                    yield claim
                    if alone:
                        break

        self.store.update(decide, now.wall, ring=False)
        self.trouble = ""
        self._engine.recorded(ended)
        self._asked_to_cancel -= {end.key for end in ended}
        for name, claims in claimed.items():
            self._submit(claims, name, now)
        self._learn(ended, now)
        for job in moved:
            self.failed += job.state is State.FAILED
            self._report(job)
        for claims in claimed.values():
            for job in claims:
                self._report(job)

    def _learn(self, ended: list[Ended], now: Moment) -> None:
        """From how it went: how long jobs take, and whether there is enough of everything for all slots."""
        endings = [end.ending for end in ended]
        for ending in endings:
            if ending.started_at is not None and ending.ended_at is not None:
                self._pace.learn(ending.ended_at - ending.started_at)
        refused = [ending for ending in endings if ending.never_started and ending.outcome is Outcome.SPAWN_ERROR]
        if refused:
            self._width.narrow(now.boot)
            self._engine.let_go(self._width.slots)
            self._take_a_break(now, str(refused[-1]))
        elif ended:
            self._pause = 1.0  # something has run again
            self._width.widen(now.boot)

    def _at_once(self, jobs: Jobs) -> int:
        """How many jobs to give a slot: some milliseconds' worth, as long as there is plenty for everybody."""
        runner = self.token if self._own_jobs else None
        return self._pace.at_once(jobs.waiting.about_ready(runner=runner, queues=self.queues) // (2 * self.slots))

    def _submit(self, jobs: list[Job], name: str, now: Moment) -> None:
        tasks = []
        for job in jobs:
            try:
                self.store.logs.make_folder(job.id)
            except (StoreError, OSError) as e:
                self._engine.withdraw(Key(job.id, job.attempts[-1].n))
                self._take_a_break(now, e)
                continue
            tasks.append(Task.of(job, self.store, now))
        if tasks:
            self._engine.submit(name, tasks)

    # -- what else there is to do ----------------------------------------------------------------------

    def _look_around(self, now: Moment, *, adopt: bool) -> None:
        try:
            rescued = rescue(self.store, now, adopter=self.token if adopt else None)
            for adoption in rescued.adopted:
                self._engine.adopt(*adoption)
                self._report(self.store.jobs.by_id[adoption.key.job_id])
            for job in rescued.settled:
                self.failed += job.state is State.FAILED
                self._report(job)
            busy = self._own_jobs or self._engine.busy or self.store.jobs.waiting.about_ready(queues=self.queues)
            self._upkeep.look(now, idle=not busy)
        except SyncFailed:
            raise
        except (NotSaved, LockTimeout) as e:
            self._take_a_break(now, e)  # the next look will do it

    def _pass_on_wishes(self, jobs: Jobs) -> None:
        for key in self._engine.running():
            job = jobs.by_id.get(key.job_id)
            wished = job is not None and job.cancel_asked_at is not None
            if wished and key not in self._asked_to_cancel and self._engine.cancel(key):
                self._asked_to_cancel.add(key)

    def _take_a_break(self, now: Moment, why: Exception | str) -> None:
        """The disk or the machine is full, or in trouble: try again later, each time later."""
        self.trouble = str(why)
        self._paused_until = now.boot + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _stop_if_asked(self, now: Moment, stops: int) -> None:
        if not stops:
            return
        if self._stop_deadline is None:
            self._stop_deadline = now.boot + STOP_AFTER
            self._engine.ask_back()
            if self._own_jobs:
                self._cancel_own_jobs(now)
        if self._stops_sent < 2 and (stops > 1 or now.boot >= self._stop_deadline):
            self._stops_sent = 2 if stops > 1 else 1
            self._stop_deadline = float("inf")
            for key in self._engine.running():
                grace = self.store.jobs.by_id[key.job_id].spec.grace
                self._engine.stop(key, LAST_GRACE if stops > 1 else grace)

    def _cancel_own_jobs(self, now: Moment) -> None:
        """Nobody else will run them: what `jobq run` is asked to stop, it was asked to cancel."""

        def decide(jobs: Jobs) -> Iterator[Job]:
            for job in list(jobs.unfinished()):
                if job.runner == self.token:
                    yield lifecycle.cancel(job, now)

        try:
            self.store.update(decide, now.wall)
        except (NotSaved, LockTimeout, OSError):
            self._stop_deadline = now.boot  # then as an interruption, at once
        self._pass_on_wishes(self.store.jobs)

    def _is_drained(self) -> bool:
        """Whether nothing of ours is ready, retrying or running any more, here or elsewhere."""
        active = self.store.jobs.waiting.active
        mine = self.token if self._own_jobs else None
        left = any(count and is_mine(*key, mine, self.queues) for key, count in active.items())
        return not left and not self._engine.busy and not self._engine.ended()
