"""The outcomes of one worker's jobs, for its live table: jobs are counted, not events, and failures stay in sight."""

from __future__ import annotations

from collections import deque

from jobq.job import Job, State
from jobq.rules.lifecycle import Event
from jobq.store.state import StoreState

LAST = 5  # rows of failures, and of what ended last


class Ended:
    """Each job is there once, as what it was the last time that something happened to it."""

    def __init__(self) -> None:
        self.succeeded = 0  # for good: what has succeeded never runs again
        self.failed: set[int] = set()
        self.cancelled: set[int] = set()
        self._handed_back: dict[int, Job] = {}
        self._failures: deque[Job] = deque(maxlen=LAST)
        self._others: deque[Job] = deque(maxlen=LAST)

    def report(self, job: Job) -> None:
        """Something happened to the job."""
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
        """The last failures that nobody has dealt with, and what else ended last, in the order of their ends."""
        latest = {job.id: job for job in [*self._failures, *self._others]}
        return sorted(
            (job for job in latest.values() if _still_so(job, state)), key=lambda job: (job.finished_at or 0.0, job.id)
        )

    def handed_back(self, state: StoreState) -> list[Job]:
        """The jobs that were stopped and wait again, by id."""
        self._handed_back = {n: job for n, job in self._handed_back.items() if _still_so(job, state)}
        return [self._handed_back[n] for n in sorted(self._handed_back)]


def _has_run(job: Job) -> bool:
    """Tell a job that was stopped from one that was only given to a slot that had no time for it."""
    return job.ending is not None and not job.ending.never_started


def _still_so(job: Job, state: StoreState) -> bool:
    now = state.jobs.get(job.id)
    if now is None:
        return job.id not in state.removed
    return now.state is job.state and len(now.attempts) == len(job.attempts) and not now.acknowledged
