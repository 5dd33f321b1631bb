"""The loop of a worker: one thread, no fixed ticks.

Each step does what is due, duty by duty, and says how long the worker may sleep; a notification, an ending or a signal
wakes it earlier.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable

from jobq import clock
from jobq.engine import Runner
from jobq.engine.local.engine import LocalEngine
from jobq.engine.task import Key
from jobq.errors import LockTimeout, NotSaved, StoreError, StoreForbidden, SyncFailed
from jobq.job import Job
from jobq.moment import Moment
from jobq.rules.order import is_paused, may_claim, will_end
from jobq.rules.reasons import Situation
from jobq.store import presence
from jobq.store.place import check_workers_place
from jobq.store.registration import Registration
from jobq.store.retention import Retention
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.store.surroundings import survey
from jobq.worker.cancels import Cancels
from jobq.worker.claiming import Claiming
from jobq.worker.context import Context
from jobq.worker.duty import Duty
from jobq.worker.expiry import Expiry
from jobq.worker.hooks import IdleHook
from jobq.worker.housekeeping import Housekeeping
from jobq.worker.orders import Orders
from jobq.worker.recovery import Recovery
from jobq.worker.rescue import is_needed, orphans_of_run, rescue
from jobq.worker.resuming import Resuming
from jobq.worker.schedules import Schedules
from jobq.worker.signals import StopSignals
from jobq.worker.started import Started
from jobq.worker.stopping import STOP_AFTER, OnStop, Stopping
from jobq.worker.suspending import Suspending
from jobq.worker.turn import Turn
from jobq.worker.upkeep import Upkeep

EVERYTHING = 1 << 62  # bytes, more than any log has


class Worker:
    """One worker process."""

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
        report: Callable[[Job], None] = lambda _job: None,
        enough: Callable[[Iterable[Job]], bool] | None = None,
        idle: Callable[[], float | None] = lambda: None,
        keep: Callable[[], Retention] = Retention,
        idle_hook: Callable[[], str | None] = lambda: None,
        make_runner: Callable[[str, bool], Runner] = lambda folder, bound: LocalEngine(folder, bound=bound),
    ) -> None:
        """`queues` None: all. `own_jobs`: it claims only jobs whose spec names it as the runner; they end with it.

        `followed`: nothing is dropped of their logs that `mark_read` was not called for. `stop_after`, `on_stop`: see
        `Stopping`. `report` is told every job that this worker has moved, once that is durable; `enough`: see
        `Context`. `idle` is called before each sleep and may shorten it (seconds). `keep`, `idle_hook`: see `Upkeep`,
        `IdleHook`. `make_runner` gets the worker's folder, and True if the jobs end with the worker. Raises
        StoreForbidden on a network filesystem of another machine.
        """
        store.read()
        self.network = check_workers_place(store.path, store.header)
        self.store = store
        self.drain = drain
        self.left: list[Job] = []  # jobs that still run now that it has left
        registration = Registration(store.root, own_jobs=own_jobs, queues=queues, slots=slots)
        runner = make_runner(registration.path, own_jobs)
        context = Context(store, runner, registration, queues=queues, own_jobs=own_jobs, report=report, enough=enough)
        started = Started(store, runner)
        self._context = context
        self._idle = idle
        self._knows_all = False  # the last step could read the store
        self._upkeep = Upkeep(store, keep)
        self._claiming = Claiming(
            self.token, slots, started, own_jobs=own_jobs, queues=queues, one_by_one=enough is not None
        )
        recovery = Recovery(context, self._claiming, self._upkeep)
        cancels = Cancels(context)
        then = OnStop.HAND_BACK if own_jobs or not runner.outlives else on_stop
        self._stopping = Stopping(context, cancels, after=stop_after, then=then)
        self._turn = Turn(context, self._claiming, started, cancels, followed=followed)
        self._orders = Orders(context, self._claiming, slots)
        self._duties: list[Duty] = [
            Housekeeping(context, recovery),
            self._orders,
            recovery,
            self._stopping,
            cancels,
            Expiry(context),
            Resuming(context),
            Suspending(context),
            Schedules(context),
            self._turn,
            IdleHook(context, idle_hook),
        ]

    @property
    def trouble(self) -> str:
        """The reason why it can do nothing now, in words; "" if nothing does."""
        context = self._context
        hindrance = [context.hindrance] if context.hindrance else []
        return "; ".join([*hindrance, *context.runner.troubles(), *self._claiming.troubles(), *context.held])

    @property
    def slots(self) -> int:
        """The number of jobs that it runs at once."""
        return self._orders.slots

    @property
    def token(self) -> str:
        """Its name in the store."""
        return self._context.token

    @property
    def failed(self) -> int:
        """The number of times that it has seen a job fail for good."""
        return self._context.failed

    @property
    def state(self) -> StoreState:
        """The state of the store as last read."""
        return self.store.state

    def situation(self, jobs: Iterable[Job]) -> Situation:
        """Return the facts beside these jobs, as last read."""
        return survey(self.store, jobs, clock.now())

    def mark_read(self, job_id: int, n: int, end: int | None, *, stderr: bool = False) -> None:
        """Note that the follower of a log has it up to this offset; None: it has stopped. Any thread may call it."""
        self._turn.followed = self._turn.followed and end is not None
        self._context.runner.mark_read(Key(job_id, n), EVERYTHING if end is None else end, stderr=stderr)

    # -- the loop --------------------------------------------------------------------------------

    def run(self, signals: StopSignals) -> bool:
        """Work until asked to stop, or drained; return True if all the work there was is done.

        Raises SyncFailed, StoreDamaged, StoreTooNew: running jobs then go on under their supervisors.
        """
        context, runner = self._context, self._context.runner
        context.signals = signals
        runner.watch(context.registration.wakeup_fd)
        runner.watch(signals.fd)
        self.store.give_up_waiting_if(lambda: signals.count > 1)
        loaded = False
        try:
            while True:
                now = clock.now()
                sleep = self.step(now)
                if self._knows_all and not loaded:
                    loaded = True
                    gc.freeze()  # a million jobs that stay: to look through them again and again would take seconds
                if signals.count and not runner.busy and (signals.count > 1 or not runner.ended()):
                    return self._is_drained()  # an end that the disk does not take is safe with its supervisor
                if self._stopping.is_over(now):
                    return self._is_drained()
                if self.drain and self._knows_all and self._is_drained(but_for_paused=True):
                    return self._is_drained()
                wanted = self._idle()
                runner.wait(sleep if wanted is None else min(sleep, wanted))
                context.registration.drain()
                signals.drain()
        finally:
            self._leave(signals)

    def step(self, now: Moment) -> float:
        """Do everything that is due; return the seconds until there is more, unless something wakes the worker."""
        self._knows_all = False
        if self._context.is_stopping:
            self._context.registration.record_stop()
        try:
            sleep = min(duty.step(now) for duty in self._duties)
        except SyncFailed:
            raise
        except (OSError, StoreForbidden, NotSaved, LockTimeout) as e:
            # No descriptor left, a disk or permissions in trouble: what ended is kept, and returned again.
            self._context.pause_after(now, e)
            return min(self._context.pause, self._stopping.step(now))
        self._knows_all = True
        return sleep

    def _leave(self, signals: StopSignals) -> None:
        runner = self._context.runner
        self._upkeep.finish(in_a_hurry=lambda: signals.count > 1)
        unrecorded = bool(runner.ended())
        running = runner.running()
        self.left = [job for key in running if (job := self.state.jobs.get(key.job_id)) is not None]
        runner.close()
        try:
            now = clock.now()
            if self.drain:
                rescue(self.store, now)  # there may be no other worker to recover the jobs of a dead one
            if self._context.own_jobs:
                with self.store.transaction(now.wall) as changes:
                    for job in orphans_of_run(changes.state, self.token, now):
                        changes.put(job)
            needed = unrecorded or is_needed(self.store.read_settled(), self.token)
        except (StoreError, OSError):
            needed = True  # what the supervisors have recorded may be all that is known
        self._context.registration.leave(remove=not needed)
        presence.notify(self.store.root)  # others may wait for the same end

    def _is_drained(self, *, but_for_paused: bool = False) -> bool:
        """Return True if none of its jobs is ready, retrying or running any more, here or elsewhere.

        Jobs that wait for a time, or for a person, do not count. `but_for_paused`: nor do those of paused queues.
        """
        context, state = self._context, self.state
        if context.runner.busy or context.runner.ended():
            return False
        mine = self.token if context.own_jobs else None
        if not any(
            count and may_claim(queue, runner, mine, context.queues)
            for (queue, runner), count in state.waiting.active.items()
        ):
            return True
        if context.own_jobs:
            return False  # somebody waits for just these, whatever they wait for
        paused = state.pauses() if but_for_paused else ()
        moving = will_end(
            state.unfinished(),
            state.dependents.waits_for,
            clock.now(),
            lambda job: (
                may_claim(job.spec.queue, job.runner, mine, context.queues) and not is_paused(job.spec.queue, paused)
            ),
        )
        return not any(may_claim(job.spec.queue, job.runner, mine, context.queues) for job in moving)
