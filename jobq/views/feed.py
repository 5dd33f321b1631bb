"""The stream of events, as lines of text or of JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobq.job import Job
from jobq.rules.events import Happening, Mark, count_of, happenings
from jobq.views.changed import Changed
from jobq.views.text import clock_time, command_line, iso_time, safe

if TYPE_CHECKING:
    from jobq.api import Queue


class Feed:
    """Yields each event once; a second look yields what is new since the first."""

    def __init__(self, queue: Queue, match: Callable[[Job], bool], after: Mark | None) -> None:
        """`match`: returns True for the jobs that count; `after`: what the reader knows already."""
        self._changed = Changed(queue)
        self._match = match
        self._after = after
        self._highest = 0  # id

    def look(self) -> list[Happening]:
        """Return the new events, in their order."""
        changed = self._changed.look()
        self._highest = max([self._highest, *changed])
        found = [one for job, known in changed.values() if self._match(job) for one in happenings(job, known)]
        found.sort(key=lambda one: one.cursor)
        after, self._after = self._after, None  # what comes later is new to the reader, whenever it happened
        return found if after is None else [one for one in found if after.is_before(one.cursor)]

    def mark(self, one: Happening) -> Mark:
        """Return what a reader knows that has got the events up to this one."""
        running = {job.id: count_of(job) for job in self._changed.running.values()}
        return Mark(one.cursor, self._highest, running)


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
