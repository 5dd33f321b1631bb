"""One job while it runs: its processes, its limits, and how it is ended.

Every process of its tree gets TERM once (many programs take a second one for "now"), followed by CONT, so that a
stopped one handles it too. What is left after the grace is killed. The whole tree has one deadline: it does not start
again when the main process, often just a shell, has ended.
"""

from __future__ import annotations

import os
import signal
import time

from jobq.supervisor.filters import may_be_filter
from jobq.supervisor.tree import parents_first, read_stat, send, tree_of

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from collections.abc import Collection

    from jobq.supervisor.logs import Log
    from jobq.supervisor.messages import JobMessage
    from jobq.supervisor.tree import Process

LEFTOVER_GRACE = 2.0  # seconds from the end of the main process to KILL for processes that outlive it
LEAST_GRACE = 0.8  # seconds from TERM to KILL for a filter that was given time to write the rest; with QUIET below 3
QUIET = 2.0  # seconds without new output after which a possible filter counts as a daemon
LONGEST_DRAIN = 10.0  # seconds from the end of the main process to TERM for a filter that goes on writing
STUCK_AFTER = 5.0  # seconds from KILL until a process that can't die now counts as stuck

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)  # signals that are sent to all processes at once
TOLD_TO_END = {-number for number in ENDING} | {128 + number for number in ENDING}  # the latter: statuses of shells


class Stop:
    """The reason why a job is being ended, and the time of KILL (monotonic seconds)."""

    def __init__(self, outcome: str, grace: float, *, counted: bool) -> None:
        self.outcome = outcome
        self.counted = counted  # uses up a retry
        self.kill_at = time.monotonic() + grace


def size_of(path: str | None) -> int:
    """Return the size of a file, 0 if there is none."""
    try:
        return os.stat(path).st_size if path else 0
    except OSError:
        return 0


class Running:
    """A job whose main process was started. Times are monotonic seconds."""

    def __init__(self, job: JobMessage, pid: int, log: Log, started: float | None = None) -> None:
        """`started`: None: now."""
        self.id, self.n = job["id"], job["n"]
        self.pid = pid
        self.log = log
        self.started = time.monotonic() if started is None else started
        timeout = job.get("timeout")
        self.timeout_at = float("inf") if timeout is None else self.started + timeout
        self.idle_timeout = job.get("idle_timeout")
        self.idle_at = float("inf") if self.idle_timeout is None else self.started + self.idle_timeout
        self._stderr = None if job.get("apart") else job.get("stderr")  # a file of the person's
        self.grace: float = job.get("grace", 10.0)
        self.stop: Stop | None = None
        self._left: tuple[float, float] | None = None  # while it is suspended: seconds to `timeout_at`, to `idle_at`
        self.stuck_at: float | None = None  # when to report that it can't be ended
        self.reported_stuck = False
        self._told: set[Process] = set()
        self._ended_at = self._grown_at = float("inf")
        self._log_size = 0
        self._term_at: float | None = None

    @property
    def deadline(self) -> float:
        """The time when it has to be ended, or killed if it is being ended."""
        return min(self.timeout_at, self.idle_at) if self.stop is None else self.stop.kill_at

    def is_idle(self) -> bool:
        """Return True if the log has not grown for the time that the job may print nothing."""
        if self.idle_timeout is None or self._left is not None:
            return False
        size, now = self.log.size() + size_of(self._stderr), time.monotonic()
        if size != self._log_size:  # within the last second, as the log is looked at so often
            self._log_size, self.idle_at = size, now + self.idle_timeout
        return now >= self.idle_at

    def suspend(self) -> None:
        """Stop all processes, and let the time limits stand still, until `go_on`; not if it is being ended."""
        if self.stop is not None:
            return
        if self._left is None:
            now = time.monotonic()
            self._left = self.timeout_at - now, self.idle_at - now
            self.timeout_at = self.idle_at = float("inf")
        stopped: set[Process] = set()
        while more := set(tree_of(self.pid)) - stopped:  # what was started meanwhile, too
            for process in parents_first(more):
                send(process, signal.SIGSTOP)
            stopped |= more

    def go_on(self) -> None:
        """Let a suspended job go on, with the time that it had left."""
        if self._left is None:
            return
        now = time.monotonic()
        self.timeout_at, self.idle_at = now + self._left[0], now + self._left[1]
        self._left = None
        for process in parents_first(tree_of(self.pid)):
            send(process, signal.SIGCONT)

    def begin_stop(self, outcome: str, grace: float, *, counted: bool = True, heard: bool = False) -> None:
        """Begin to end the job: TERM now, unless all of it has `heard` one before, and KILL after `grace` seconds."""
        self.stop = Stop(outcome, grace, counted=counted)
        if heard:
            self._told |= tree_of(self.pid)
        else:
            self.tell(tree_of(self.pid))

    def tell(self, processes: Collection[Process]) -> None:
        """Send TERM to those of these processes that have not had it yet."""
        for process in parents_first(set(processes) - self._told):
            self._told.add(process)
            send(process, signal.SIGTERM)
            send(process, signal.SIGCONT)

    def main_has_ended(self) -> None:
        """Record that the main process is reaped; the rest of the tree is next."""
        self._ended_at = self._grown_at = time.monotonic()
        self._log_size = self.log.size()

    def kill_at(self) -> float:
        """Return when to kill the processes that outlive the main process; infinity if that is not known yet."""
        if self.stop is not None:
            return self.stop.kill_at
        if self._term_at is None:
            return float("inf")
        return max(self._ended_at + LEFTOVER_GRACE, self._term_at + LEAST_GRACE)

    def terminate_leftovers(self, left: Collection[Process]) -> None:
        """Send TERM to the processes that outlive the main process; a possible filter may finish writing first.

        `exec > >(helper)`, or a filter in the background, may not have read all of its input yet when the job ends.
        """
        if self.stop is None and self._term_at is None:
            if self._may_drain(left):
                return
            self._term_at = time.monotonic()
        self.tell(left)

    def _may_drain(self, left: Collection[Process]) -> bool:
        now, size = time.monotonic(), self.log.size()
        if size != self._log_size:
            self._log_size, self._grown_at = size, now
        if now >= self._ended_at + LONGEST_DRAIN:
            return False
        logs = [os.fstat(log.fd) for log in (self.log, self.log.errors) if log is not None]
        seen = {may_be_filter(process, log) for process in left for log in logs}
        return None in seen or (True in seen and now < self._grown_at + QUIET)

    def is_stuck(self, *, dying: bool) -> bool:
        """Return True, once, if the job can't be ended: its processes have been `dying` for STUCK_AFTER seconds."""
        now = time.monotonic()
        if not dying:
            self.stuck_at = None
        elif self.stuck_at is None:
            self.stuck_at = now + STUCK_AFTER
        if self.stuck_at is None or now < self.stuck_at or self.reported_stuck:
            return False
        self.reported_stuck = True
        return True

    def left(self) -> list[int]:
        """Return the pids of the live processes of its tree, and of the main process as long as it is not reaped."""
        stat = read_stat(self.pid)
        return sorted({pid for pid, _ in tree_of(self.pid)} | ({self.pid} if stat is not None else set()))

    def is_dead_to_others(self) -> bool:
        """Return True if the main process has ended and can't be reaped: a tracer still holds it (ptrace(2))."""
        stat = read_stat(self.pid)
        return stat is not None and stat[2]
