"""The duty to record which waiting jobs have expired: they had not started in time."""

from __future__ import annotations

from jobq.job import Job
from jobq.moment import Moment
from jobq.rules import lifecycle, retry
from jobq.worker.context import Context


class Expiry:
    """Expires the jobs of the store, whoever would have run them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self, now: Moment) -> float:
        """Record what has expired. Raises OSError, StoreError."""
        store = self._context.store
        if store.state.waiting.expired(store.state.jobs, now):
            moved: list[Job] = []
            with store.transaction(now.wall) as changes:
                for waiting in changes.state.waiting.expired(changes.state.jobs, now):
                    job = changes.state.jobs[waiting.id]  # what was before it may have skipped it
                    if retry.left(job, now) <= 0:
                        moved.append(lifecycle.expire(job, now))
                        changes.put(moved[-1])
            self._context.report(moved)
        soonest = store.state.waiting.next_deadline(store.state.jobs, now)
        return float("inf") if soonest is None else soonest
