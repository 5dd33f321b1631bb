"""Jobs by a moment that they wait for, in an order that is updated one job at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush

from jobq.job import Job
from jobq.moment import BY_WALL, Due, Moment

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import TypeVar

    H = TypeVar("H", int, tuple[float, int], int | tuple[float, int])

WALL_LOOK = 30.0  # seconds: the wall clock may be set, so nobody sleeps longer until an instant of it


class Timers:
    """Heaps with lazy removal, one for each clock: an entry counts only if its job still waits for that moment."""

    def __init__(self, due_of: Callable[[Job], Due | None], wait: Callable[[Job, Moment], float]) -> None:
        """`due_of`: the moment that a job waits for, if it does; `wait`: the seconds until then."""
        self._heaps: dict[str, list[tuple[float, int]]] = {}  # by boot id; in a heap by seconds since that boot
        self._due_of = due_of
        self._wait = wait

    def push(self, due: Due, job_id: int) -> None:
        """Let the job wait until then."""
        heappush(self._heaps.setdefault(due.boot_id, []), (due.boot, job_id))

    def pop(self, jobs: Mapping[int, Job], now: Moment) -> Iterator[Job]:
        """Yield the jobs whose moment has come; each leaves the order."""
        for heap in self._heaps.values():
            while heap:
                job = self._waiting(heap[0], jobs)
                if job is not None and self._wait(job, now) > 0:
                    break
                heappop(heap)
                if job is not None:
                    yield job

    def next(self, jobs: Mapping[int, Job], now: Moment) -> float | None:
        """Return the seconds until it is worth looking again; None: nothing waits. Call it when `pop` is exhausted."""
        waits = [self._wait(job, now) for heap in self._heaps.values() if (job := self._first(heap, jobs)) is not None]
        if self._heaps.get(BY_WALL):
            waits.append(WALL_LOOK)
        return min(waits, default=None)

    def upcoming(self, jobs: Mapping[int, Job], count: int) -> list[Job]:
        """Return about the first `count` jobs, by the wall clock."""
        found = {
            job.id: (due.wall, job)
            for heap in self._heaps.values()
            for entry in smallest(heap, count)
            if (job := self._waiting(entry, jobs)) is not None and (due := self._due_of(job)) is not None
        }
        return [job for _, job in sorted(found.values(), key=lambda pair: (pair[0], pair[1].id))][:count]

    def _first(self, heap: list[tuple[float, int]], jobs: Mapping[int, Job]) -> Job | None:
        while heap:
            if (job := self._waiting(heap[0], jobs)) is not None:
                return job
            heappop(heap)
        return None

    def _waiting(self, entry: tuple[float, int], jobs: Mapping[int, Job]) -> Job | None:
        boot, job_id = entry
        job = jobs.get(job_id)
        due = self._due_of(job) if job is not None else None
        return job if due is not None and due.boot == boot else None


def smallest(heap: Sequence[H], count: int) -> list[H]:
    """Return the first `count` entries of a heap in order, without reading the rest."""
    found: list[H] = []
    front = [(heap[0], 0)] if heap else []
    while front and len(found) < count:
        entry, at = heappop(front)
        found.append(entry)
        for child in (2 * at + 1, 2 * at + 2):
            if child < len(heap):
                heappush(front, (heap[child], child))
    return found
