"""The loop of a worker: claim, hand to the engine, collect, record; rescue and adopt; drain and stop.

One thread and no fixed ticks: `step` does what there is to do and says how long it may sleep; a ring of its bell, an
end, or a signal wakes it earlier. The end of one job and the claim of the next are one transaction.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable

from jobq import clock
from jobq.command import Call
from jobq.engine.local.caller import Caller
from jobq.engine.local.engine import LATE, LocalEngine
from jobq.engine.task import Ended, Key, Task
from jobq.errors import LockTimeout, NotSaved, PythonGone, StoreError, StoreForbidden, SyncFailed
from jobq.job import Job, Moment, State
from jobq.rules import lifecycle
from jobq.rules.order import may_claim
from jobq.rules.reasons import Situation
from jobq.store import presence
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.store.surroundings import survey
from jobq.worker.claiming import Claiming
from jobq.worker.rescue import RANDOM, is_needed, orphans_of_run, rescue
from jobq.worker.signals import StopSignals
from jobq.worker.started import Started
from jobq.worker.stopping import STOP_AFTER, OnStop, Stopping
from jobq.worker.upkeep import Upkeep

CHECK_EVERY = 1.5  # seconds between two looks at the other workers and the journal when nobody rings
EVERYTHING = 1 << 62  # bytes, more than any log has
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
        stop_after: float = STOP_AFTER,
        on_stop: OnStop | None = None,
        followed: bool = False,
        report: Report = lambda _job: None,
        idle: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`queues` None: all. `own_jobs`: claims only jobs whose spec names it as the runner; they end with it.
        `followed`: of their logs nothing is dropped that `mark_read` was not called for.

        `stop_after`, `on_stop`: see `Stopping`.

        `report` is told every job that this worker has moved, once that is durable. `idle` is called before each sleep
        and may shorten it (seconds). Raises StoreForbidden on a network filesystem of another machine.
        """
        self.network = store.check_workers_place()
        self.store = store
        self.slots = slots
        self.queues = queues
        self.drain = drain
        self.failed = 0
        self._break = ""  # why it is taking a break, if it is
        self._held: list[str] = []  # why jobs of dead workers are not recovered, a sentence each
        self._own_jobs = own_jobs
        self._followed = followed
        self._report = report
        self._idle = idle
        self._member = presence.Registration(store.root, own_jobs=own_jobs, queues=queues, slots=slots)
        self._caller = Caller(self._member.path)
        self._engine = LocalEngine(self._member.path, bound=own_jobs)
        self._asked_to_cancel: set[Key] = set()
        self._last_check = float("-inf")
        self._paused_until = float("-inf")
        self._pause = 1.0
        self._knows_all = False  # the last step could read the store
        self._stopping = Stopping(self._engine, after=stop_after, then=OnStop.HAND_BACK if own_jobs else on_stop)
        self.left: list[Job] = []  # jobs that still run now that it has left
        self._upkeep = Upkeep(store)
        self._started = Started(store, self._engine, self.token)
        self._claiming = Claiming(self.token, slots, self._started, own_jobs=own_jobs, queues=queues)

    @property
    def trouble(self) -> str:
        """What hinders it, if anything does."""
        said = [self._break] if self._break else []
        said += self._engine.troubles() + self._claiming.troubles()
        return "; ".join(said + self._held)

    @property
    def token(self) -> str:
        """Its name in the store."""
        return self._member.token

    @property
    def state(self) -> StoreState:
        """The state of the store as last read."""
        return self.store.state

    def situation(self, jobs: Iterable[Job]) -> Situation:
        """Return the facts beside these jobs, as last read."""
        return survey(self.store, jobs, clock.now())

    def mark_read(self, job_id: int, n: int, end: int | None) -> None:
        """Whoever follows the log of this attempt has it up to this offset; None: follows no more. Any thread may."""
        self._followed = self._followed and end is not None
        self._engine.mark_read(Key(job_id, n), EVERYTHING if end is None else end)

    # -- the loop --------------------------------------------------------------------------------

    def run(self, signals: StopSignals) -> bool:
        """Work until asked to stop, or drained. Whether all the work there was is done.

        Raises SyncFailed, StoreDamaged, StoreTooNew: running jobs then go on under their supervisors.
        """
        self._engine.watch(self._member.wakeup_fd)
        self._engine.watch(signals.fd)
        self.store.give_up_waiting_if(lambda: signals.count > 1)
        loaded = False
        try:
            while True:
                now = clock.now()
                sleep = self.step(now, signals)
                if self._knows_all and not loaded:
                    loaded = True
                    gc.freeze()  # a million jobs that stay: to look through them again and again would take seconds
                if signals.count and not self._engine.busy and (signals.count > 1 or not self._engine.ended()):
                    return self._is_drained()  # an end that the disk does not take is safe with its supervisor
                if self._stopping.is_over(now, signals):
                    return self._is_drained()
                if self.drain and self._knows_all and self._is_drained():
                    return True
                wanted = self._idle()
                self._engine.wait(sleep if wanted is None else min(sleep, wanted))
                self._member.drain()
                signals.drain()
        finally:
            self._leave(signals)

    def _leave(self, signals: StopSignals) -> None:
        self._upkeep.finish(in_a_hurry=lambda: signals.count > 1)
        unrecorded = bool(self._engine.ended())
        running = self._engine.running()
        self.left = [job for key in running if (job := self.store.state.jobs.get(key.job_id)) is not None]
        self._engine.close()
        try:
            now = clock.now()
            if self.drain:
                rescue(self.store, now)  # there may be no other worker to settle a dead one's affairs
            if self._own_jobs:
                with self.store.transaction(now.wall) as changes:
                    for job in orphans_of_run(changes.state, self.token, now):
                        changes.put(job)
            needed = unrecorded or is_needed(self.store.read_settled(), self.token)
        except (StoreError, OSError):
            needed = True  # what our supervisors have noted may be all that is known
        self._member.leave(remove=not needed)
        presence.notify(self.store.root)  # others may wait for the same end

    def step(self, now: Moment, signals: StopSignals) -> float:
        """Do all there is to do; for how many seconds there will be nothing more, unless something wakes us."""
        self._knows_all = False
        if signals.count:
            self._member.is_stopping()
        try:
            sleep = self._step(now, signals)
        except SyncFailed:
            raise
        except (OSError, StoreForbidden, NotSaved, LockTimeout) as e:
            # No descriptor to be had, a disk or permissions in trouble: what ended is kept, and told again.
            self._pause_after(now, e)
            self._stop_if_signalled(now, signals)
            return min(self._pause, self._stopping.wait(now))
        self._knows_all = True
        return sleep

    def _step(self, now: Moment, signals: StopSignals) -> float:
        if now.boot >= self._paused_until:
            self._break = ""
        self._engine.tend()
        if self.store.stay_in_place():
            self._member.root = self.store.root
            self._last_check = float("-inf")
        if now.boot - self._last_check >= CHECK_EVERY:
            self._last_check = now.boot
            self._check_others(now, adopt=not signals.count and not self._own_jobs)
        state = self.store.read()
        self._started.look(now)
        self._stop_if_signalled(now, signals)
        self._forward_cancels(state)
        if self._engine.ask_back(late=LATE):
            self._claiming.pace.reset()
        if now.boot < self._paused_until:
            return min(self._paused_until - now.boot, CHECK_EVERY)
        ended = [*self._engine.ended(), *self._started.forgotten]
        names = self._engine.reserve(self._room(state, now)) if not signals.count else []
        if ended or names:
            self._turn(now, ended, names)
            state = self.store.state
        soonest = state.waiting.wake(state.jobs, now)
        until_look = max(0.0, self._last_check + CHECK_EVERY - now.boot)
        sleep = until_look if soonest is None else min(until_look, soonest)
        late = self._engine.soonest_late()
        if late is not None:
            sleep = min(sleep, late)
        return min(sleep, self._stopping.wait(now))

    def _room(self, state: StoreState, now: Moment) -> int:
        """How many slots to fill: no more than there are jobs that can be claimed."""
        ready = self._claiming.ready(state, self._claiming.width.slots - self._engine.busy, now)
        able = 0
        for job in ready:  # nothing is claimed that could not start
            try:
                self._make_ready(job)
            except NotSaved as e:
                self._pause_after(now, e)
                return 0
            except (PythonGone, StoreForbidden) as e:
                self._claiming.pass_over(job, str(e), now)
            else:
                able += 1
        return able

    def _make_ready(self, job: Job) -> None:
        """What it needs beside a slot. Raises NotSaved, StoreForbidden, PythonGone."""
        self.store.logs.make_folder(job.id)
        if isinstance(job.command, Call):
            self._caller.make(job.command)

    def _turn(self, now: Moment, ended: list[Ended], names: list[str]) -> None:
        """One transaction: record what ended, claim what is next. Then start it."""
        moved: list[Job] = []
        claimed: dict[str, list[Job]] = {}
        with self.store.transaction(now.wall, notify=False) as changes:
            for end in ended:
                if (job := self._ended_job(changes.state, end, now)) is not None:
                    changes.put(job)
                    moved.append(job)
            for name, claim in self._claiming.claims(changes.state, names, now):
                changes.put(claim)
                claimed.setdefault(name, []).append(claim)
        self._break = ""
        self._started.recorded(
            (trace, end.ending) for end in ended if (trace := self._engine.trace(end.key)) is not None
        )
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

    def _ended_job(self, state: StoreState, end: Ended, now: Moment) -> Job | None:
        """Return the job whose attempt has ended, as it is then; None if the end is recorded or it was removed."""
        job = state.jobs.get(end.key.job_id)
        trace = self._engine.trace(end.key) or self._started.trace(end.key)
        if job is not None and job.state is State.QUEUED and trace is not None and trace.is_of(job):
            # A backup was restored, from before its claim.
            job = lifecycle.claim(job, now, owner=self.token, supervisor=trace.attempt.supervisor)
        if job is None or job.state is not State.RUNNING or job.attempts[-1].n != end.key.n:
            return None  # another process took this worker for dead and has recovered it
        return lifecycle.finish(job, end.ending, now, 0.0 if end.ending.succeeded else RANDOM.random())

    def _learn(self, ended: list[Ended], now: Moment) -> None:
        missing = self._claiming.learn(ended, now)
        if missing:
            self._engine.let_go(self._claiming.width.slots)
            self._pause_after(now, missing)
        elif ended:
            self._pause = 1.0  # something has run again

    def _submit(self, jobs: list[Job], name: str, now: Moment) -> None:
        tasks = []
        for job in jobs:
            try:
                self._make_ready(job)
            except (StoreError, PythonGone, OSError) as e:
                self._engine.withdraw(Key(job.id, job.attempts[-1].n))
                self._pause_after(now, e)
                continue
            tasks.append(Task.of(job, self.store, now, self._caller.path, followed=self._followed))
        if tasks:
            self._engine.submit(name, tasks)

    # -- what else there is to do ----------------------------------------------------------------------

    def _check_others(self, now: Moment, *, adopt: bool) -> None:
        self._stay_registered()
        rescued = rescue(self.store, now, adopter=self.token if adopt else None)
        self._held = rescued.held
        for adoption in rescued.adopted:
            self._engine.adopt(*adoption)
            self._report(self.store.state.jobs[adoption.trace.key.job_id])
        for job in rescued.settled:
            self.failed += job.state is State.FAILED
            self._report(job)
        busy = self._own_jobs or self._engine.busy or self._claiming.about_ready(self.store.state)
        self._upkeep.look(now, idle=not busy)

    def _stay_registered(self) -> None:
        """Be found by others, although a cleaner of old files took away what they find us by."""
        wakeup = self._member.wakeup_fd
        if self._member.mend():
            self._engine.unwatch(wakeup)
            self._engine.watch(self._member.wakeup_fd)

    def _forward_cancels(self, state: StoreState) -> None:
        for key in self._engine.running():
            job = state.jobs.get(key.job_id)
            wished = job is not None and job.cancel_asked_at is not None
            if wished and key not in self._asked_to_cancel and self._engine.cancel(key):
                self._asked_to_cancel.add(key)

    def _pause_after(self, now: Moment, why: Exception | str) -> None:
        """The disk or the machine is full, or in trouble: try again later, each time later."""
        self._break = f"{why.filename}: {why.strerror}" if isinstance(why, OSError) and why.filename else str(why)
        self._paused_until = now.boot + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _stop_if_signalled(self, now: Moment, signals: StopSignals) -> None:
        if self._stopping.begin(now, signals) and self._own_jobs:
            self._cancel_own_jobs(now)
        self._stopping.step(now, signals, self.store.state)

    def _cancel_own_jobs(self, now: Moment) -> None:
        """Nobody else will run them: what `jobq run` is asked to stop, it was asked to cancel."""

        try:
            with self.store.transaction(now.wall) as changes:
                for job in list(changes.state.unfinished()):
                    if job.runner == self.token:
                        changes.put(lifecycle.cancel(job, now))
        except SyncFailed:
            raise
        except (NotSaved, LockTimeout, OSError):
            self._stopping.hurry()  # then as an interruption, at once
        self._forward_cancels(self.store.state)

    def _is_drained(self) -> bool:
        """Whether nothing of ours is ready, retrying or running any more, here or elsewhere."""
        active = self.store.state.waiting.active
        mine = self.token if self._own_jobs else None
        left = any(count and may_claim(*key, mine, self.queues) for key, count in active.items())
        return not left and not self._engine.busy and not self._engine.ended()
