"""The number of slots to use, and of jobs to give to each at once, by recent jobs; the jobs that run alone."""

from __future__ import annotations

from jobq.job import Job
from jobq.rules.retry import attempts_left

BATCH_S = 0.04  # seconds of work to give to a slot at once: short jobs need not wait for the records of each other
MOST_AT_ONCE = 128
WIDER_AFTER = 10.0  # seconds
LONG_COMMAND = 500  # characters, its directory included; a batch of longer ones would take many pipes full


class Pace:
    """The usual length of jobs, by those that ended. One long job raises it at once, several short ones lower it."""

    def __init__(self) -> None:
        self._seconds = BATCH_S

    def learn(self, seconds: float) -> None:
        """Learn from a job that took so many seconds."""
        took = max(seconds, BATCH_S / MOST_AT_ONCE)
        self._seconds = took if took > self._seconds else 0.7 * self._seconds + 0.3 * took

    def reset(self) -> None:
        """Expect long jobs: one takes longer than was expected."""
        self._seconds = max(self._seconds, BATCH_S)

    def batch_size(self, share: int) -> int:
        """Return how many jobs to give to a slot; `share` is its fair share of the ready ones."""
        return max(1, min(MOST_AT_ONCE, int(BATCH_S / self._seconds), share))


class Width:
    """The number of slots to use: halved when the machine is short of something, later doubled again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._wider_at = float("-inf")
        self.slots = most

    def set(self, most: int) -> None:
        """Use so many from now on."""
        self._most = self.slots = most

    def narrow(self, boot: float) -> None:
        """Halve it: jobs could not start for lack of processes, memory, descriptors or disk space. `boot`: seconds."""
        self.slots = max(1, self.slots // 2)
        self._wider_at = boot + WIDER_AFTER

    def widen(self, boot: float) -> None:
        """Double it if that is due: jobs could be started."""
        if self.slots < self._most and boot >= self._wider_at:
            self.slots = min(2 * self.slots, self._most)
            self._wider_at = boot + WIDER_AFTER


def runs_alone(job: Job) -> bool:
    """Return True if the job must not wait behind others in a slot.

    Its command may not fit into the pipe. Or it must run only once: after a power cut, a job that only waited in a slot
    counts as one that may have started. Or it holds what others wait for.
    """
    shares = bool(job.spec.locks or job.spec.needs) or job.spec.slots > 1
    return shares or not attempts_left(job) or len(ascii(job.command)) + len(ascii(job.spec.cwd)) > LONG_COMMAND
