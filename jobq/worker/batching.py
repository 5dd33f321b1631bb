"""How many slots to use and how many jobs to give to each at once, by what was seen of late; which are given alone."""

from __future__ import annotations

from jobq.job import Job
from jobq.rules.retry import attempts_left

BATCH_S = 0.04  # seconds of work that a slot is given at once: short jobs need not wait for each other's bookkeeping
MOST_AT_ONCE = 32
WIDER_AFTER = 10.0  # seconds
LONG_COMMAND = 500  # characters, its directory's included; a batch of shorter ones fits into any pipe, escaped and all


class Pace:
    """What the jobs that ended have taught. A long one is believed at once, short ones when there are several."""

    def __init__(self) -> None:
        self._seconds = BATCH_S

    def learn(self, seconds: float) -> None:
        """A job took so long."""
        took = max(seconds, BATCH_S / MOST_AT_ONCE)
        self._seconds = took if took > self._seconds else 0.7 * self._seconds + 0.3 * took

    def reset(self) -> None:
        """One takes longer than was thought."""
        self._seconds = max(self._seconds, BATCH_S)

    def batch_size(self, share: int) -> int:
        """How many jobs to give a slot whose fair share of those that are ready this is."""
        return max(1, min(MOST_AT_ONCE, int(BATCH_S / self._seconds), share))


class Width:
    """How many slots to use: half as many when there is not enough of something for all, later twice as many again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._wider_at = float("-inf")
        self.slots = most

    def narrow(self, boot: float) -> None:
        """Jobs could not be started for want of processes, memory, descriptors or room. `boot`: seconds."""
        self.slots = max(1, self.slots // 2)
        self._wider_at = boot + WIDER_AFTER

    def widen(self, boot: float) -> None:
        """Jobs could be started."""
        if self.slots < self._most and boot >= self._wider_at:
            self.slots = min(2 * self.slots, self._most)
            self._wider_at = boot + WIDER_AFTER


def runs_alone(job: Job) -> bool:
    """Whether it is not to wait behind others in a slot.

    Its words may not fit into the pipe; or it must run only once, and what is known of it after a power cut had better
    not be that it may have begun.
    """
    return not attempts_left(job) or len(ascii(job.command)) + len(ascii(job.spec.cwd)) > LONG_COMMAND
