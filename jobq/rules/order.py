"""The order of claims.

Ready jobs are claimed in the order of `ranks.claim_key`, within the limits of their queues. `Waiting` updates that
order one job at a time, so that a claim costs the same for any number of waiting jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from heapq import heappop, heappush

from jobq.job import Job, Spec, State
from jobq.moment import Due, Moment
from jobq.rules import retry
from jobq.rules.ranks import Entry, Rank, claim_key, entry_of, id_of, is_of, rank_of, waited
from jobq.rules.serving import ALL_QUEUES, HOOKS
from jobq.rules.sharing import PATIENCE, Shared, wants
from jobq.rules.timers import Timers, smallest

MANY = 1 << 62  # slots, more than any worker has


class Waiting:
    """The queued jobs in the order of their claim, and the number of running jobs of each queue.

    Heaps with lazy removal: an entry counts only if its job is ready, of that rank, and not parked; duplicates are
    harmless. A job that can't start for a reason of its own is parked under that reason, so that it stops no other job
    of its rank, and put back when the reason is gone.
    """

    def __init__(self, waits_for: Callable[[Job], Collection[int]] = lambda _job: ()) -> None:
        """`waits_for`: the unfinished jobs that a job is after."""
        self._waits_for = waits_for
        self._ready: dict[Rank, list[Entry]] = {}
        self._later = Timers(_waits_until, retry.wait)
        self._expiring = Timers(lambda job: job.deadline, retry.left)
        self._parked: dict[str, frozenset[int]] = {}  # by reason
        self.shared = Shared()
        self.running: Counter[str] = Counter()  # by queue
        self.active: Counter[tuple[str, str | None]] = Counter()  # queued or running, by queue and runner
        self.held: Counter[str] = Counter()  # by queue
        self.anyones: Counter[str] = Counter()  # running jobs that no `jobq run` has for itself, by queue
        self.wide: dict[str, dict[int, int]] = {}  # owner -> running job -> its slots, if these are not one

    def add(self, spec: Spec, ids: range) -> None:
        """Add new jobs, ready at once. Their ids are above all others, so that appending keeps the order."""
        self.active[spec.queue, spec.runner] += len(ids)
        first = Job(ids.start, spec, "", 0.0)
        if self._waits_for(first):
            pass  # `place` is called when it may start
        elif (due := first.not_before) is None:
            self._ready.setdefault(rank_of(first), []).extend(ids)
        else:
            for job_id in ids:
                self._later.push(due, job_id)
        if (deadline := first.deadline) is not None:
            for job_id in ids:
                self._expiring.push(deadline, job_id)

    def waiting_in(self, queue: str) -> int:
        """Return the number of jobs of a queue that wait, held ones included, but for those of a `jobq run`."""
        return self.active[queue, None] - self.anyones[queue] + self.held[queue]

    def note(self, before: Job | None, after: Job | None) -> None:
        """Update the order: `before` has become `after` (None: did not exist, was removed)."""
        for job, count in ((before, -1), (after, 1)):
            if job is None:
                continue
            if job.state is State.RUNNING:
                self.running[job.spec.queue] += count
                if job.runner is None:
                    self.anyones[job.spec.queue] += count
                if job.spec.slots != 1:
                    self._note_wide(job, runs=job is after)
            if job.state is State.HELD:
                self.held[job.spec.queue] += count
            if job.state is State.RUNNING or job.state is State.QUEUED:
                self.active[job.spec.queue, job.runner] += count
        self.shared.note(before, after)
        if after is not None:
            self.place(after)
        if after is not None and (deadline := after.deadline) is not None:
            self._expiring.push(deadline, after.id)

    def _note_wide(self, job: Job, *, runs: bool) -> None:
        owner = job.attempts[-1].owner
        its_own = self.wide.setdefault(owner, {})
        its_own.pop(job.id, None)
        if runs:
            its_own[job.id] = job.spec.slots
        elif not its_own:
            del self.wide[owner]

    def place(self, job: Job) -> None:
        """Put a job into the order, if it waits for no other one."""
        if job.state is State.QUEUED and not self._waits_for(job):
            if (due := job.not_before) is None:
                self.push(job)
            else:
                self._later.push(due, job.id)

    def push(self, job: Job) -> None:
        """Add a job that is ready (again)."""
        heappush(self._ready.setdefault(rank_of(job), []), entry_of(job))

    def offer(self, names: Iterable[str], jobs: Mapping[int, Job]) -> None:
        """Make ready what may fit now, as something has changed about these locks and resources."""
        for name in names:
            for job in self.shared.released(name, jobs):
                self.push(job)

    def park(self, reason: str, job_ids: Collection[int], jobs: Mapping[int, Job]) -> None:
        """Pass over these jobs for this reason; those that were parked for it before, and are not now, come back."""
        before = self._parked.get(reason, frozenset())
        if not before and not job_ids:
            return
        self._parked[reason] = frozenset(job_ids)
        for job_id in before.difference(job_ids):
            job = jobs.get(job_id)
            if job is not None and job.state is State.QUEUED and job.not_before is None:
                self.push(job)

    def _is_parked(self, job_id: int) -> bool:
        for parked in self._parked.values():  # noqa: SIM110  # claims ask this most often
            if job_id in parked:
                return True
        return False

    def wake(self, jobs: Mapping[int, Job], now: Moment) -> float | None:
        """Make ready the jobs that have become due. Return the seconds until the next one is due, or None."""
        for job in self._later.pop(jobs, now):
            self.push(job)
        return self._later.next(jobs, now)

    def expired(self, jobs: Mapping[int, Job], now: Moment) -> list[Job]:
        """Return the jobs that have not started in time, until that is recorded."""
        found = list(self._expiring.pop(jobs, now))
        for job in found:
            if (deadline := job.deadline) is not None:
                self._expiring.push(deadline, job.id)
        return found

    def next_deadline(self, jobs: Mapping[int, Job], now: Moment) -> float | None:
        """Return the seconds until the next job expires, or None. Call it when those are recorded."""
        return self._expiring.next(jobs, now)

    def take(
        self,
        jobs: Mapping[int, Job],
        count: int,
        now: Moment,
        *,
        runner: str | None = None,
        queues: Collection[str] | None = None,
        limits: Mapping[str, int] | None = None,
        paused: Collection[str] = (),
        free: int = MANY,
        slots: int = MANY,
    ) -> Iterator[Job]:
        """Yield up to `count` ready jobs in claim order. They leave the order: claim each, or `push` it back.

        `queues` None stands for all; `limits` gives the most jobs of a queue that may run at once; nothing is
        taken of `paused` queues ("*": all). `free` of the worker's `slots` have nothing to do: a job that needs more
        is passed over, until it has waited for so long (`PATIENCE`) that those behind it have to wait for it.
        """
        limits, free = limits or {}, max(free, 0)
        taken: dict[str, int] = {}
        for _ in range(count):
            best: tuple[Job, Rank] | None = None
            for rank in list(self._ready):
                queue = rank.queue
                if not may_claim(queue, rank.runner, runner, queues) or is_paused(queue, paused):
                    continue
                if queue in limits and self.running[queue] + taken.get(queue, 0) >= limits[queue]:
                    continue
                job = self._first(rank, jobs, now)
                if job is None or (min(rank.slots, slots) > free and waited(job, now) <= PATIENCE):
                    continue
                if best is None or claim_key(job) < claim_key(best[0]):
                    best = job, rank
            if best is None or min(best[1].slots, slots) > free:
                return
            job, rank = best
            heap = self._ready[rank]
            entry = heap[0]
            while heap and heap[0] == entry:  # it may be there twice
                heappop(heap)
            taken[rank.queue] = taken.get(rank.queue, 0) + 1
            free -= min(rank.slots, slots)
            yield job

    def about_ready(
        self, *, runner: str | None = None, queues: Collection[str] | None = None, paused: Collection[str] = ()
    ) -> int:
        """Return about how many jobs could be claimed now, without checking each."""
        return sum(
            len(heap)
            for rank, heap in self._ready.items()
            if may_claim(rank.queue, rank.runner, runner, queues) and not is_paused(rank.queue, paused)
        )

    def upcoming(self, jobs: Mapping[int, Job], count: int) -> list[Job]:
        """Return about `count` jobs that are next: ready ones in claim order, then those that become due first."""
        ready = {
            job.id: job
            for heap in self._ready.values()
            for entry in smallest(heap, count)
            if (job := jobs.get(id_of(entry))) is not None and job.state is State.QUEUED and job.not_before is None
        }
        ready |= {job.id: job for job in self.shared.upcoming(jobs)}
        later = self._later.upcoming(jobs, count)
        return (sorted(ready.values(), key=claim_key) + later)[:count]

    def _first(self, rank: Rank, jobs: Mapping[int, Job], now: Moment) -> Job | None:
        heap = self._ready[rank]
        while heap:
            job = jobs.get(id_of(heap[0]))
            if (
                job is not None
                and entry_of(job) == heap[0]
                and is_of(job, rank)
                and is_ready(job, now)
                and not self._waits_for(job)
                and not self._is_parked(job.id)
            ):
                lacking = self.shared.lacks(job, jobs, now)
                if lacking is None:
                    return job
                heappop(heap)
                self.shared.park(*lacking, rank, job)
                self.offer(wants(job.spec).keys() - {lacking[0]}, jobs)
                continue
            heappop(heap)
            if job is not None and not self._waits_for(job) and (due := _waits_until(job)) is not None:
                self._later.push(due, job.id)  # it is not due yet, or the clock was set back
        del self._ready[rank]
        return None


def may_claim(queue: str, its_runner: str | None, runner: str | None, queues: Collection[str] | None) -> bool:
    """Return True if a worker that serves `queues` (None: all) for `runner` may claim jobs of that queue and runner."""
    return its_runner == runner and (queues is None or queue in queues or queue == HOOKS)


def is_paused(queue: str, paused: Collection[str]) -> bool:
    """Return True if nothing of the queue may be started; "*" stands for all queues."""
    return bool(paused) and (queue in paused or ALL_QUEUES in paused) and queue != HOOKS


def is_ready(job: Job, now: Moment) -> bool:
    """Return True if the job could be claimed now, limits aside."""
    return job.state is State.QUEUED and retry.wait(job, now) <= 0 < retry.left(job, now)


def will_end(
    jobs: Iterable[Job], waits_for: Callable[[Job], Collection[int]], now: Moment, may_start: Callable[[Job], bool]
) -> list[Job]:
    """Return the unfinished jobs that end without waiting for a time or a person: they run, or may start soon.

    A job that is after others counts if all of those do. `may_start`: somebody would start this job.
    """
    found: dict[int, Job] = {}

    def goes_on(job: Job) -> bool:
        soon = job.state is State.QUEUED and (job.has_started or retry.wait(job, now) <= 0) and may_start(job)
        return job.state is State.RUNNING or (soon and found.keys() >= set(waits_for(job)))

    rest, before = sorted(jobs, key=lambda job: job.id), -1  # parents first, except after an edit
    while len(found) > before:
        before = len(found)
        for job in rest:
            if goes_on(job):
                found[job.id] = job
        rest = [job for job in rest if job.id not in found]
    return list(found.values())


def _waits_until(job: Job) -> Due | None:
    return job.not_before if job.state is State.QUEUED else None
