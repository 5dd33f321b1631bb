"""The facts beside the jobs: which workers live, which are dead, what is paused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nsmallest

from jobq.job import Job, State
from jobq.moment import Moment
from jobq.options.values import APART
from jobq.rules.progress import Progress
from jobq.rules.ranks import at_work
from jobq.rules.reasons import MOST_NAMED, Situation
from jobq.rules.serving import LiveWorker, why_too_wide
from jobq.rules.sharing import why_lacking
from jobq.store import presence
from jobq.store.format import FORMAT
from jobq.store.progress import read_progress
from jobq.store.reading import StoreReader


def survey(store: StoreReader, jobs: Iterable[Job], now: Moment) -> Situation:
    """Return the situation of these jobs, which were just read from the store."""
    root = store.existing()
    if root is None:
        return Situation(now)
    jobs = list(jobs)
    runners = {job.runner for job in jobs if job.runner is not None and not job.state.final}
    owners = runners | {store.state.jobs[job_id].attempts[-1].owner for job_id in store.state.running}
    dead = frozenset(owner for owner in owners if not presence.is_alive(root, owner))
    copied = frozenset(owner for owner in dead if presence.is_copied(root, owner))
    silent = {job.id: now.wall - at for job in jobs if job.running is not None and (at := _last_output(store, job))}
    progress = {job.id: told for job in jobs if job.running is not None and (told := progress_of(store, job))}
    blocking = {job.id: first for job in jobs if not job.state.final and (first := _blocking(store, job))}
    shared = store.state.waiting.shared
    queued = [job for job in jobs if job.state is State.QUEUED and (job.spec.locks or job.spec.needs)]
    lacking = {job.id: why for job in queued if (why := why_lacking(job, shared, store.state.jobs, now))}
    workers = tuple(presence.live(root))
    lacking |= _too_wide(store, jobs, workers) | _limited(store, jobs)
    pauses, stopped = store.state.pauses(), store.state.stopped()
    return Situation(now, workers, dead, copied, pauses, blocking, lacking, stopped, silent, progress)


def progress_of(store: StoreReader, job: Job) -> Progress | None:
    """Return the latest report of the job's last attempt; None if it has told nothing."""
    return read_progress(store.logs.progress_path(job.id, len(job.attempts)))


def _blocking(store: StoreReader, job: Job) -> tuple[int, list[Job]] | None:
    """Return how many jobs a job waits for, and the first of them; None: for none."""
    ids = store.state.dependents.waits_for(job)
    return (len(ids), [store.state.jobs[i] for i in nsmallest(MOST_NAMED, ids)]) if ids else None


def _limited(store: StoreReader, jobs: Iterable[Job]) -> dict[int, str]:
    """Return which of these jobs wait because as many jobs of their queue run as may, and that in words."""
    full = {
        name: f"queue {name} is full ({running}/{limit})"
        for name, limit in store.state.limits.items()
        if (running := store.state.waiting.running[name]) >= limit
    }
    return {job.id: full[job.spec.queue] for job in jobs if job.state is State.QUEUED and job.spec.queue in full}


def _too_wide(store: StoreReader, jobs: Iterable[Job], workers: Sequence[LiveWorker]) -> dict[int, str]:
    """Return which of these jobs wait for more than one slot, and why."""
    wide = [job for job in jobs if job.state is State.QUEUED and job.spec.slots > 1]
    if not wide or not workers:
        return {}
    running = at_work(store.state.jobs[job_id] for job_id in store.state.running)
    used = Counter[str]()
    for job in running:
        used[job.attempts[-1].owner] += job.spec.slots
    return {job.id: why for job in wide if (why := why_too_wide(job.spec.slots, job.spec.queue, workers, used))}


def _last_output(store: StoreReader, job: Job) -> float:
    """Return when the running attempt last printed something, by the wall clock; 0: not known."""
    logs, n = store.logs, len(job.attempts)
    files = [logs.path(job.id, n), logs.error_path(job.id, n) if job.spec.stderr == APART else job.spec.stderr]
    return max((_changed_at(path) for path in files if path), default=0.0)


def _changed_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def is_orphaned(store: StoreReader, job_ids: Iterable[int]) -> bool:
    """Return True if a worker that answers for one of these jobs is dead, and this version may write to the store."""
    root = store.existing()
    if root is None or store.header is None or store.header.min_writer > FORMAT:
        return False
    jobs = list(map(store.get, job_ids))
    owners = {job.attempts[-1].owner for job in jobs if job.state is State.RUNNING}
    owners |= {job.runner for job in jobs if job.runner is not None and not job.state.final}
    return any(not presence.is_alive(root, owner) for owner in owners)
