"""How long jobs take of late, and so how many of them to give to a slot at once; and which are given alone."""

from __future__ import annotations

from jobq.job import Job
from jobq.retry import attempts_left

BATCH_S = 0.04  # seconds of work that a slot is given at once: short jobs need not wait for each other's bookkeeping
MOST_AT_ONCE = 32
LONG_COMMAND = 500  # characters, its directory's included; a batch of shorter ones fits into any pipe, escaped and all


class Pace:
    """What the jobs that ended have taught. A long one is believed at once, short ones when there are several."""

    def __init__(self) -> None:
        self._seconds = BATCH_S

    def learn(self, seconds: float) -> None:
        """A job took so long."""
        took = max(seconds, BATCH_S / MOST_AT_ONCE)
        self._seconds = took if took > self._seconds else 0.7 * self._seconds + 0.3 * took

    def doubt(self) -> None:
        """One takes longer than was thought."""
        self._seconds = max(self._seconds, BATCH_S)

    def at_once(self, share: int) -> int:
        """How many jobs to give a slot whose fair share of those that are ready this is."""
        return max(1, min(MOST_AT_ONCE, int(BATCH_S / self._seconds), share))


def goes_alone(job: Job) -> bool:
    """Whether it is not to wait behind others in a slot.

    Its words may not fit into the pipe; or it must run only once, and what is known of it after a power cut had better
    not be that it may have begun.
    """
    return not attempts_left(job) or len(ascii(job.command)) + len(ascii(job.spec.cwd)) > LONG_COMMAND
