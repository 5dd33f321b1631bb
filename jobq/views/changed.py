"""The jobs that have changed, for what follows a store: events, and the logs of all that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobq import clock
from jobq.job import Job
from jobq.rules.events import count_of

if TYPE_CHECKING:
    from jobq.api import Queue

ENOUGH = 50  # jobs that ended long ago, after which no other is expected
LATE = 60.0  # seconds after its end within which a job that nobody saw unfinished is recorded as finished


class Changed:
    """Looks through the jobs only if the store is not as it was at the last look."""

    def __init__(self, queue: Queue) -> None:
        self.running: dict[int, Job] = {}  # at the last look
        self._unfinished: set[int] = set()
        self._queue = queue
        self._poll = queue.poll()
        self._counts: dict[int, int] = {}  # job -> its events at the last look
        self._looked_at = 0.0

    def look(self) -> dict[int, tuple[Job, int]]:
        """Return the jobs with new events, and the number of those that were known; at first, that is all jobs."""
        if not self._poll.has_changed():
            return {}
        now = clock.now().wall
        jobs = {job.id: job for job in self._queue.jobs()}
        ended = self._queue.known(self._unfinished - jobs.keys())
        old = 0
        for job in self._queue.finished():  # those that ended are near the front, or were unfinished
            ended.setdefault(job.id, job)
            old += (job.finished_at or 0.0) < self._looked_at - LATE
            if self._looked_at and old > ENOUGH:
                break
        self._looked_at, self._unfinished = now, set(jobs)
        self.running = {job.id: job for job in jobs.values() if job.running is not None}
        found = {}
        for job in (jobs | ended).values():
            known = self._counts.get(job.id, 0)
            if known != count_of(job):
                found[job.id] = job, known
                self._counts[job.id] = count_of(job)
        return found
