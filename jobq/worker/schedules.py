"""The duty to fire schedules: each instant once, whatever the clock does and however many workers run."""

from __future__ import annotations

from collections.abc import Mapping

from jobq.errors import NotFound, Refused, UsageError
from jobq.intake import Request, store_request
from jobq.job import Job
from jobq.moment import Moment
from jobq.rules.dependencies import WAITING
from jobq.rules.firing import MOST, next_instant, plan, spec_at
from jobq.schedules import Schedule
from jobq.store import presence
from jobq.store.environment import EnvironmentGone
from jobq.store.schedules import MarkSchedule
from jobq.store.state import StoreState
from jobq.store.transaction import Transaction
from jobq.worker.context import Context

LOOK = 10.0  # seconds between two looks at the wall clock, which may be set


class Schedules:
    """Fires the schedules of the store, whoever will run the jobs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._next: dict[str, tuple[Schedule, float]] = {}  # by name: as it was, and its next instant
        self._behind: dict[str, int] = {}  # by name: the job that has to start before more are added

    def step(self, now: Moment) -> float:
        """Add the jobs that are due. Raises OSError, StoreError."""
        store = self._context.store
        if not store.state.schedules or self._context.own_jobs or self._context.is_stopping:
            return float("inf")
        if self._due(store.state, now):
            with store.transaction(now.wall, notify=False) as changes:
                fired = [self._fire(changes, one, now) for one in self._due(changes.state, now)]
            if any(fired):
                presence.notify(store.root)
        if self._due(store.state, now):
            return 0.0  # there is more
        coming = (at for at in map(self._instant, store.state.schedules.values()) if at > now.wall)
        return min(min(coming, default=float("inf")) - now.wall, LOOK)

    def _due(self, state: StoreState, now: Moment) -> list[Schedule]:
        """Return the schedules whose instant has come, but for those whose last job has to start first."""
        return [
            schedule
            for schedule in state.schedules.values()
            if self._instant(schedule) <= now.wall and not self._must_wait(state.jobs, schedule)
        ]

    def _must_wait(self, jobs: Mapping[int, Job], schedule: Schedule) -> bool:
        last = self._behind.get(schedule.name)
        if last is None:
            return False
        if last == schedule.last and last in jobs and jobs[last].state in WAITING:
            return True
        del self._behind[schedule.name]
        return False

    def _instant(self, schedule: Schedule) -> float:
        """Return the next instant; infinity if there is none, or if it can't be known, as its time zone is gone."""
        known = self._next.get(schedule.name)
        if known is not None and known[0] is schedule:
            return known[1]
        try:
            instant = next_instant(schedule)
        except UsageError:
            instant = None
        at = float("inf") if instant is None else instant
        self._next[schedule.name] = schedule, at
        return at

    def _fire(self, changes: Transaction, schedule: Schedule, now: Moment) -> bool:
        """Add the jobs of a schedule and record that, in one transaction: an instant is never dealt with twice.

        Of very many that were missed, more are added only when the last one has started: False if it has not.
        """
        instants, after = plan(schedule, now.wall)
        last = changes.jobs.get(schedule.last or 0)
        if len(instants) == MOST and last is not None and last.state in WAITING:
            self._behind[schedule.name] = last.id
            return False
        for instant in instants:
            last = changes.jobs.get(after.last) if after.last is not None else None
            is_open = last is not None and not last.state.final
            if is_open and after.overlap == "skip":
                after = after._replace(dropped=after.dropped + 1)
                continue
            behind = after.last if is_open and after.overlap == "queue" else None
            request = Request(spec_at(after, instant, now, behind=behind), [after.command])
            try:
                added = store_request(self._context.store, changes, request, now)
            except (Refused, NotFound, EnvironmentGone) as e:
                after = after._replace(dropped=after.dropped + 1, trouble=str(e))
                continue
            if added.new:
                after = after._replace(last=added.ids[0], fired=after.fired + 1, trouble="")
            else:
                after = after._replace(dropped=after.dropped + 1, trouble=f"job {added.ids[0]} is the same work")
        changes.record(MarkSchedule.of(after))
        return True
