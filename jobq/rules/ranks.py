"""The place of a job among those that wait: by priority (higher first), then by id, unless it was moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from jobq.job import Job
from jobq.moment import Moment
from jobq.typed import NamedTuple

Entry = int | tuple[float, int]  # of a heap: the id, or the place and the id of a job that was moved


class Rank(NamedTuple):
    """Ready jobs of which a worker can take all or none, but for what they share; one heap of entries of one kind."""

    queue: str
    runner: str | None
    priority: int
    slots: int
    moved: bool


def rank_of(job: Job) -> Rank:
    """Return the rank of a ready job; an edit, a move or a requeue may change it."""
    spec = job.spec
    return Rank(spec.queue, job.runner, spec.priority, spec.slots, job.place is not None)


def is_of(job: Job, rank: Rank) -> bool:
    """Return True if this is the rank of the job. Claims ask it most often, so it makes no rank to compare."""
    spec = job.spec
    return (
        spec.queue == rank.queue
        and spec.priority == rank.priority
        and spec.slots == rank.slots
        and job.runner == rank.runner
        and (job.place is not None) is rank.moved
    )


def entry_of(job: Job) -> Entry:
    """Return what stands for the job in the heap of its rank."""
    return job.id if job.place is None else (job.place, job.id)


def id_of(entry: Entry) -> int:
    """Return the id of the job of an entry."""
    return entry if isinstance(entry, int) else entry[1]


def place_of(job: Job) -> float:
    """Return the number by which jobs of one priority are ordered."""
    return job.id if job.place is None else job.place


def claim_key(job: Job) -> tuple[int, float, int]:
    """Return the sort key by which ready jobs are claimed, in ascending order."""
    return (-job.spec.priority, place_of(job), job.id)


def waited(job: Job, now: Moment) -> float:
    """Return the seconds since a ready job could first have started, by the wall clock."""
    return now.wall - max(job.added_at, job.not_before.wall if job.not_before else 0.0)


def at_work(running: Iterable[Job]) -> list[Job]:
    """Return the running jobs without those that wait behind another job in the same slot, for milliseconds."""
    first: dict[str, Job] = {}
    for job in sorted(running, key=lambda job: (job.attempts[-1].claimed_at, *claim_key(job))):
        first.setdefault(job.attempts[-1].supervisor, job)
    return list(first.values())


def places_before(anchor: int, order: Sequence[Job], moved: Sequence[Job]) -> dict[int, float]:
    """Return the places that put `moved` right before `order[anchor]`, by id.

    `order`: the other jobs of that priority as they are claimed. Where there is no room left between two numbers, the
    jobs beside them that were moved before get new places, too.
    """
    first = last = anchor
    beyond = max(job.id for job in (*order, *moved)) + 1  # not beyond new jobs
    while True:
        run = [*order[first:anchor], *moved, *order[anchor:last]]
        high = place_of(order[last]) if last < len(order) else beyond
        low = place_of(order[first - 1]) if first else high - len(run) - 1
        places = [low + (high - low) * number / (len(run) + 1) for number in range(1, len(run) + 1)]
        if all(one < other for one, other in pairwise((low, *places, high))):
            return {job.id: place for job, place in zip(run, places, strict=True)}
        before, behind = first > 0 and order[first - 1].place is not None, last < len(order)
        if not before and not (behind and order[last].place is not None):
            raise ValueError("there is no room between two jobs that were never moved")
        first -= before
        last += behind and order[last].place is not None
