"""Retries: the endings that are worth another attempt, and the time to wait before it."""

from __future__ import annotations

from jobq.command import Call
from jobq.job import Ending, Job, Moment, Outcome, State

FIRST_DELAY = 1.0  # seconds; doubles with each retry
LONGEST_DELAY = 3600.0
JITTER = 0.1  # at most this part is added, so that a delay is never cut short
MAX_LOST = 3  # a job whose supervisor died this often counts as the cause
MOST_ATTEMPTS = 2000  # the record of a job, with all of them, has to fit on a line of the journal
NEVER_RETRIED = {  # exit statuses of a shell that can't run its command: the next try would fail as well
    126: "the command can't be executed",
    127: "the command was not found",
}


def attempts_left(job: Job) -> bool:
    """Return True if the job may be retried: it has retries left, and fewer than MOST_ATTEMPTS attempts."""
    return job.retries_used < job.spec.retries and len(job.attempts) < MOST_ATTEMPTS


def why_hopeless(ending: Ending, lost: int = 0) -> str:
    """Return why another attempt after this one would fail as well; "" if it may do better.

    `lost`: how many attempts of the job have lost their supervisor, this one included.
    """
    if ending.permanent:
        return str(ending)
    match ending.outcome:
        case Outcome.EXIT if ending.status in NEVER_RETRIED:
            return str(ending) if ending.error else f"{ending}, {NEVER_RETRIED[ending.status]}"
        case Outcome.SPAWN_ERROR | Outcome.CANCELLED:
            return str(ending)
        case Outcome.LOST if lost >= MAX_LOST:
            return f"its supervisor died {lost} times"
        case _:
            return ""


def why_not_retried(job: Job) -> str:
    """Return why a failed job gets none of its remaining retries; "" if it has none, or has not failed."""
    if job.state is not State.FAILED or job.ending is None or job.retries_used >= job.spec.retries:
        return ""
    if job.cancel_asked_at is not None:
        return f"{job.ending}, while it was being cancelled"
    if not attempts_left(job):
        return f"{job.ending}, and {MOST_ATTEMPTS} attempts are the limit"
    if isinstance(job.command, Call) and job.ending.status in NEVER_RETRIED:
        return f"{job.ending}, the function can't be called like this"
    return why_hopeless(job.ending, job.lost)


def backoff(n: int, jitter: float) -> float:
    """Return the seconds before retry `n` (from 1): 1, 2, 4 ... up to an hour, plus 10 % times `jitter` in [0, 1)."""
    delay: float = min(FIRST_DELAY * 2.0 ** min(n - 1, 32), LONGEST_DELAY)
    return delay * (1.0 + JITTER * jitter)


def wait(job: Job, now: Moment) -> float:
    """Return the seconds until the job may be tried again, at most what was decided; zero or less: it may start now."""
    return job.due.wait(now, backoff(job.retries_used, 1.0)) if job.due is not None else 0.0
