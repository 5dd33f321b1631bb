"""Which endings are worth another attempt, and how long to wait before it."""

from __future__ import annotations

from jobq.job import Ending, Job, Outcome

FIRST_DELAY = 1.0  # seconds; doubles with each retry
LONGEST_DELAY = 3600.0
JITTER = 0.1  # at most this part is added, so that a delay is never cut short
MAX_LOST = 3  # a job whose supervisor died this often is taken to be the killer
MOST_ATTEMPTS = 2000  # the record of a job, with all of them, has to fit on a line of the journal
NEVER_RETRIED = frozenset({2, 126, 127})  # usage, not executable, not found: as sure to fail the next time


def attempts_left(job: Job) -> bool:
    """Whether its retries are not used up yet."""
    return job.retries_used < job.spec.retries and len(job.attempts) < MOST_ATTEMPTS


def worth_retrying(ending: Ending) -> bool:
    """Whether the same command may do better the next time."""
    if ending.permanent:
        return False
    match ending.outcome:
        case Outcome.EXIT:
            return ending.status not in NEVER_RETRIED
        case Outcome.SPAWN_ERROR | Outcome.CANCELLED:
            return False
        case _:
            return True


def backoff(n: int, roll: float) -> float:
    """Seconds before the `n`-th retry (1, 2, ...): 1, 2, 4 ... up to an hour, plus up to 10 % by `roll` in [0, 1)."""
    delay: float = min(FIRST_DELAY * 2.0 ** min(n - 1, 32), LONGEST_DELAY)
    return delay * (1.0 + JITTER * roll)
