"""The duty to fire schedules: each instant once, whatever the clock does and however many workers run."""

from __future__ import annotations

from jobq.errors import NotFound, Refused, UsageError
from jobq.intake import Request, store_request
from jobq.moment import Moment
from jobq.rules.firing import next_instant, plan, spec_at
from jobq.schedules import Schedule
from jobq.store import presence
from jobq.store.environment import EnvironmentGone
from jobq.store.schedules import MarkSchedule
from jobq.store.transaction import Transaction
from jobq.worker.context import Context

LOOK = 10.0  # seconds between two looks at the wall clock, which may be set


class Schedules:
    """Fires the schedules of the store, whoever will run the jobs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self, now: Moment) -> float:
        """Add the jobs that are due. Raises OSError, StoreError."""
        store = self._context.store
        schedules = store.state.schedules
        if not schedules or self._context.own_jobs or self._context.is_stopping:
            return float("inf")
        if any(is_due(schedule, now) for schedule in schedules.values()):
            with store.transaction(now.wall, notify=False) as changes:
                for schedule in list(changes.state.schedules.values()):
                    if is_due(schedule, now):
                        self._fire(changes, schedule, now)
            presence.notify(store.root)
        soonest = (instant for one in schedules.values() if (instant := _next(one)) is not None)
        return min(max(0.0, min(soonest, default=float("inf")) - now.wall), LOOK)

    def _fire(self, changes: Transaction, schedule: Schedule, now: Moment) -> None:
        """Add the jobs of a schedule and record that, in one transaction: an instant is never dealt with twice."""
        instants, after = plan(schedule, now.wall)
        for instant in instants:
            last = changes.jobs.get(after.last) if after.last is not None else None
            is_open = last is not None and not last.state.final
            if is_open and after.overlap == "skip":
                after = after._replace(dropped=after.dropped + 1)
                continue
            behind = after.last if is_open and after.overlap == "queue" else None
            request = Request(spec_at(after, instant, now, behind=behind), [after.command])
            try:
                (job_id,) = store_request(self._context.store, changes, request, now).ids
            except (Refused, NotFound, EnvironmentGone) as e:
                after = after._replace(dropped=after.dropped + 1, trouble=str(e))
            else:
                after = after._replace(last=job_id, fired=after.fired + 1, trouble="")
        changes.record(MarkSchedule.of(after))


def is_due(schedule: Schedule, now: Moment) -> bool:
    """Return True if an instant of the schedule has come."""
    instant = _next(schedule)
    return instant is not None and instant <= now.wall


def _next(schedule: Schedule) -> float | None:
    """Return the next instant; None also if it can't be known, as its time zone is gone."""
    try:
        return next_instant(schedule)
    except UsageError:
        return None
