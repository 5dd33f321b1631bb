"""The block that closes the work of a worker or of `jobq run`: what people copy into a message. At most 12 lines."""

from __future__ import annotations

from collections.abc import Collection

from jobq.durations import span
from jobq.job import Job
from jobq.store.state import StoreState
from jobq.typed import NamedTuple
from jobq.views.lines import why_ended
from jobq.views.marks import GLYPHS, STYLES
from jobq.views.tally import Tally
from jobq.views.text import command_line, safe, shortened

MOST_FAILURES = 5
SHORT = 40  # columns of a command among the slowest
WORTH_A_SPEEDUP = 1.0  # seconds of work


class Line(NamedTuple):
    """One line, and its style on a terminal."""

    text: str
    style: str = ""


def closing(
    tally: Tally,
    state: StoreState,
    seconds: float,
    slots: int,
    *,
    left: Collection[Job] = (),
    start: str = "",
    of: int = 0,
    kept: bool = True,
) -> list[Line]:
    """Return the closing block for work that took so many `seconds`; `left`: jobs that still run.

    `start`: the words before the counts. `of`: the number of jobs that there were, if that is known. `kept`: the
    logs can still be read.
    """
    back = tally.handed_back(state)
    counts = [
        f"{tally.succeeded} of {of} succeeded" if of else f"{tally.succeeded} succeeded",
        *([f"{len(tally.failed)} failed"] if tally.failed else []),
        *([f"{len(tally.cancelled)} cancelled"] if tally.cancelled else []),
        *(f"{count} {state}" for state, count in tally.unstarted.items()),
        *([f"{len(back)} handed back"] if back else []),
        *([f"{len(left)} still running"] if left else []),
    ]
    lines = [Line(f"{start}{' · '.join(counts)} in {span(seconds)}", "bold")]
    if tally.work >= WORTH_A_SPEEDUP:
        lines.append(Line(f"{effort(tally.work, seconds, slots)}; CPU {span(tally.cpu)}"))
    slowest = [job for job in tally.slowest() if (job.seconds or 0.0) >= WORTH_A_SPEEDUP]
    if slowest and tally.done > 1:
        names = [f"{job.id} {short_name(job)} {span(job.seconds or 0.0)}" for job in slowest]
        lines.append(Line(f"slowest: {' · '.join(names)}"))
    failures = tally.failures(state)
    lines += [failure_line(job, kept=kept) for job in failures[-MOST_FAILURES:]]
    if (more := len(tally.failed) - len(failures[-MOST_FAILURES:])) > 0 and failures:
        command = ": jobq list -s failed" if kept else ""
        lines.append(Line(f"... and {more} more failed{command}", STYLES[failures[0].state]))
    return lines


def effort(work: float, seconds: float, slots: int) -> str:
    """Return the work that was done in that time: "14m02s of work in 3m41s on 4 slots, 3.8x"."""
    times = work / seconds if seconds > 0 else 0.0
    speedup = f", {times:.1f}x" if slots > 1 and 0 < times <= slots else ""  # more: a part was done before
    return f"{span(work)} of work in {span(seconds)} on {slots} slot{'' if slots == 1 else 's'}{speedup}"


def failure_line(job: Job, *, kept: bool) -> Line:
    """Return a failure with the command that shows more, if its log is kept."""
    more = f"  jobq log {job.id}" if kept else ""
    attempts = f", {len(job.attempts)} attempts" if len(job.attempts) > 1 else ""
    glyph = GLYPHS[job.state]
    return Line(f"{glyph} {job.id} {why_ended(job)}{attempts}  {short_name(job)}{more}", STYLES[job.state])


def short_name(job: Job) -> str:
    """Return the name or the command in few characters."""
    return shortened(command_line(job.command) if job.spec.name is None else safe(job.spec.name), SHORT)
