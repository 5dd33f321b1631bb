"""The tally of one worker: what became of the jobs that it has run. It counts jobs, not events."""

from __future__ import annotations

from collections import Counter, deque

from jobq.job import Job, State
from jobq.rules.hooks import is_hook
from jobq.rules.lifecycle import Event
from jobq.store.state import StoreState

LAST_FAILURES = 5  # that are kept as jobs
SLOWEST = 3


class Tally:
    """The latest outcome of each job; a job is counted once."""

    def __init__(self) -> None:
        self.succeeded = 0  # only grows: a job that succeeded never runs again
        self.failed: set[int] = set()
        self.cancelled: set[int] = set()
        self.unstarted: Counter[State] = Counter()  # skipped, expired: they have ended without a worker
        self.work = 0.0  # seconds that the attempts ran
        self.cpu = 0.0  # seconds
        self._handed_back: dict[int, Job] = {}
        self._failures: deque[Job] = deque(maxlen=LAST_FAILURES)
        self._slowest: dict[int, Job] = {}  # the last attempts that took longest, by job

    @property
    def done(self) -> int:
        """The number of jobs that are over."""
        return self.succeeded + len(self.failed) + len(self.cancelled)

    def report(self, job: Job) -> bool:
        """Record the latest event of the job. Return True if it is over, and worth a line: a hook only if it failed."""
        if is_hook(job):
            return job.state is State.FAILED
        self.failed.discard(job.id)
        self.cancelled.discard(job.id)
        self._handed_back.pop(job.id, None)
        if job.state is State.RUNNING:
            return False
        self._measure(job)
        if job.state is State.FAILED:
            self.failed.add(job.id)
            self._failures.append(job)
        elif job.state is State.CANCELLED:
            self.cancelled.add(job.id)
        elif job.state is State.SUCCEEDED:
            self.succeeded += 1
        elif job.history and job.history[-1].event == Event.HAND_BACK and _has_run(job):
            self._handed_back[job.id] = job
        return job.state.final

    def settle(self, job: Job) -> None:
        """Count a job that was cancelled, skipped or has expired without a word from the worker."""
        if job.state is State.CANCELLED:
            self.cancelled.add(job.id)
        elif job.state in {State.SKIPPED, State.EXPIRED}:
            self.unstarted[job.state] += 1

    def _measure(self, job: Job) -> None:
        """Add what the last attempt took; every event but a start is the end of one."""
        ending = job.ending
        if ending is None or ending.seconds is None:
            return
        self.work += ending.seconds
        self.cpu += ending.user_s + ending.system_s
        if job.state.final:
            self._slowest[job.id] = job
            if len(self._slowest) > SLOWEST:
                del self._slowest[self.slowest()[-1].id]

    def failures(self, state: StoreState) -> list[Job]:
        """Return the last failures that nobody has dealt with, in the order in which they finished."""
        latest = {job.id: job for job in self._failures if job.id in self.failed}
        return [job for job in latest.values() if _still_so(job, state)]

    def slowest(self) -> list[Job]:
        """Return the jobs whose last attempt took longest, the slowest first."""
        return sorted(self._slowest.values(), key=lambda job: (-(job.seconds or 0.0), job.id))

    def handed_back(self, state: StoreState) -> list[Job]:
        """Return the jobs that were stopped and wait again, by id."""
        self._handed_back = {n: job for n, job in self._handed_back.items() if _still_so(job, state)}
        return [self._handed_back[n] for n in sorted(self._handed_back)]


def _has_run(job: Job) -> bool:
    """Return True if the last attempt was started, not only given to a slot and taken back."""
    return job.ending is not None and not job.ending.never_started


def _still_so(job: Job, state: StoreState) -> bool:
    now = state.jobs.get(job.id)
    if now is None:
        return job.id not in state.removed
    return now.state is job.state and len(now.attempts) == len(job.attempts) and not now.acknowledged
