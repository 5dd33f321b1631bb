"""A turn: one transaction that records what has ended and claims what is next; then the claims are started."""

from __future__ import annotations

import random

from jobq.engine.local.caller import Caller, PythonGone
from jobq.engine.task import Ended, Key
from jobq.errors import NotSaved, StoreError, StoreForbidden
from jobq.job import Job, State
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.store import presence
from jobq.store.state import StoreState
from jobq.worker.cancels import Cancels
from jobq.worker.claiming import Claiming
from jobq.worker.context import Context
from jobq.worker.started import Started, waits
from jobq.worker.tasks import task_of

LATE = 0.1  # seconds that jobs wait behind one that was thought to be short before they are asked back
LONGEST_SLEEP = 1.5  # seconds while the worker takes a break
RANDOM = random.Random()  # noqa: S311  # it spreads retries, and keeps no secret


def frees(job: Job, state: StoreState) -> bool:
    """Return True if jobs may start that could not before this one ended."""
    shares = job.spec.locks or job.spec.needs or job.spec.queue in state.limits
    return bool(shares) or any(True for _ in state.dependents.of(job.id))


class Turn:
    """The turns of one worker."""

    def __init__(
        self, context: Context, claiming: Claiming, started: Started, cancels: Cancels, *, followed: bool
    ) -> None:
        """`followed`: a reader follows the logs, and must miss nothing."""
        self.followed = followed
        self._context = context
        self._claiming = claiming
        self._started = started
        self._cancels = cancels
        self._caller = Caller(context.registration.path)
        self._made_ready: set[tuple[str, str]] = set()  # in this turn

    def step(self, now: Moment) -> float:
        """Take a turn if there is something to record or to claim. Raises OSError, StoreError."""
        context, runner = self._context, self._context.runner
        self._made_ready.clear()
        self._started.look(now)
        if runner.recall(late=LATE):
            self._claiming.pace.reset()
        if now.boot < context.paused_until:
            return min(context.paused_until - now.boot, LONGEST_SLEEP, runner.tend(now))
        ended = [*runner.ended(), *self._started.forgotten]
        handles = runner.reserve(self._room(context.store.state, ended, now)) if not context.is_stopping else []
        if ended or handles:
            self._take(now, ended, handles)
        soonest = context.store.state.waiting.wake(context.store.state.jobs, now)
        return min(float("inf") if soonest is None else soonest, runner.tend(now))

    def _room(self, state: StoreState, ended: list[Ended], now: Moment) -> int:
        """Return how many places to fill: no more than there are jobs that could be claimed and started."""
        free = self._claiming.free(state, self._context.runner.busy, ended)
        able = 0
        for job in self._claiming.ready(state, free, now):
            try:
                self._make_ready(job)
            except NotSaved as e:
                self._context.pause_after(now, e)
                return 0
            except (PythonGone, StoreForbidden) as e:
                self._claiming.pass_over(job, str(e), now)
            else:
                able += 1
        return able

    def _make_ready(self, job: Job) -> None:
        """Make what a job needs beside a place. Raises NotSaved, StoreForbidden, PythonGone."""
        needs = self._context.store.logs.folder(job.id), job.call.python if job.call is not None else ""
        if needs in self._made_ready:
            return
        self._context.store.logs.make_folder(job.id)
        if job.call is not None:
            self._caller.make(job.call)
        self._made_ready.add(needs)

    def _take(self, now: Moment, ended: list[Ended], handles: list[str]) -> None:
        context = self._context
        moved: list[Job] = []
        claimed: dict[str, list[Job]] = {}
        others_may_start = False
        with context.store.transaction(now.wall, notify=False) as changes:
            for end in ended:
                if (job := self._ended_job(changes.state, end, now)) is not None:
                    others_may_start |= frees(job, changes.state)
                    changes.put(job)
                    moved.append(job)
            free = self._claiming.free(changes.state, context.runner.busy)
            if context.enough is not None and context.enough(moved):
                free = 0  # only hooks, which take no slot
            for handle, claim in self._claiming.claims(changes.state, handles, free, now):
                changes.put(claim)
                claimed.setdefault(handle, []).append(claim)
        if others_may_start or changes.hooks:
            presence.notify(context.store.root)  # this worker and others: they wait for what was freed, or is new
        context.hindrance = ""
        traces = ((context.runner.trace(end.key), end.ending) for end in ended)
        self._started.recorded((trace, ending) for trace, ending in traces if trace is not None)
        context.runner.recorded(ended)
        self._cancels.recorded(ended)
        for handle, claims in claimed.items():
            self._submit(handle, claims, now)
        self._learn(ended, now)
        context.report(moved)
        for claims in claimed.values():
            context.report(claims)

    def _ended_job(self, state: StoreState, end: Ended, now: Moment) -> Job | None:
        """Return the job whose attempt has ended, as it is then; None if that is recorded or the job was removed."""
        job = state.jobs.get(end.key.job_id)
        trace = self._context.runner.trace(end.key) or self._started.trace(end.key)
        if job is not None and waits(job) and trace is not None and trace.is_of(job):
            # A backup was restored, from before its claim. Held then or since, it has run all the same.
            job = lifecycle.release(job, now) if job.state is State.HELD else job
            job = lifecycle.claim(job, now, owner=self._context.token, supervisor=trace.attempt.supervisor)
        if job is None or job.state is not State.RUNNING or job.attempts[-1].n != end.key.n:
            return None  # another process took this worker for dead and has recovered it
        return lifecycle.finish(job, end.ending, now, RANDOM.random())

    def _learn(self, ended: list[Ended], now: Moment) -> None:
        missing = self._claiming.learn(ended, now)
        if missing:
            self._context.runner.narrow(self._claiming.width.slots)
            self._context.pause_after(now, missing)
        elif ended:
            self._context.pause = 1.0  # something has run again

    def _submit(self, handle: str, jobs: list[Job], now: Moment) -> None:
        tasks = []
        for job in jobs:
            try:
                self._make_ready(job)
            except (StoreError, PythonGone, OSError) as e:
                self._context.runner.withdraw(Key(job.id, job.attempts[-1].n))
                self._context.pause_after(now, e)
                continue
            if len(job.attempts) == 1:
                self._context.store.logs.forget_steps(job.id)
            tasks.append(task_of(self._context.store, job, now, self._caller.path, followed=self.followed))
        if tasks:
            self._context.runner.submit(handle, tasks)
