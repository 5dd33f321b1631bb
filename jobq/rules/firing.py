"""The instants at which a schedule gets a job, and what that job asks for. Pure: `now` is an argument."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from jobq.job import Spec
from jobq.moment import Moment
from jobq.rules.rhythm import Rhythm, next_after, parse
from jobq.rules.schedule import due
from jobq.schedules import Schedule
from jobq.typed import NamedTuple

MOST = 100  # instants of one schedule in one transaction


class Plan(NamedTuple):
    """The next change of a schedule: the instants that get a job, in order, and the schedule after that."""

    instants: tuple[float, ...]
    after: Schedule


@lru_cache(maxsize=1024)
def rhythm_of(when: str, zone: str, start: float) -> Rhythm:
    """Return the rhythm of a schedule. Raises UsageError, also if its time zone is not known any more."""
    return parse(when, zone, start)


def next_instant(schedule: Schedule) -> float | None:
    """Return the first instant that is not dealt with yet; None: it fires no more, or is paused. Raises UsageError."""
    if schedule.paused:
        return None
    return next_after(rhythm_of(schedule.when, schedule.zone, schedule.start), schedule.mark)


def plan(schedule: Schedule, now: float) -> Plan:
    """Return what is due at `now` (wall clock). Raises UsageError."""
    rhythm = rhythm_of(schedule.when, schedule.zone, schedule.start)
    firing = due(rhythm, schedule.mark, now, schedule.missed, MOST)
    after = schedule._replace(mark=firing.mark, dropped=schedule.dropped + firing.missed)
    return Plan(firing.instants, after)


def spec_at(schedule: Schedule, instant: float, now: Moment, *, behind: int | None) -> Spec:
    """Return what the job of an instant asks for; `behind`: the job that it is to run after, if any."""
    spec = schedule.spec
    when = datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    told = {"JOBQ_SCHEDULE": schedule.name, "JOBQ_SCHEDULED_AT": when}
    labels = {"schedule": schedule.name} | dict(spec.labels)
    return spec._replace(
        vars=tuple(sorted((dict(spec.vars) | told).items())),
        labels=tuple(sorted(labels.items())),
        asked=now if spec.expires is not None else spec.asked,
        after_any=spec.after_any if behind is None else tuple(sorted({*spec.after_any, behind})),
    )
