"""The reasons why a job does not run, in words; they are derived, and never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from jobq.durations import span
from jobq.job import Job, State
from jobq.moment import Moment
from jobq.rules import retry
from jobq.rules.progress import Progress
from jobq.rules.serving import LiveWorker, why_paused, why_unserved
from jobq.typed import NamedTuple

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from datetime import datetime

MOST_NAMED = 3  # jobs in a reason


class Situation(NamedTuple):
    """The facts beside a job that its reason depends on."""

    now: Moment
    workers: tuple[LiveWorker, ...] = ()  # live workers that take any job
    dead: frozenset[str] = frozenset()  # dead workers that still answer for jobs
    copied: frozenset[str] = frozenset()  # those of them that belong to the store that this one is a copy of
    pauses: Mapping[str, str] = MappingProxyType({})  # paused queue ("*": all of them) -> reason
    parents: Mapping[int, tuple[int, Sequence[Job]]] = MappingProxyType(
        {}
    )  # waiting job -> how many it waits for, which
    lacking: Mapping[int, str] = MappingProxyType({})  # waiting job -> what it lacks, in words
    stopped: frozenset[str] = frozenset()  # paused queues whose running jobs are stopped
    silent: Mapping[int, float] = MappingProxyType({})  # running job -> seconds since it printed something
    progress: Mapping[int, Progress] = MappingProxyType({})  # running job -> its latest report


def why_waiting(job: Job, around: Situation) -> str:
    """Return why a job does not run, in words; "" if it does or is finished."""
    if retry.left(job, around.now) <= 0:
        return "expired; the next worker records it"
    blocking = around.parents.get(job.id)
    if job.state is State.HELD:
        return f"held; {after(*blocking)}" if blocking else "held"
    if job.state is not State.QUEUED:
        return ""
    if blocking:
        return after(*blocking)
    again = ""
    if (wait := retry.wait(job, around.now)) > 0:
        snoozed = job.ending is not None and job.ending.snoozed
        number = "again" if snoozed else f"retry {job.retries_used}/{job.spec.retries}"
        again = (
            f"{number} in {span(wait) if snoozed else f'{wait:.0f} s'}" if job.due else scheduled(job, around.now, wait)
        )
        if snoozed and job.due and job.ending is not None:
            again = f"{job.ending}; {again}"
    if job.runner is not None and job.runner in around.dead:
        return "its jobq run is over; the next worker cancels it"
    others = [] if job.runner is not None else [why_unserved(job.spec.queue, around.workers)]
    reasons = [again, around.lacking.get(job.id, ""), why_paused(job.spec.queue, around.pauses), *others]
    usual = "ready" if job.runner is None else "waits for its own jobq run"
    return "; ".join(filter(None, reasons)) or usual


def after(count: int, first: Sequence[Job]) -> str:
    """Return which jobs a job waits for, in words: "after 12 (build)", "after 12 (build), 13 and 5 more"."""
    names = [f"{job.id} ({job.spec.name})" if job.spec.name else str(job.id) for job in first]
    more = f" and {count - len(first)} more" if count > len(first) else ""
    return f"after {', '.join(names)}{more}"


def scheduled(job: Job, now: Moment, wait: float) -> str:
    """Return when a job may start, in words: "tomorrow 09:00, in 14h05m"."""
    return f"starts in {span(wait)}" if job.spec.at is None else time_ahead(job.spec.at, now.wall)


def time_ahead(at: float, now: float) -> str:
    """Return a time to come in words: "tomorrow 09:00, in 14h05m"."""
    from datetime import datetime  # noqa: PLC0415  # only this needs it

    return f"{day_and_time(datetime.fromtimestamp(at), datetime.fromtimestamp(now))}, in {span(at - now)}"


def day_and_time(at: datetime, today: datetime) -> str:
    """Return a time as people say it today: "03:00", "tomorrow 03:00", "Mon 03:00", "2027-01-31 03:00"."""
    days = (at.date() - today.date()).days
    day = {0: "", 1: "tomorrow "}.get(days, f"{at:%a} " if 0 < days < 7 else f"{at:%Y-%m-%d} ")
    return f"{day}{at:%H:%M:%S}" if at.second else f"{day}{at:%H:%M}"
