"""Jobs over time, a line each, as text."""

from __future__ import annotations

import time
from collections.abc import Sequence

from jobq.durations import span
from jobq.job import Job, State
from jobq.views.console import painted
from jobq.views.marks import STYLES, glyph
from jobq.views.text import command_line, safe, shortened

LABEL = 24  # columns of a name or command, at most
LEAST_BARS = 8  # columns
BESIDE = 15  # columns of spaces, the sign and the time
WAITS, RUNS, TRIED = "·", "━", "╍"


def timeline_lines(jobs: Sequence[Job], now: float, columns: int) -> list[str]:
    """Return a scale and a line for each job; harmless text, with colours where stdout gets them."""
    first = min(job.added_at for job in jobs)
    ends = [attempt.ended_at(now) for job in jobs for attempt in job.attempts]
    last = max(ends, default=now)  # what only waits has no end that could be drawn
    length = max(last - first, 1e-3)
    id_width = max(len(str(job.id)) for job in jobs)
    label = max(8, min(LABEL, columns // 3))
    bars = max(LEAST_BARS, columns - label - id_width - BESIDE)
    indent = " " * (id_width + label + 5)
    start, end = _clock(first, length), _clock(last, length)
    scale = f"{start}{end:>{bars - len(start)}}" if bars > len(start) + len(end) else f"{start:<{bars}}"[:bars]
    lines = [f"{indent}{scale}  {span(length)}"]
    for job in jobs:
        name = safe(job.spec.name) if job.spec.name else command_line(job.command)
        name = shortened(name, label)
        style = STYLES.get(job.state, "")
        bar = _bar(job, first, length, bars, now)
        took = sum(attempt.ended_at(now) - attempt.began_at for attempt in job.attempts)
        sign = painted(glyph(job), style)
        lines.append(
            f"{job.id:>{id_width}}  {name:<{label}}  {bar} {sign} {span(took) if job.attempts else ''}".rstrip()
        )
    return lines


def _bar(job: Job, first: float, length: float, bars: int, now: float) -> str:
    """Return the waits and attempts of a job at their places."""

    def place(at: float) -> int:
        return min(bars - 1, max(0, int((at - first) / length * bars)))

    cells = [" "] * bars
    for at in range(place(job.added_at), place(_end_of(job, now)) + 1):
        cells[at] = WAITS
    for attempt in reversed(job.attempts):  # where two share a place, the one that failed is seen
        good = attempt is job.attempts[-1] and job.state in {State.SUCCEEDED, State.RUNNING}
        for at in range(place(attempt.began_at), place(attempt.ended_at(now)) + 1):
            cells[at] = RUNS if good else TRIED
    text = "".join(cells)
    start = next((at for at, cell in enumerate(cells) if cell in {RUNS, TRIED}), bars)
    return text[:start] + painted(text[start:], STYLES.get(job.state, ""))


def _end_of(job: Job, now: float) -> float:
    return job.finished_at if job.state.final and job.finished_at is not None else now


def _clock(wall: float, length: float) -> str:
    form = "%H:%M:%S" if length < 86400 else "%m-%d %H:%M"
    return time.strftime(form, time.localtime(wall))
