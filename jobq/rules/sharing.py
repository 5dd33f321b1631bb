"""The things that running jobs share: locks, which one job holds at a time, and resources, of which there are so many.

Both are held by running attempts and by nothing else, so nothing is held by what is dead. A job that does not fit lets
others pass that do. Once it has waited for ten minutes, no job behind it takes what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush

from jobq.job import Job, Spec, State
from jobq.moment import Moment
from jobq.rules.ranks import Entry, Rank, claim_key, entry_of, id_of, waited

PATIENCE = 600.0  # seconds that a job lets others pass
LOCK = "lock "  # begins the name of a lock among the names of resources


def wants(spec: Spec) -> dict[str, int]:
    """Return how much of what a job of this spec holds while it runs; a lock is a resource of one."""
    return {f"{LOCK}{name}": 1 for name in spec.locks} | dict(spec.needs)


class Shared:
    """The holders of everything, and the ready jobs that lack something, by what they lack."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}  # of each resource
        self._holders: dict[str, dict[int, int]] = {}  # resource -> running job -> how much
        self._parked: dict[str, dict[tuple[Rank, int], list[Entry]]] = {}  # by what is lacking; in heaps

    def count(self, name: str) -> int:
        """Return how much there is of a resource or a lock."""
        return 1 if name.startswith(LOCK) else self.counts.get(name, 0)

    def holders(self, name: str) -> Mapping[int, int]:
        """Return the running jobs that hold some of it, and how much."""
        return self._holders.get(name, {})

    def held(self) -> list[str]:
        """Return the locks and resources that running jobs hold."""
        return list(self._holders)

    def free(self, name: str) -> int:
        """Return how much of it nobody holds."""
        return self.count(name) - sum(self.holders(name).values())

    def note(self, before: Job | None, after: Job | None) -> None:
        """Update who holds what: `before` has become `after`."""
        for job in (before, after):
            if job is not None and (job.spec.locks or job.spec.needs):
                runs = job is after and job.state is State.RUNNING
                for name, amount in wants(job.spec).items():
                    held = self._holders.setdefault(name, {})
                    held.pop(job.id, None)
                    if runs:
                        held[job.id] = amount
                    elif not held:
                        del self._holders[name]

    def park(self, name: str, amount: int, rank: Rank, job: Job) -> None:
        """Let the job wait until there is so much of it."""
        heappush(self._parked.setdefault(name, {}).setdefault((rank, amount), []), entry_of(job))

    def lacks(self, job: Job, jobs: Mapping[int, Job], now: Moment) -> tuple[str, int] | None:
        """Return what a ready job lacks, and how much of it it needs; None: it fits."""
        for name, amount in wants(job.spec).items():
            if amount > self.free(name) or self.kept_for(name, job, jobs, now) is not None:
                return name, amount
        return None

    def kept_for(self, name: str, job: Job, jobs: Mapping[int, Job], now: Moment) -> Job | None:
        """Return a job before this one that has waited for so long that the resource is kept for it."""
        for (_, amount), heap in self._parked.get(name, {}).items():
            first = self._first(name, amount, heap, jobs)
            if (
                first is not None
                and amount <= self.count(name)
                and claim_key(first) < claim_key(job)
                and waited(first, now) > PATIENCE
            ):
                return first
        return None

    def _first(self, name: str, amount: int, heap: list[Entry], jobs: Mapping[int, Job]) -> Job | None:
        while heap:
            job = jobs.get(id_of(heap[0]))
            waits = job is not None and job.state is State.QUEUED and entry_of(job) == heap[0]
            if job is not None and waits and wants(job.spec).get(name) == amount:
                return job
            heappop(heap)
        return None

    def released(self, name: str, jobs: Mapping[int, Job]) -> Iterator[Job]:
        """Yield the jobs that may fit now: of each rank and amount the first. They are parked no more."""
        parked = self._parked.get(name, {})
        free = self.free(name)
        for key, heap in list(parked.items()):
            _, amount = key
            if amount <= free and (job := self._first(name, amount, heap, jobs)) is not None:
                heappop(heap)
                yield job
            if not heap:
                del parked[key]

    def upcoming(self, jobs: Mapping[int, Job]) -> Iterator[Job]:
        """Yield the first parked jobs of each kind."""
        for name, parked in self._parked.items():
            for (_, amount), heap in parked.items():
                if (job := self._first(name, amount, heap, jobs)) is not None:
                    yield job

    def indices(self, name: str, amount: int, jobs: Mapping[int, Job]) -> tuple[int, ...]:
        """Return the lowest indices of a resource that no running job was given."""
        given = {i for job_id in self.holders(name) for i in dict(jobs[job_id].attempts[-1].given).get(name, ())}
        return tuple(i for i in range(self.count(name)) if i not in given)[:amount]


def why_lacking(job: Job, shared: Shared, jobs: Mapping[int, Job], now: Moment) -> str:
    """Return what the job lacks, in words: "lock db: 7", "needs gpu=2, 1 free"; "" if it fits."""
    for name, amount in wants(job.spec).items():
        if amount > shared.free(name):
            if name.startswith(LOCK):
                return f"{name}: {min(shared.holders(name))}"
            if amount > shared.count(name):
                return f"needs {name}={amount}, there are {shared.count(name)}"
            return f"needs {name}={amount}, {max(shared.free(name), 0)} free"
        if (other := shared.kept_for(name, job, jobs, now)) is not None:
            return f"{name} is kept for job {other.id}"
    return ""


def variable_of(resource: str) -> str:
    """Return the variable by which a job is told its indices of a resource: JOBQ_GPU for gpu."""
    return "JOBQ_" + "".join(char if char.isascii() and char.isalnum() else "_" for char in resource).upper()
