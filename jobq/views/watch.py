"""How a worker is watched: by a live table on a terminal, by a line for each event elsewhere."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from jobq import clock
from jobq.job import Job, Moment
from jobq.views.console import say, write_now
from jobq.views.ended import Ended
from jobq.views.lines import line
from jobq.views.table import Situation, look_around
from jobq.views.text import safe

if TYPE_CHECKING:
    from jobq.views.live import Overview
    from jobq.worker import Worker


PATIENCE = 5.0  # seconds without any progress after which the last lines are given up
MOST_PENDING = 10_000  # lines that wait for a slow reader
LOOK_AROUND = 1.0  # seconds between two looks at what the workers serve
PHASES = ("working", "stopping", "ending")  # by how often it was asked to stop


class Lines:
    """A line for each event, written by a thread: a reader that has stopped reading must not stop the queue."""

    def __init__(self) -> None:
        self._trouble = ""
        self._pending: deque[str] = deque()
        self._unsaid = 0
        self._news = threading.Event()
        self._over = False
        self._written = 0
        self._thread = threading.Thread(target=self._write, name="lines", daemon=True)

    def __enter__(self) -> Lines:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._over = True
        self._news.set()
        before = -1
        while self._thread.is_alive() and self._written > before:
            before = self._written
            self._thread.join(PATIENCE)

    def report(self, job: Job) -> None:
        """Something happened to the job."""
        self._add(line(job, clock.now()))

    def refresh(self, worker: Worker, *, stops: int) -> float | None:  # noqa: ARG002
        """Tell of trouble, once."""
        if worker.trouble != self._trouble:
            self._trouble = worker.trouble
            say(safe(self._trouble) if self._trouble else "going on")
        return None

    def _add(self, text: str) -> None:
        if len(self._pending) >= MOST_PENDING:
            self._unsaid += 1
            return
        if self._unsaid:
            self._pending.append(f"({self._unsaid} more events, while nobody read)")
            self._unsaid = 0
        self._pending.append(text)
        if not self._news.is_set():
            self._news.set()

    def _write(self) -> None:
        while not self._over or self._pending:
            self._news.wait()
            self._news.clear()
            while self._pending:
                lines = [self._pending.popleft() for _ in range(min(len(self._pending), 100))]
                try:
                    write_now("\n".join(lines) + "\n")
                except OSError:
                    return  # nobody reads any more
                self._written += len(lines)


class Screen:
    """The live table."""

    def __init__(self) -> None:
        from jobq.views.live import Display  # noqa: PLC0415  # rich

        self._display = Display(clock.now)
        self._since = clock.now().wall
        self._ended = Ended()
        self._worker: Worker | None = None
        self._around = Situation(Moment(0.0, float("-inf"), ""))

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._display.close(self._overview(self._worker, "over") if self._worker else None)

    def report(self, job: Job) -> None:
        """Something happened to the job."""
        self._ended.report(job)

    def refresh(self, worker: Worker, *, stops: int) -> float | None:
        """Show how things are; the seconds after which to do so again if that was too soon."""
        self._worker = worker
        return self._display.offer(lambda: self._overview(worker, PHASES[min(stops, 2)]))

    def _overview(self, worker: Worker, phase: str) -> Overview:
        from jobq.views.live import NEXT, Overview  # noqa: PLC0415  # rich

        jobs = worker.store.jobs
        running = [jobs.by_id[job_id] for job_id in sorted(jobs.running)]
        queued = sum(jobs.waiting.active.values()) - len(running)
        waiting = jobs.waiting.upcoming(jobs.by_id, NEXT)
        if phase == "over":  # what others do, and what may wait for them, is not ours to leave on the screen
            running = [job for job in running if job.attempts[-1].owner == worker.token]
            waiting = []
        now = clock.now()
        if now.boot - self._around.now.boot >= LOOK_AROUND:
            self._around = look_around(worker.store, waiting, now)
        return Overview(
            worker.token,
            running,
            waiting,
            self._ended.rows(jobs),
            self._ended.handed_back(jobs),
            queued,
            self._ended.succeeded,
            len(self._ended.failed),
            len(self._ended.cancelled),
            worker.slots,
            self._since,
            self._around,
            phase,
            worker.trouble,
        )
