"""A schedule: when to enqueue which job, and what has come of that so far."""

from __future__ import annotations

from jobq.command import Command, Record
from jobq.job import Spec
from jobq.typed import NamedTuple

MISSED = ("once", "all", "skip")
OVERLAP = ("skip", "queue", "allow")


class Schedule(NamedTuple):
    """One schedule. Times are seconds of the wall clock."""

    name: str
    when: str  # a cron expression, "@daily", "@every 10m", "@once 2027-01-31T18:00"
    zone: str
    start: float  # when it was made, or its times were changed
    spec: Spec  # of each of its jobs
    command: Command
    missed: str = "once"  # of instants that have passed while no worker ran: fire the last, each, or none
    overlap: str = "skip"  # if its last job is unfinished: drop the instant, run behind it, or beside it
    paused: bool = False
    mark: float = 0.0  # all instants up to here are dealt with; it never goes back
    last: int | None = None  # the job that it has added last
    fired: int = 0
    dropped: int = 0  # instants without a job: missed, or the one before was unfinished
    trouble: str = ""  # why the last instant got no job, other than that
    extra: Record | None = None  # keys of later versions
