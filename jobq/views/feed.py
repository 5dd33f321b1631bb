"""The stream of events, as lines of text or of JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from jobq.job import Job
from jobq.rules.events import Cursor, Happening, count_of, happenings
from jobq.views.text import clock_time, command_line, iso_time, safe

if TYPE_CHECKING:
    from jobq.api import Queue


class Feed:
    """Yields each event once; a second look yields what is new since the first."""

    def __init__(self, queue: Queue, match: Callable[[Job], bool], after: Cursor | None) -> None:
        """`match`: returns True for the jobs that count; `after`: the last event that is known already."""
        self._queue = queue
        self._match = match
        self._after = after
        self._seen: dict[int, int] = {}  # job -> its events that were yielded

    def look(self) -> list[Happening]:
        """Return the new events, in their order."""
        found: list[Happening] = []
        for job in self._changed():
            known = self._seen.get(job.id, 0)
            self._seen[job.id] = count_of(job)
            if self._match(job):
                found += happenings(job, known)
        found.sort(key=lambda one: one.cursor)
        return found if self._after is None else [one for one in found if one.cursor > self._after]

    def _changed(self) -> Iterator[Job]:
        yield from (job for job in self._queue.jobs() if self._seen.get(job.id) != count_of(job))
        for job in self._queue.finished():
            if self._seen.get(job.id) == count_of(job):
                return  # those that ended before are known, too
            yield job


def event_line(one: Happening) -> str:
    """Return an event for people."""
    attempt = f" attempt {one.attempt}" if one.attempt is not None and one.event in {"claim", "adopt"} else ""
    ending = f": {safe(str(one.ending))}" if one.ending is not None else ""
    what = f"{one.job.id}  {safe(one.event)}{attempt}{ending}"
    return f"{clock_time(one.cursor.at)}  {what}  {command_line(one.job.command)}"


def event_data(one: Happening) -> dict[str, Any]:
    """Return an event as JSON."""
    ending = one.ending
    return {
        "cursor": str(one.cursor),
        "at": iso_time(one.cursor.at),
        "event": one.event,
        "job": one.job.id,
        "name": one.job.spec.name,
        "queue": one.job.spec.queue,
        "attempt": one.attempt,
        "outcome": ending.outcome if ending is not None else None,
        "exit_code": ending.exit_code if ending is not None else None,
    }
