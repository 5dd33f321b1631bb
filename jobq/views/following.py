"""Logs that are followed: of one job, of several until they are finished, of all that runs until a signal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jobq import clock
from jobq.job import Job, State
from jobq.views.changed import Changed
from jobq.views.console import info, stdout_closed
from jobq.views.lines import what
from jobq.views.logs import LogPath, Printer, Tail
from jobq.views.prefixed import PrefixedLogs
from jobq.views.text import command_line

if TYPE_CHECKING:
    from jobq.api import Queue


POLL = 0.2  # seconds between two looks at a file that many processes write


def follow_file(path: str, printer: Printer, tail: int | None) -> None:
    """Print a file of many processes, as it grows and is begun anew, until the reader has gone or a signal ends it."""
    log = Tail(path, tail)
    while not stdout_closed():
        if log.pump(printer):
            continue
        if log.was_replaced():
            log.close()
            log = Tail(path)
            continue
        time.sleep(POLL)


def follow(queue: Queue, job_id: int, printer: Printer, attempt: int | None, tail: int | None, *, path: LogPath) -> Job:
    """Print the logs of the job at `path`, attempt by attempt, until the job is finished. Return the finished job."""
    n = attempt or max(1, len(queue.job(job_id).attempts))
    log = Tail(path(job_id, n), tail)
    poll = queue.poll()
    while True:
        job = queue.job(job_id)
        over = job.state.final or len(job.attempts) > n or (len(job.attempts) == n and job.running is None)
        wrote = log.pump(printer)
        if over and not wrote:
            if attempt is None and len(job.attempts) > n:
                printer.end()
                info(f"attempt {n}: {job.attempts[n - 1].ending}; attempt {n + 1} follows")
                log.close()
                n += 1
                log = Tail(path(job_id, n))
                continue
            if job.state.final or attempt is not None:
                break
        if stdout_closed():
            break
        if not wrote:
            printer.pause()
        poll.sleep(news=wrote)
        if poll.is_time_to_check():
            poll.recover([job_id])
    log.close()
    printer.end()
    return job


def follow_many(queue: Queue, ids: Sequence[int] | None, *, raw: bool, tail: int | None, only: str | None) -> int:
    """Print the output of these jobs, or of all that run (None), line by line as it comes.

    Return 0 if all have succeeded in the end, else 1.
    """
    logs = PrefixedLogs(queue.log_path, raw=raw, tail=tail, only=only)
    attempts = Attempts(queue, ids)
    poll = queue.poll()
    while not stdout_closed():
        new = list(attempts.look())
        wrote = logs.pump(new)
        for job in attempts.ended:
            info(f"{what(job, clock.now())}  {command_line(job.command)}")
        if attempts.is_over:
            logs.pump([])
            break
        poll.sleep(news=wrote)
        if poll.is_time_to_check():
            poll.recover([job.id for job, _ in new])
    return int(attempts.any_failed)


class Attempts:
    """The attempts whose output is still to come, or not printed yet."""

    def __init__(self, queue: Queue, ids: Sequence[int] | None) -> None:
        self.ended: list[Job] = []  # jobs that have ended since the last look
        self.is_over = False
        self.any_failed = False
        self._queue = queue
        self._ids = ids
        self._changed = Changed(queue)
        self._since = clock.now().wall
        self._seen: dict[int, int] = {}  # job -> the last attempt that is over and was yielded
        self._over: set[int] = set()  # of `ids`

    def look(self) -> Iterator[tuple[Job, int]]:
        """Yield each attempt that runs, and once each that is over and was not yielded since it is."""
        for job in self._all_that_runs() if self._ids is None else self._those(self._ids):
            last = len(job.attempts)
            first = self._seen[job.id] + 1 if job.id in self._seen else last  # earlier attempts are not followed
            for n in range(max(first, 1), last + 1):
                if n < last or job.running is None:
                    self._seen[job.id] = n
                else:
                    self._seen.setdefault(job.id, n - 1)
                yield job, n

    def _those(self, ids: Sequence[int]) -> list[Job]:
        """Return the jobs of these ids, and note which have ended."""
        jobs = self._queue.jobs_of(ids)
        self.ended = [job for job in jobs if job.state.final and job.id not in self._over]
        self._over |= {job.id for job in self.ended}
        self.is_over = len(self._over) >= len(set(ids))
        self.any_failed |= any(job.state is not State.SUCCEEDED for job in self.ended)
        return jobs

    def _all_that_runs(self) -> list[Job]:
        """Return the jobs that run, and those that have stopped running since the last look."""
        stopped = [job for job, _ in self._changed.look().values() if job.running is None and self._ran_lately(job)]
        self.ended = [job for job in stopped if job.state.final]
        return [*stopped, *self._changed.running.values()]

    def _ran_lately(self, job: Job) -> bool:
        """Return True if the last attempt was seen running, or began since then."""
        return job.id in self._seen or (bool(job.attempts) and job.attempts[-1].claimed_at >= self._since)
