"""Looking after others: stay registered among the workers, recover jobs of dead ones, keep the journal short."""

from __future__ import annotations

from jobq.moment import Moment
from jobq.worker.claiming import Claiming
from jobq.worker.context import Context
from jobq.worker.rescue import rescue
from jobq.worker.upkeep import Upkeep

CHECK_EVERY = 1.5  # seconds between two looks at the other workers and the journal when nothing wakes the worker


class Recovery:
    """The duty of a worker to look for dead ones, every CHECK_EVERY seconds."""

    def __init__(self, context: Context, claiming: Claiming, upkeep: Upkeep) -> None:
        self._context = context
        self._claiming = claiming
        self._upkeep = upkeep
        self._last_check = float("-inf")

    def hurry(self) -> None:
        """Check with the next step."""
        self._last_check = float("-inf")

    def step(self, now: Moment) -> float:
        """Check if it is time. Raises OSError, StoreError."""
        if now.boot - self._last_check >= CHECK_EVERY:
            self._last_check = now.boot
            self._check(now)
        return max(0.0, self._last_check + CHECK_EVERY - now.boot)

    def _check(self, now: Moment) -> None:
        context = self._context
        self._stay_registered()
        adopts = not context.is_stopping and not context.own_jobs
        rescued = rescue(context.store, now, adopter=context.token if adopts else None)
        context.held = rescued.held
        for trace in rescued.adopted:
            context.runner.adopt(trace)
            context.adopted.add(trace.key)
        context.report(context.store.state.jobs[trace.key.job_id] for trace in rescued.adopted)
        context.report(rescued.recovered)
        busy = context.own_jobs or context.runner.busy or self._claiming.about_ready(context.store.state)
        self._upkeep.look(now, idle=not busy)

    def _stay_registered(self) -> None:
        """Be found by other processes, although a cleaner of old files took away what they find the worker by."""
        context = self._context
        wakeup = context.registration.wakeup_fd
        if context.registration.mend():
            context.runner.unwatch(wakeup)
            context.runner.watch(context.registration.wakeup_fd)
