"""One line about jobs that are waited for, redrawn in place: "5/12 done, 1 failed, about 3 s left"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobq import clock
from jobq.environ import variable
from jobq.job import Job, State
from jobq.rules.forecast import Forecast, time_left
from jobq.views.console import Stream
from jobq.views.terminal import in_foreground

if TYPE_CHECKING:
    from jobq.api import Queue

CLEAR = "\r\x1b[K"


class WaitLine:
    """The line on stderr, if that is a terminal; else nothing."""

    def __init__(self, queue: Queue) -> None:
        self._stream = Stream(2, raw=True)
        self._on = self._stream.isatty() and variable("TERM") != "dumb"
        self._queue = queue
        self._forecast: Forecast | None = None
        self._shown = False

    def show(self, total: int, unfinished: Sequence[Job], failed: int) -> None:
        """Draw the line for so many jobs in all, and those that are not finished."""
        if not self._on or total < 1 or not in_foreground(2):
            return
        parts = [f"{total - len(unfinished)}/{total} done", *([f"{failed} failed"] if failed else [])]
        parts.append(self._left(unfinished))
        self._stream.write(f"{CLEAR}jobq: {', '.join(parts)}")
        self._shown = True

    def clear(self) -> None:
        """Take the line away, before other output."""
        if self._shown and in_foreground(2):
            self._stream.write(CLEAR)
            self._shown = False

    def _left(self, unfinished: Sequence[Job]) -> str:
        if self._forecast is None:
            self._forecast = Forecast.of(self._queue.finished())
        running = [job for job in unfinished if job.state is State.RUNNING]
        waiting = [job for job in unfinished if job.state is not State.RUNNING]
        slots = sum(worker.slots for worker in self._queue.workers.all()) or 1
        return time_left(self._forecast.left(running, waiting, 0, slots, clock.now()))
