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
from jobq.job import Job
from jobq.moment import Moment
from jobq.rules.hooks import is_hook
from jobq.rules.ranks import at_work
from jobq.rules.reasons import Situation
from jobq.rules.serving import why_paused, why_unserved
from jobq.views.console import drawing
from jobq.views.table import rich_table, row
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


def render(overview: Overview, now: Moment, columns: int, height: int | None = None) -> Group:
    """Return the table: finished, running and next waiting jobs with their notes; below it the totals.

    `height`: the lines that fit. What runs is shown first, then what waits, then what has finished.
    """
    last = below(overview, now, columns)
    room = None if height is None else height - 1 - sum(-(-part.cell_len // columns) for part in last)
    around = overview.around._replace(now=now)
    rows = [row(job, around) for job in fitting(overview, room)]
    if overview.phase == "over":  # before that, they are among the waiting jobs
        rows += [row(job, around)._replace(note="handed back") for job in overview.handed_back]
    return Group(rich_table(rows, columns), *last) if rows else Group(*last)


def fitting(overview: Overview, room: int | None) -> list[Job]:
    """Return the jobs that fit into so many rows (None: all), as they are shown: the last to begin at the end."""
    running, waiting, finished = at_work(overview.running), overview.waiting[:NEXT], overview.finished
    if room is not None:
        running = running[: max(room, 0)]
        waiting = waiting[: max(room - len(running), 0)]
        left = max(room - len(running) - len(waiting), 0)
        finished = finished[len(finished) - min(left, len(finished)) :]
    return [*finished, *running, *waiting]


def below(overview: Overview, now: Moment, columns: int) -> list[Text]:
    """Return the lines below the table: what keeps jobs from running, and the totals."""
    parts = []
    if overview.waiting and overview.queued > len(overview.waiting[:NEXT]):
        parts.append(Text(f"... and {overview.queued - len(overview.waiting[:NEXT])} more waiting", "dim"))
    parts.extend(Text(safe(why), "yellow") for why in obstacles(overview))
    if overview.trouble:
        parts.append(Text(safe(overview.trouble), "red"))
    return parts + footer(overview, now, columns)


def obstacles(overview: Overview) -> list[str]:
    """Return why some jobs will not be run, in full: a narrow table cuts off its notes."""
    pauses = overview.around.pauses
    queues = {job.spec.queue for job in overview.waiting if job.runner is None}
    unserved = {why for queue in queues if (why := why_unserved(queue, overview.around.workers))}
    return sorted({why_paused(name, pauses) for name in pauses} | unserved)


def footer(overview: Overview, now: Moment, columns: int) -> list[Text]:
    """Return the totals, and what ^C does: in one line, or in two if that is too long."""
    minutes = max(now.wall - overview.since, 1.0) / 60
    done = overview.succeeded + overview.failed + overview.cancelled
    running = [job for job in overview.running if not is_hook(job)]  # which take no slot
    mine = len(at_work(job for job in running if job.attempts[-1].owner == overview.worker))
    others = len(at_work(running)) - mine
    totals = [
        f"{mine}/{overview.slots} running" + (f" ({others} by other workers)" if others else ""),
        f"{overview.queued} waiting",
        f"{overview.succeeded} succeeded",
        f"{overview.failed} failed",
        *([f"{overview.cancelled} cancelled"] if overview.cancelled else []),
        *([f"{len(overview.handed_back)} handed back"] if overview.handed_back else []),
    ]
    text = " · ".join(totals) + (f", {done / minutes:.0f} a minute" if done else "")
    hint = HINTS[overview.phase]
    both = f"{text} · {hint}"
    lines = [both] if len(both) <= columns else [text if len(text) <= columns else " · ".join(totals), hint]
    return [Text(line, "dim", no_wrap=True, overflow="ellipsis") for line in lines]


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
        self._console.width = columns  # its own guess comes from COLUMNS, which may be another terminal's
        with self._console.capture() as capture:
            self._console.print(render(overview, self._clock(), columns, rows - 1))
        lines = capture.get().rstrip("\n").split("\n")
        if len(lines) >= rows > 1:
            lines = lines[1 - rows :]  # the totals always stay visible
        self._region.draw(lines, columns)
