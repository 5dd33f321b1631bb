"""The stream of events, as lines of text or of JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from jobq import clock
from jobq.job import Job, State
from jobq.rules.events import Happening, Mark, count_of, happenings
from jobq.views.text import clock_time, command_line, iso_time, safe

ENOUGH = 50  # jobs that ended long ago, after which no other is expected
LATE = 60.0  # seconds after its end within which a job that nobody saw running is recorded as finished

if TYPE_CHECKING:
    from jobq.api import Queue


class Feed:
    """Yields each event once; a second look yields what is new since the first."""

    def __init__(self, queue: Queue, match: Callable[[Job], bool], after: Mark | None) -> None:
        """`match`: returns True for the jobs that count; `after`: what the reader knows already."""
        self._queue = queue
        self._match = match
        self._after = after
        self._seen: dict[int, int] = {}  # job -> its events that were yielded
        self._unfinished: set[int] = set()  # at the last look
        self._looked_at = 0.0
        self.highest = 0  # id
        self.running: dict[int, int] = {}  # job -> its events

    def look(self) -> list[Happening]:
        """Return the new events, in their order."""
        found: list[Happening] = []
        for job in self._changed():
            known = self._seen.get(job.id, 0)
            self._seen[job.id] = count_of(job)
            self.highest = max(self.highest, job.id)
            if self._match(job):
                found += happenings(job, known)
        found.sort(key=lambda one: one.cursor)
        return found if self._after is None else [one for one in found if self._after.is_before(one.cursor)]

    def mark(self, one: Happening) -> Mark:
        """Return what a reader knows that has got the events up to this one."""
        return Mark(one.cursor, self.highest, self.running)

    def _changed(self) -> Iterator[Job]:
        """Yield each job with new events once. Those that ended are near the end of the list, or were unfinished."""
        now = clock.now().wall
        jobs = {job.id: job for job in self._queue.jobs()}
        ended = self._queue.known(self._unfinished - jobs.keys())
        old = 0
        for job in self._queue.finished():
            ended.setdefault(job.id, job)
            old += (job.finished_at or 0.0) < self._looked_at - LATE
            if self._looked_at and old > ENOUGH:
                break
        self._looked_at = now
        self._unfinished = set(jobs)
        self.running = {job.id: count_of(job) for job in jobs.values() if job.state is State.RUNNING}
        yield from (job for job in (jobs | ended).values() if self._seen.get(job.id) != count_of(job))


def event_line(one: Happening) -> str:
    """Return an event for people."""
    attempt = f" attempt {one.attempt}" if one.attempt is not None and one.event in {"claim", "adopt"} else ""
    ending = f": {safe(str(one.ending))}" if one.ending is not None else ""
    what = f"{one.job.id}  {safe(one.event)}{attempt}{ending}"
    return f"{clock_time(one.cursor.at)}  {what}  {command_line(one.job.command)}"


def event_data(one: Happening, mark: Mark) -> dict[str, Any]:
    """Return an event as JSON; `mark`: where a reader is that has got it."""
    ending = one.ending
    return {
        "cursor": str(mark),
        "at": iso_time(one.cursor.at),
        "event": one.event,
        "job": one.job.id,
        "name": one.job.spec.name,
        "queue": one.job.spec.queue,
        "attempt": one.attempt,
        "outcome": ending.outcome if ending is not None else None,
        "exit_code": ending.exit_code if ending is not None else None,
    }
