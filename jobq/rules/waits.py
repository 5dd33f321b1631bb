"""The time that a job has waited, by reason, from its history and from the jobs that it was after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobq.job import Job
from jobq.rules import policies
from jobq.rules.lifecycle import Event
from jobq.typed import NamedTuple

REASONS = ("held", "after", "scheduled", "retry", "ready")
GOES_ON = frozenset({Event.EDIT, Event.MOVE, Event.ASK_CANCEL, Event.ADOPT})  # it waits, or runs, as before
WAITS = frozenset({Event.HOLD, Event.RELEASE, Event.RETRY, Event.HAND_BACK, Event.REQUEUE, Event.REARM})


class Interval(NamedTuple):
    """A time in which a job waited; wall clock. `retry`: it was to wait so long for its retry, not counting jitter."""

    start: float
    end: float
    held: bool
    retry: float = 0.0


def time_waited(job: Job, parents: Iterable[Job], now: float) -> dict[str, float]:
    """Return the seconds that a job has waited, by reason: those of REASONS that played a role.

    "ready": until it was its turn (a worker, a slot, what it shares, the end of a pause). `parents`: those of the jobs
    that it is after that are still known; `now`: wall clock.
    """
    ends = [now if parent.finished_at is None else parent.finished_at for parent in parents]
    after = max(ends, default=float("-inf"))
    spec = job.spec
    first = spec.at if spec.at is not None else float("-inf")
    if spec.delay is not None and spec.asked is not None:
        first = spec.asked.wall + spec.delay
    found = dict.fromkeys(REASONS, 0.0)
    for interval in _intervals(job, now):
        at = interval.start
        limits = [("after", after), ("scheduled", first), ("retry", interval.start + interval.retry)]
        for reason, until in [("held", interval.end)] if interval.held else limits:
            if min(until, interval.end) > at:
                found[reason] += min(until, interval.end) - at
                at = min(until, interval.end)
        found["ready"] += max(0.0, interval.end - at)
    return {reason: seconds for reason, seconds in found.items() if seconds >= 0.0005}


def _intervals(job: Job, now: float) -> Iterator[Interval]:
    start: float | None = job.added_at
    held, retry, retries = False, 0.0, 0
    for event, at in job.history:
        if event in GOES_ON:
            continue
        if start is not None:
            yield Interval(start, max(start, at), held, retry)
        start = at if event in WAITS else None
        held, retry = event == Event.HOLD, 0.0
        if event == Event.RETRY:
            retries += 1
            retry = policies.delay(job.spec.backoff, retries)
        elif event == Event.REQUEUE:
            retries = 0
    if start is not None:
        yield Interval(start, max(start, now), held, retry)
