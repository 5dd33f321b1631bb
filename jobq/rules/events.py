"""Events: what has happened to jobs, in order, as their histories tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from jobq.errors import UsageError
from jobq.job import Ending, Job
from jobq.rules.lifecycle import Event
from jobq.typed import NamedTuple

ENDS = {Event.SUCCEED, Event.FAIL, Event.RETRY, Event.HAND_BACK}  # events that end an attempt


class Cursor(NamedTuple):
    """The place of an event in the order of all: its time, its job, and its number among those of the job."""

    at: float
    job_id: int
    number: int

    def __str__(self) -> str:
        return f"{self.at!r}:{self.job_id}:{self.number}"


class Happening(NamedTuple):
    """One event. `attempt`: the number of the attempt that it is about; `ending`: how that ended, if it did by this."""

    cursor: Cursor
    event: str
    job: Job
    attempt: int | None
    ending: Ending | None


class Mark(NamedTuple):
    """The place of a reader in the stream. Events may become known later than others that happened after them.

    So beside the last event it says which id was the highest, and how many events of each running job were known.
    """

    last: Cursor
    highest: int = 0
    running: Mapping[int, int] = MappingProxyType({})

    def __str__(self) -> str:
        running = ",".join(f"{job_id}.{count}" for job_id, count in self.running.items())
        return f"{self.last}:{self.highest}:{running}"

    def is_before(self, cursor: Cursor) -> bool:
        """Return True if the reader does not know this event."""
        if cursor.job_id > self.highest or cursor > self.last:
            return True
        return cursor.number >= self.running.get(cursor.job_id, cursor.number + 1)


def parse_mark(text: str) -> Mark:
    """Return the cursor that was printed with an event. Raises UsageError."""
    try:
        at, job_id, number, highest, running = text.split(":")
        pairs = (pair.split(".") for pair in running.split(",") if pair)
        known = {int(job_id): int(count) for job_id, count in pairs}
        return Mark(Cursor(float(at), int(job_id), int(number)), int(highest), known)
    except ValueError:
        raise UsageError(
            f"{text!r:.60} is not a cursor", "give the 'cursor' of an event of 'jobq events --json'"
        ) from None


def happenings(job: Job, start: int = 0) -> Iterator[Happening]:
    """Yield the events of a job from the one with the number `start`; number 0 is its add."""
    if start == 0:
        yield Happening(Cursor(job.added_at, job.id, 0), "add", job, None, None)
    claims = 0
    for number, step in enumerate(job.history, 1):
        claims += step.event == Event.CLAIM
        if number < start:
            continue
        about = claims if step.event in ENDS | {Event.CLAIM, Event.ADOPT} or (step.event == Event.CANCEL) else 0
        attempt = job.attempts[about - 1] if 0 < about <= len(job.attempts) else None
        ending = attempt.ending if attempt is not None and step.event not in {Event.CLAIM, Event.ADOPT} else None
        yield Happening(
            Cursor(step.at, job.id, number), str(step.event), job, attempt.n if attempt is not None else None, ending
        )


def count_of(job: Job) -> int:
    """Return the number of events of a job."""
    return 1 + len(job.history)
