"""The outcomes of one worker's jobs, for its live table. It counts jobs, not events, and keeps failures visible."""

from __future__ import annotations

from collections import deque

from jobq.job import Job, State
from jobq.rules.hooks import is_hook
from jobq.rules.lifecycle import Event
from jobq.store.state import StoreState

LAST = 5  # rows of failures, and rows of other finished jobs


class Ended:
    """The latest outcome of each job; a job is counted once."""

    def __init__(self) -> None:
        self.succeeded = 0  # only grows: a job that succeeded never runs again
        self.failed: set[int] = set()
        self.cancelled: set[int] = set()
        self._handed_back: dict[int, Job] = {}
        self._failures: deque[Job] = deque(maxlen=LAST)
        self._others: deque[Job] = deque(maxlen=LAST)

    def report(self, job: Job) -> None:
        """Record the latest event of the job; a hook is worth it only if it fails."""
        if is_hook(job) and job.state is not State.FAILED:
            return
        self.failed.discard(job.id)
        self.cancelled.discard(job.id)
        self._handed_back.pop(job.id, None)
        if job.state is State.FAILED:
            self.failed.add(job.id)
            self._failures.append(job)
        elif job.state.final:
            self._others.append(job)
            if job.state is State.CANCELLED:
                self.cancelled.add(job.id)
            else:
                self.succeeded += 1
        elif job.history and job.history[-1].event == Event.HAND_BACK and _has_run(job):
            self._handed_back[job.id] = job

    def rows(self, state: StoreState) -> list[Job]:
        """Return the last open failures and the last other finished jobs, in the order in which they finished."""
        latest = {job.id: job for job in [*self._failures, *self._others]}
        return sorted(
            (job for job in latest.values() if _still_so(job, state)), key=lambda job: (job.finished_at or 0.0, job.id)
        )

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
