"""The duty to run a person's hook once nothing runs and nothing is ready any more: `queue_idle` of the settings."""

from __future__ import annotations

from collections.abc import Callable

from jobq.environ import environment, home
from jobq.errors import JobqError
from jobq.intake import Request, store_request
from jobq.job import Job, Spec, State
from jobq.moment import Moment
from jobq.rules import retry
from jobq.rules.hooks import is_hook, spec_for
from jobq.rules.order import will_end
from jobq.rules.serving import HOOKS
from jobq.store.environment import capture
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.store.upgrade import recapturing, upgrading
from jobq.system import utf8
from jobq.worker.context import Context


class IdleHook:
    """Adds the hook, once each time that the store becomes idle, however many workers see that."""

    def __init__(self, context: Context, command: Callable[[], str | None]) -> None:
        """`command` returns the line for the shell as the settings say now, None: there is none. Raises UsageError."""
        self._context = context
        self._command = command
        self._was_busy = False
        self._seq = -1  # of the journal, when that was checked last

    def step(self, now: Moment) -> float:
        """Add the hook if it is time. Raises OSError, StoreError."""
        context = self._context
        if context.own_jobs:
            return float("inf")
        state = context.store.state
        if is_at_work(state):
            self._was_busy = True
        elif self._was_busy and state.seq != self._seq:
            self._seq = state.seq
            try:
                command = self._command()
            except JobqError:
                command = None  # the settings are wrong; commands say so
            self._was_busy = command is not None and is_busy(state, now)
            if command is not None and not self._was_busy:
                self._add(command, now)
        return float("inf")

    def _add(self, command: str, now: Moment) -> None:
        store, seq = self._context.store, self._seq

        def add() -> None:
            like = Spec(cwd=utf8(home()), env=store.save_environment(capture(environment(), {})))
            with store.transaction(now.wall) as changes:
                last = last_ended(store)
                if last is None or (changes.state.seq != seq and is_busy(changes.state, now)):
                    return  # there is more to do by now
                key = f"{HOOKS} idle {last.id} {last.finished_at}"  # of all workers that see it, one adds it
                spec = spec_for(like, {"JOBQ_HOOK": "idle", "JOBQ_JOB_ID": str(last.id)})._replace(key=key, once=True)
                store_request(store, changes, Request(spec, [command]), now)

        recapturing(lambda: upgrading(store, add))


def is_at_work(state: StoreState) -> bool:
    """Return True if a job other than a hook runs; without a look at each job, as every turn asks."""
    return any(count and queue != HOOKS for queue, count in state.waiting.running.items())


def is_busy(state: StoreState, now: Moment) -> bool:
    """Return True if a job other than a hook runs, or will start without waiting for a time or a person."""
    if not any(count and queue != HOOKS for (queue, _), count in state.waiting.active.items()):
        return False
    jobs = [job for job in state.unfinished() if job.state is not State.HELD and not is_hook(job)]
    soon = [job for job in jobs if job.has_started or job.not_before is None or retry.wait(job, now) <= 0]
    return bool(will_end(soon, state.dependents.waits_for, now, lambda _job: True))


def last_ended(store: Store) -> Job | None:
    """Return the job that has ended last, hooks aside."""
    return next((job for job in store.finished_jobs() if not is_hook(job)), None)
