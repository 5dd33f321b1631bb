"""The stop of a worker, and what becomes of the jobs that still run.

Asked once, it claims nothing more and gives running jobs some time. Jobs that run then are left to their supervisors,
which finish them (a person pressed ^C, or closed the terminal), or are stopped and handed back (TERM: service managers
and containers will end everything anyway). Asked twice, it stops them at once. It never waits for a job that can't be
ended.
"""

from __future__ import annotations

import os
from enum import StrEnum

from jobq.errors import LockTimeout, NotSaved, SyncFailed
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.worker.cancels import Cancels
from jobq.worker.context import Context

STOP_AFTER = 30.0  # seconds that running jobs get when the worker is asked to stop
LAST_GRACE = 2.0  # seconds from TERM to KILL when it is asked again
IS_FIRST = os.getpid() == 1  # with it, the system ends all processes of its namespace (pid_namespaces(7))
PATIENCE = 5.0  # seconds after KILL that it waits for endings before it exits without them


class OnStop(StrEnum):
    """The choices for jobs that still run when their time is over."""

    LEAVE = "leave"
    HAND_BACK = "hand-back"


class Stopping:
    """The stop of one worker. Times are seconds since boot."""

    def __init__(
        self, context: Context, cancels: Cancels, *, after: float = STOP_AFTER, then: OnStop | None = None
    ) -> None:
        """`after`: seconds that running jobs get first; `then` None: the signal decides."""
        self._context = context
        self._cancels = cancels
        self._after = after
        self._then = then
        self._asked_at: float | None = None
        self._last = False  # it was asked twice, and stops the jobs
        self._leave_at: float | None = None  # once the jobs are being stopped: when to exit, whatever still runs

    def step(self, now: Moment) -> float:
        """Begin the stop if one was requested; stop the running jobs if it is time."""
        signals = self._context.signals
        if signals is None or not signals.count:
            return float("inf")
        if self._asked_at is None:
            self._begin(now)
        assert self._asked_at is not None
        if signals.count > 1 and not self._last:
            self._last = True
            self._stop_all(now, LAST_GRACE)
        elif self._leave_at is None and now.boot >= self._asked_at + self._after and not self._leaves:
            self._stop_all(now, None)
        at = self._leave_at if self._leave_at is not None else self._asked_at + self._after
        return max(0.0, at - now.boot)

    def _begin(self, now: Moment) -> None:
        """Ask back jobs that wait in slots. `jobq run` cancels its jobs: no other worker may run them."""
        self._asked_at = now.boot
        self._context.runner.recall()
        self._context.runner.announce_stop()
        if self._context.own_jobs:
            self._cancel_own_jobs(now)

    def _cancel_own_jobs(self, now: Moment) -> None:
        store = self._context.store
        try:
            with store.transaction(now.wall) as changes:
                for job in list(changes.state.unfinished()):
                    if job.runner == self._context.token:
                        changes.put(lifecycle.cancel(job, now))
        except SyncFailed:
            raise
        except (NotSaved, LockTimeout, OSError):
            self._asked_at = float("-inf")  # then as an interruption, at once
        self._cancels.step(now)

    def _stop_all(self, now: Moment, grace: float | None) -> None:
        longest = 0.0
        for key in self._context.runner.running():
            job = self._context.store.state.jobs.get(key.job_id)
            seconds = grace if grace is not None else job.spec.grace if job is not None else LAST_GRACE
            longest = max(longest, seconds)
            self._context.runner.stop(key, seconds)
        self._leave_at = now.boot + longest + PATIENCE

    @property
    def _leaves(self) -> bool:
        """True if jobs that still run when their time is over are left to their supervisors."""
        heard_term = self._context.signals is not None and self._context.signals.heard_term
        wanted = OnStop.HAND_BACK if heard_term or IS_FIRST else OnStop.LEAVE
        return (self._then or wanted) is OnStop.LEAVE

    def is_over(self, now: Moment) -> bool:
        """Return True if the worker exits now, whatever still runs."""
        if self._asked_at is None:
            return False
        if self._leave_at is not None:
            return now.boot >= self._leave_at
        once = self._context.signals is not None and self._context.signals.count == 1
        return once and self._leaves and now.boot >= self._asked_at + self._after
