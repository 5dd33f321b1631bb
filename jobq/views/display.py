"""The thread that draws a live view: lines that stay, and below them the region that is drawn again.

It draws snapshots, so a stopped or slow terminal never stops the worker. Nothing is drawn in the first half second, and
then at most ten times a second; nothing is written if nothing has changed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from jobq.errors import OutputFailed
from jobq.job import Job
from jobq.moment import Moment
from jobq.rules.reasons import Situation
from jobq.views.closing import Line
from jobq.views.columns import Layout, cut
from jobq.views.console import Stream, coloured
from jobq.views.last_words import LastWords
from jobq.views.live import LAST_WORDS, Overview, finished, frame, shown_jobs
from jobq.views.signs import Signs
from jobq.views.terminal import Region, in_foreground, size_of
from jobq.views.trace import Trace

FIRST = 0.5  # seconds until the first drawing
FRAME = 0.1  # seconds between two drawings
LOOK = 0.25  # seconds between two looks at the output of what runs
LEAVE_S = 1.0  # seconds that the terminal may take for the last drawing
MOST_PENDING = 10_000  # finished jobs that may wait for a slow terminal


class Display:
    """Draws the latest overview, and every finished job once, in a thread of its own."""

    def __init__(
        self,
        stream: Stream,
        clock: Callable[[], Moment],
        words: LastWords,
        tail: Callable[[Job, int], Sequence[str]],
        signs: Signs,
        *,
        kept: bool = True,
    ) -> None:
        """`tail`: returns the last lines of output of a job, harmless. `kept`: the logs can be read afterwards."""
        self._stream = stream
        self._clock = clock
        self._words = words
        self._tail = tail
        self._signs = signs
        self._kept = kept
        # rich's own guess of the width comes from COLUMNS, which may be another terminal's: it is set at each drawing
        self._console = Console(file=stream, force_terminal=True, no_color=not coloured(stream))  # type: ignore[arg-type]  # it has every method that rich calls
        self._region = Region(stream)
        self._trace = Trace()
        self._layout = Layout(80)
        self._overview: Overview | None = None
        self._pending: deque[Job | list[Line]] = deque()
        self._skipped = 0
        self._news = threading.Condition()
        self._over = False
        self._resting = False
        self._rested = threading.Event()
        self._stale = False  # the screen may have changed since the last drawing
        self._elsewhere = False  # other output may be below the region
        self._offered_at = 0.0
        self._drawn: tuple[Any, ...] = ()  # what the last frame was made of
        self._next = time.monotonic() + FIRST
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)
        self._thread.start()

    def add(self, job: Job) -> None:
        """Print a finished job, once; it stays."""
        with self._news:
            if len(self._pending) >= MOST_PENDING:
                self._skipped += 1
                return
            self._pending.append(job)
            self._news.notify()

    def offer(self, overview: Callable[[], Overview]) -> float | None:
        """Draw this overview, or return the seconds to wait if the last one is less than FRAME seconds old."""
        now = time.monotonic()
        if now - self._offered_at < FRAME:
            return FRAME - (now - self._offered_at)
        self._offered_at = now
        fresh = overview()
        with self._news:
            if fresh != self._overview:
                self._overview = fresh
                self._news.notify()
        return None

    def rest(self) -> None:
        """Stop drawing until `draw_anew`. The cursor is then visible, below the region."""
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

    def close(self, last: list[Line]) -> None:
        """Print what is pending, these lines instead of the region, and stop; wait at most LEAVE_S for the terminal."""
        with self._news:
            self._pending.append(last)
            self._over, self._resting = True, False
            self._news.notify()
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        try:
            while not self._turn():
                pass
            self._region.leave()
            self._signs.end()
        except OutputFailed:
            pass  # the terminal has gone; the worker continues
        finally:
            self._rested.set()

    def _turn(self) -> bool:
        """Draw what there is, and wait for a change. Return True if this was the last drawing."""
        with self._news:
            overview, over, resting, elsewhere = self._overview, self._over, self._resting, self._elsewhere
            fresh = self._stale or elsewhere
            self._stale = self._elsewhere = False
        foreground = in_foreground(self._stream.fileno())
        if resting or elsewhere or not foreground:
            self._region.leave(surely=resting and not self._rested.is_set())
            fresh = True
        if not resting and (over or (foreground and time.monotonic() >= self._next)):  # the end is told anyway
            self._draw(None if over else overview, fresh=fresh)
            self._next = time.monotonic() + FRAME
        elif fresh:
            self._drawn = ()
        if resting:
            self._rested.set()
        if over:
            return True
        with self._news:
            self._news.wait_for(lambda: self._over or self._resting != resting, self._next - time.monotonic())
            if (self._overview, self._over, self._resting, self._stale, bool(self._pending)) == (
                overview, over, resting, False, False,
            ):  # fmt: skip
                self._news.wait(self._patience(overview, foreground=foreground, resting=resting))
        return False

    @staticmethod
    def _patience(overview: Overview | None, *, foreground: bool, resting: bool) -> float | None:
        """Return the seconds after which to look again without being told of anything; None: never."""
        if resting:
            return None
        return LOOK if overview is None or overview.running or not foreground else None

    def _draw(self, overview: Overview | None, *, fresh: bool) -> None:
        columns, rows = size_of(self._stream.fileno())
        now = self._clock()
        entries = self._take()
        for job in [*entries, *((*overview.running, *overview.waiting) if overview else ())]:
            if isinstance(job, Job):
                self._layout = self._layout.fitted(columns, job)
        self._layout = self._layout._replace(columns=columns)
        running = shown_jobs(overview, rows - 2)[0] if overview else []
        words, told = self._words.of(running), self._words.told(running)
        made_of = (overview, int(now.wall), columns, rows, words, told)
        if not entries and not fresh and made_of == self._drawn:
            return
        self._drawn = made_of
        above = [line for entry in entries for line in self._lines_of(entry, now)]
        lines = frame(overview, now, self._layout, max(rows - 1, 1), words=words, told=told) if overview else []
        self._region.draw(self._rendered(lines, columns), columns, above=self._rendered(above, columns), whole=fresh)
        self._trace.note(now, columns, rows, above, lines)
        if overview:
            self._signs.show(overview)

    def _take(self) -> list[Job | list[Line]]:
        with self._news:
            entries = list(self._pending)
            self._pending.clear()
            if self._skipped:
                entries.append([Line(f"({self._skipped} more jobs ended; the terminal was too slow)", "dim")])
                self._skipped = 0
        return entries

    def _lines_of(self, entry: Job | list[Line], now: Moment) -> list[Text]:
        if isinstance(entry, list):
            return [Text(cut(line.text, self._layout.columns), line.style) for line in entry]
        around = self._overview.around._replace(now=now) if self._overview else Situation(now)
        tail = self._tail(entry, LAST_WORDS) if entry.is_open_failure else ()
        return finished(entry, around, self._layout, tail, self._signs.link(entry), kept=self._kept)

    def _rendered(self, lines: Sequence[Text], columns: int) -> list[str]:
        if not lines:
            return []
        self._console.width = columns
        with self._console.capture() as capture:
            for line in lines:
                self._console.print(
                    line, no_wrap=True, overflow="ellipsis", crop=True, highlight=False, soft_wrap=False
                )
        return capture.get().rstrip("\n").split("\n")
