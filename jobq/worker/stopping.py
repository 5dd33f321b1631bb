"""The stop of a worker, and what becomes of the jobs that still run.

Asked once, it claims nothing more and gives running jobs some time. Jobs that run then are left to their supervisors,
which finish them (a person pressed ^C, or closed the terminal), or are stopped and handed back (TERM: service managers
and containers will end everything anyway). Asked twice, it stops them at once. It never waits for a job that can't be
ended.
"""

from __future__ import annotations

from enum import StrEnum

from jobq.engine.local.engine import LocalEngine
from jobq.job import Moment
from jobq.store.state import Jobs
from jobq.worker.signals import StopSignals

STOP_AFTER = 30.0  # seconds that running jobs get when the worker is asked to stop
LAST_GRACE = 2.0  # seconds from TERM to KILL when it is asked again
PATIENCE = 5.0  # seconds after KILL that it waits for endings before it exits without them


class OnStop(StrEnum):
    """The choices for jobs that still run when their time is over."""

    LEAVE = "leave"
    HAND_BACK = "hand-back"


class Stopping:
    """The stop of one worker. Times are seconds since boot."""

    def __init__(self, engine: LocalEngine, *, after: float = STOP_AFTER, then: OnStop | None = None) -> None:
        """`after`: seconds that running jobs get first; `then` None: the signal decides."""
        self._engine = engine
        self._after = after
        self._then = then
        self._asked_at: float | None = None
        self._last = False  # it was asked twice, and stops the jobs
        self._leave_at: float | None = None  # once the jobs are being stopped: when to exit, whatever still runs

    def begin(self, now: Moment, signals: StopSignals) -> bool:
        """Begin the stop if one was requested: ask back jobs that wait in slots. Return True if it begins now."""
        if not signals.count or self._asked_at is not None:
            return False
        self._asked_at = now.boot
        self._engine.ask_back()
        self._engine.announce_stop()
        return True

    def hurry(self) -> None:
        """End the time that running jobs get."""
        self._asked_at = float("-inf")

    def step(self, now: Moment, signals: StopSignals, jobs: Jobs) -> None:
        """Stop the running jobs if it is time."""
        if self._asked_at is None:
            return
        if signals.count > 1 and not self._last:
            self._last = True
            self._stop_all(now, jobs, LAST_GRACE)
        elif self._leave_at is None and now.boot >= self._asked_at + self._after and not self.leaves(signals):
            self._stop_all(now, jobs, None)

    def _stop_all(self, now: Moment, jobs: Jobs, grace: float | None) -> None:
        longest = 0.0
        for key in self._engine.running():
            job = jobs.by_id.get(key.job_id)
            seconds = grace if grace is not None else job.spec.grace if job is not None else LAST_GRACE
            longest = max(longest, seconds)
            self._engine.stop(key, seconds)
        self._leave_at = now.boot + longest + PATIENCE

    def leaves(self, signals: StopSignals) -> bool:
        """Return True if jobs that still run when their time is over are left to their supervisors."""
        wanted = OnStop.HAND_BACK if signals.heard_term else OnStop.LEAVE
        return (self._then or wanted) is OnStop.LEAVE

    def is_over(self, now: Moment, signals: StopSignals) -> bool:
        """Return True if the worker exits now, whatever still runs."""
        if self._asked_at is None:
            return False
        if self._leave_at is not None:
            return now.boot >= self._leave_at
        return signals.count == 1 and self.leaves(signals) and now.boot >= self._asked_at + self._after

    def wait(self, now: Moment) -> float:
        """Return the seconds until there is something to do."""
        if self._asked_at is None:
            return float("inf")
        at = self._leave_at if self._leave_at is not None else self._asked_at + self._after
        return max(0.0, at - now.boot)
