"""Figures about many jobs: how many succeeded, how long they ran and waited, by queue and by command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobq.job import Job, State
from jobq.rules.forecast import shape_of
from jobq.typed import NamedTuple


class Spread(NamedTuple):
    """The 50th and 90th percentile of some times, and the longest, in seconds; None: there are none."""

    p50: float | None
    p90: float | None
    longest: float | None


class Group(NamedTuple):
    """The figures of the jobs of one queue, or of one command."""

    name: str
    jobs: int
    succeeded: int
    failed: int
    other: int  # cancelled, skipped, expired, or not finished
    retries: int  # attempts beside the first of each job
    run: Spread
    wait: Spread
    cpu: float  # seconds, of all attempts
    last: float  # when the last one was added or ended; wall clock


def spread(times: Sequence[float]) -> Spread:
    """Return the spread of these times, each percentile the nearest that was measured (nearest rank)."""
    if not times:
        return Spread(None, None, None)
    ordered = sorted(times)
    return Spread(ordered[_rank(50, len(ordered))], ordered[_rank(90, len(ordered))], ordered[-1])


def _rank(percent: int, count: int) -> int:
    return max(0, -(-percent * count // 100) - 1)


def group(name: str, jobs: Sequence[Job]) -> Group:
    """Return the figures of these jobs."""
    states = [job.state for job in jobs]
    succeeded, failed = states.count(State.SUCCEEDED), states.count(State.FAILED)
    attempts = [attempt for job in jobs for attempt in job.attempts if attempt.ending is not None]
    cpu = sum(attempt.ending.user_s + attempt.ending.system_s for attempt in attempts if attempt.ending is not None)
    return Group(
        name,
        len(jobs),
        succeeded,
        failed,
        len(jobs) - succeeded - failed,
        sum(max(0, len(job.attempts) - 1) for job in jobs),
        spread([seconds for job in jobs if job.state.final and (seconds := job.seconds) is not None]),
        spread([wait for job in jobs if (wait := first_wait(job)) is not None]),
        cpu,
        max(job.finished_at or job.added_at for job in jobs),
    )


def first_wait(job: Job) -> float | None:
    """Return the seconds between the add and the first start; None if it has not started."""
    return max(0.0, job.attempts[0].began_at - job.added_at) if job.attempts else None


def by_queue(jobs: Iterable[Job]) -> list[Group]:
    """Return the figures of each queue, the one with most jobs first."""
    return _grouped((job.spec.queue, job) for job in jobs)


def by_command(jobs: Iterable[Job]) -> list[Group]:
    """Return the figures of each command: of each name, or of what begins with the same two words."""
    return _grouped((command_name(job), job) for job in jobs)


def command_name(job: Job) -> str:
    """Return what the commands of a group have in common."""
    shape = shape_of(job)
    if job.spec.name or job.call is not None:
        return shape[1]
    return " ".join(shape[:-1])  # without the directory


def _grouped(pairs: Iterable[tuple[str, Job]]) -> list[Group]:
    found: dict[str, list[Job]] = {}
    for name, job in pairs:
        found.setdefault(name, []).append(job)
    return sorted((group(name, jobs) for name, jobs in found.items()), key=lambda one: (-one.jobs, one.name))
