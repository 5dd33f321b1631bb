"""Forwarding cancels: a cancel of a running job is a wish in the store, which the worker of the process carries out."""

from __future__ import annotations

from collections.abc import Iterable

from jobq.engine.task import Ended, Key
from jobq.moment import Moment
from jobq.worker.context import Context


class Cancels:
    """Each order is given once, and again as long as the runner has not taken it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._given: set[Key] = set()

    def step(self, now: Moment) -> float:  # noqa: ARG002
        """Give the runner the orders that are wished for."""
        jobs, runner = self._context.store.state.jobs, self._context.runner
        for key in runner.running():
            job = jobs.get(key.job_id)
            wished = job is not None and job.cancel_asked_at is not None
            if wished and key not in self._given and runner.cancel(key):
                self._given.add(key)
        return float("inf")

    def recorded(self, ended: Iterable[Ended]) -> None:
        """Forget the orders for these attempts: they are over."""
        self._given -= {end.key for end in ended}
