"""The duty to stop what runs of paused queues, if the pause is to do that, and to let it go on afterwards."""

from __future__ import annotations

from jobq.engine.task import Key
from jobq.moment import Moment
from jobq.rules.order import is_paused
from jobq.worker.context import Context

AGAIN = 1.0  # seconds after which the order is given again: of jobs in a batch, the next one runs by now


class Suspending:
    """Suspends attempts, and lets them go on."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._suspended: set[Key] = set()
        self._again_at = float("-inf")

    def step(self, now: Moment) -> float:
        """Give the orders that are due; the disk is not needed for that."""
        context, state = self._context, self._context.store.state
        runner, stopped = context.runner, state.stopped()
        if not (stopped or self._suspended or context.adopted):
            return float("inf")
        jobs = {key: job for key in runner.running() if (job := state.jobs.get(key.job_id)) is not None}
        wanted = {
            key for key, job in jobs.items() if is_paused(job.spec.queue, stopped) and job.cancel_asked_at is None
        }
        if new := wanted - self._suspended:
            runner.recall()
        if new or now.boot >= self._again_at:
            self._again_at = now.boot + AGAIN
            self._suspended |= {key for key in wanted if runner.suspend(key, suspend=True)}
        # Adopted ones may have been suspended by a worker that is dead: they are told to go on once.
        told = {key for key in (self._suspended | context.adopted) - wanted if runner.suspend(key, suspend=False)}
        context.adopted &= jobs.keys() - told - wanted
        self._suspended &= jobs.keys() - told
        return max(0.0, self._again_at - now.boot) if wanted else float("inf")
