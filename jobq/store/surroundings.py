"""The facts beside the jobs: which workers live, which are dead, what is paused."""

from __future__ import annotations

from collections.abc import Iterable

from jobq.job import Job, Moment, State
from jobq.rules.reasons import Situation
from jobq.store import presence
from jobq.store.store import Store


def survey(store: Store, jobs: Iterable[Job], now: Moment) -> Situation:
    """Return the situation of these jobs, which were just read from the store."""
    root = store.existing()
    if root is None:
        return Situation(now)
    runners = {job.runner for job in jobs if job.runner is not None and not job.state.final}
    owners = runners | {store.state.jobs[job_id].attempts[-1].owner for job_id in store.state.running}
    dead = frozenset(owner for owner in owners if not presence.is_alive(root, owner))
    copied = frozenset(owner for owner in dead if presence.is_copied(root, owner))
    return Situation(now, tuple(presence.live(root)), dead, copied, store.state.pauses())


def is_orphaned(store: Store, job_ids: Iterable[int]) -> bool:
    """Return True if a worker that answers for one of these jobs is dead, and this version may write to the store."""
    root = store.existing()
    if root is None or not store.may_write:
        return False
    jobs = list(map(store.get, job_ids))
    owners = {job.attempts[-1].owner for job in jobs if job.state is State.RUNNING}
    owners |= {job.runner for job in jobs if job.runner is not None and not job.state.final}
    return any(not presence.is_alive(root, owner) for owner in owners)
