"""The live table of a worker: a pure `render` of an overview, and a thread that draws it.

The thread draws snapshots, so a stopped or slow terminal never stops the worker. While a job runs, it redraws twice a
second for the elapsed times; otherwise it sleeps until the overview changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console, Group
from rich.text import Text

from jobq.errors import OutputFailed
from jobq.job import Job, Moment
from jobq.rules.reasons import Situation
from jobq.rules.serving import why_unserved
from jobq.views.console import drawing
from jobq.views.table import at_work, rich_table, row
from jobq.views.terminal import Region, in_foreground, size_of
from jobq.views.text import safe

REDRAW = 0.5  # seconds
FRESH = 0.1  # seconds between two snapshots
LEAVE_S = 1.0  # seconds that the terminal may take for the last drawing
NEXT = 5  # waiting jobs shown


HINTS = {
    "working": "^C stops",
    "stopping": "stopping: waiting for the running jobs, ^C again ends them now",
    "ending": "ending the running jobs",
    "over": "stopped",
}


class Overview(NamedTuple):
    """The data of the live table."""

    worker: str  # its token
    running: list[Job]  # also jobs of other workers
    waiting: list[Job]  # the first few
    finished: list[Job]  # the last open failures, and the last other finished jobs
    handed_back: list[Job]
    queued: int
    succeeded: int
    failed: int
    cancelled: int
    slots: int
    since: float  # wall clock
    around: Situation
    phase: str = "working"
    trouble: str = ""


def render(overview: Overview, now: Moment, columns: int) -> Group:
    """Return the table: finished, running and next waiting jobs with their notes, and the totals."""
    around = overview.around._replace(now=now)
    parts: list[object] = []
    rows = [row(job, around) for job in [*overview.finished, *at_work(overview.running), *overview.waiting[:NEXT]]]
    if overview.phase == "over":  # before that, they are among the waiting jobs
        rows += [row(job, around)._replace(note="handed back") for job in overview.handed_back]
    if rows:
        parts.append(rich_table(rows, columns))
    if overview.waiting and overview.queued > len(overview.waiting[:NEXT]):
        parts.append(Text(f"... and {overview.queued - len(overview.waiting[:NEXT])} more waiting", "dim"))
    parts.extend(Text(safe(why), "yellow") for why in unserved(overview))
    if overview.trouble:
        parts.append(Text(safe(overview.trouble), "red"))
    parts.append(footer(overview, now))
    return Group(*parts)  # type: ignore[arg-type]  # all are renderables


def unserved(overview: Overview) -> list[str]:
    """Return why no worker will run some waiting jobs, in full: a narrow table cuts off its notes."""
    queues = {job.spec.queue for job in overview.waiting if job.runner is None}
    return sorted({why for queue in queues if (why := why_unserved(queue, overview.around.workers))})


def footer(overview: Overview, now: Moment) -> Text:
    """Return the totals in one line."""
    minutes = max(now.wall - overview.since, 1.0) / 60
    done = overview.succeeded + overview.failed + overview.cancelled
    rate = f", {done / minutes:.0f} a minute" if done else ""
    cancelled = f" · {overview.cancelled} cancelled" if overview.cancelled else ""
    handed_back = f" · {len(overview.handed_back)} handed back" if overview.handed_back else ""
    mine = len(at_work(job for job in overview.running if job.attempts[-1].owner == overview.worker))
    others = len(at_work(overview.running)) - mine
    elsewhere = f" ({others} by other workers)" if others else ""
    text = (
        f"{mine}/{overview.slots} running{elsewhere} · {overview.queued} waiting · "
        f"{overview.succeeded} succeeded · {overview.failed} failed{cancelled}{handed_back}{rate} · "
    )
    return Text(text + HINTS[overview.phase], "dim")


class Display:
    """Draws the latest overview in a thread of its own."""

    def __init__(self, clock: Callable[[], Moment]) -> None:
        self._clock = clock
        self._console = Console(file=drawing)  # type: ignore[arg-type]  # it has every method that rich calls
        self._region = Region(drawing)
        self._overview: Overview | None = None
        self._news = threading.Condition()
        self._over = False
        self._resting = False
        self._rested = threading.Event()
        self._stale = False  # the screen may have changed since the last drawing
        self._elsewhere = False  # other output may be below the table
        self._shown_at = 0.0
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)
        self._thread.start()

    def offer(self, overview: Callable[[], Overview]) -> float | None:
        """Draw this overview, or return the seconds to wait if the last one is less than FRESH seconds old."""
        now = time.monotonic()
        if now - self._shown_at < FRESH:
            return FRESH - (now - self._shown_at)
        self._shown_at = now
        fresh = overview()
        with self._news:
            if fresh != self._overview:
                self._overview = fresh
                self._news.notify()
        return None

    def rest(self) -> None:
        """Stop drawing until `draw_anew`. The cursor is then visible, below the table."""
        with self._news:
            self._rested.clear()
            self._resting = True
            self._news.notify()
        self._rested.wait(LEAVE_S)  # a blocked terminal must not keep the process from stopping

    def draw_anew(self, *, elsewhere: bool) -> None:
        """Draw again: the terminal has another size, or the cursor is `elsewhere` because of other output."""
        with self._news:
            self._resting, self._stale, self._elsewhere = False, True, self._elsewhere or elsewhere
            self._news.notify()

    def close(self, overview: Overview | None) -> None:
        """Draw the last overview and stop. Wait at most LEAVE_S seconds for a blocked terminal."""
        with self._news:
            self._overview, self._over, self._resting = overview or self._overview, True, False
            self._news.notify()
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        try:
            while not self._turn():
                pass
            self._region.leave()
        except OutputFailed:
            pass  # the terminal has gone; the worker continues
        finally:
            self._rested.set()

    def _turn(self) -> bool:
        """Draw once and wait for a change. Return True if this was the last drawing."""
        with self._news:
            overview, over, resting, elsewhere = self._overview, self._over, self._resting, self._elsewhere
            self._stale = self._elsewhere = False
        foreground = in_foreground(drawing.fileno())
        if resting or elsewhere or not foreground:
            self._region.leave()
        if overview is not None and foreground and not resting:
            self._draw(overview)
        if resting:
            self._rested.set()
        if over:
            return True
        changes = not resting and (overview is None or overview.running or not foreground)
        with self._news:
            if (self._overview, self._over, self._resting, self._stale) == (overview, over, resting, False):
                self._news.wait(REDRAW if changes else None)
        return False

    def _draw(self, overview: Overview) -> None:
        columns, rows = size_of(drawing.fileno())
        with self._console.capture() as capture:
            self._console.print(render(overview, self._clock(), columns), width=columns)
        lines = capture.get().rstrip("\n").split("\n")
        if len(lines) >= rows > 1:
            lines = [*lines[: rows - 2], lines[-1]]  # the totals always stay visible
        self._region.draw(lines, columns)
