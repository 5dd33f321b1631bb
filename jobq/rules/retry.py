"""Retries: the endings that are worth another attempt, and the time to wait before it."""

from __future__ import annotations

from jobq.command import Call
from jobq.job import Ending, Job, Outcome, Spec, State
from jobq.moment import Moment
from jobq.rules import policies

MOST_ATTEMPTS = 2000  # the record of a job, with all of them, has to fit on a line of the journal
NEVER_RETRIED = {  # exit statuses of a shell that can't run its command: the next try would fail as well
    126: "the command can't be executed",
    127: "the command was not found",
}


def attempts_left(job: Job) -> bool:
    """Return True if the job may be retried: it has retries left, and fewer than MOST_ATTEMPTS attempts."""
    return job.retries_used < job.spec.retries and len(job.attempts) < MOST_ATTEMPTS


def is_success(spec: Spec, ending: Ending) -> bool:
    """Return True if a job with these options has succeeded when an attempt ends like this."""
    return ending.outcome is Outcome.EXIT and policies.has_status(spec.success_codes, ending.status or 0)


def is_listed(codes: str, ending: Ending) -> bool:
    """Return True if the codes list this ending."""
    if ending.outcome is Outcome.EXIT:
        return policies.has_status(codes, ending.status or 0)
    if ending.outcome is Outcome.IDLE_TIMEOUT:
        return policies.has_word(codes, {"timeout", "idle_timeout"})
    words = {ending.outcome.value}
    if ending.outcome is Outcome.SIGNAL:
        import signal  # noqa: PLC0415  # lists need none of it, and it takes long to load

        words |= {number.name for number in signal.Signals if number == ending.signal}
    return policies.has_word(codes, words)


def why_hopeless(spec: Spec, ending: Ending, lost: int = 0) -> str:
    """Return why another attempt after this one would fail as well, or is not wanted; "" if it may do better.

    `lost`: how many attempts of the job have lost their supervisor, this one included.
    """
    if ending.permanent:
        return str(ending)
    if ending.wanted:
        return ""
    if ending.outcome is Outcome.LOST:
        return f"its supervisor died {lost} times" if lost >= spec.max_lost else ""
    if ending.outcome in {Outcome.SPAWN_ERROR, Outcome.CANCELLED}:
        return str(ending)
    if spec.no_retry_on is not None and is_listed(spec.no_retry_on, ending):
        return f"{ending} is in --no-retry-on {spec.no_retry_on}"
    if spec.retry_on is not None:
        return "" if is_listed(spec.retry_on, ending) else f"{ending} is not in --retry-on {spec.retry_on}"
    if ending.outcome is Outcome.EXIT and ending.status in NEVER_RETRIED:
        return str(ending) if ending.error else f"{ending}, {NEVER_RETRIED[ending.status]}"
    return ""


def why_not_retried(job: Job) -> str:
    """Return why a failed job gets none of its remaining retries; "" if it has none, or has not failed."""
    if job.state is not State.FAILED or job.ending is None or job.retries_used >= job.spec.retries:
        return ""
    if job.cancel_asked_at is not None:
        return f"{job.ending}, while it was being cancelled"
    if not attempts_left(job):
        return f"{job.ending}, and {MOST_ATTEMPTS} attempts are the limit"
    why = why_hopeless(job.spec, job.ending, job.lost)
    if why and isinstance(job.command, Call) and job.ending.status in NEVER_RETRIED and not job.spec.no_retry_on:
        return f"{job.ending}, the function can't be called like this"
    return why


def backoff(spec: Spec, n: int, chance: float) -> float:
    """Return the seconds before retry `n` (from 1), with as much jitter as `chance` in [0, 1] says; 1 is the most."""
    return policies.with_jitter(policies.delay(spec.backoff, n), spec.jitter, chance)


def wait(job: Job, now: Moment) -> float:
    """Return the seconds until the job may be tried again, at most what was decided; zero or less: it may start now."""
    due = job.not_before
    if due is None:
        return 0.0
    if job.due is None:
        return due.wait(now, job.spec.delay or 0.0)
    asked = job.ending.after if job.ending is not None else None
    return due.wait(now, backoff(job.spec, job.retries_used, 1.0) if asked is None else asked)


def left(job: Job, now: Moment) -> float:
    """Return the seconds until the job expires, at most what was asked for; infinity if it never does."""
    deadline = job.deadline
    longest = (job.spec.delay or 0.0) + (job.spec.expires or 0.0)
    return deadline.wait(now, longest) if deadline is not None else float("inf")
