"""The live view of a worker as pure functions: what runs and what is next, the lines that stay above, the end.

Finished jobs scroll away above as plain lines, which the terminal keeps. What runs, what is next and the totals are
drawn again and again (`views/display.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.style import Style
from rich.text import Text

from jobq.durations import span
from jobq.job import Job, State
from jobq.moment import Moment
from jobq.rules.forecast import about, time_left
from jobq.rules.hooks import is_hook
from jobq.rules.progress import Progress
from jobq.rules.progress import words as in_words
from jobq.rules.ranks import at_work
from jobq.rules.reasons import Situation
from jobq.rules.serving import why_paused, why_unserved
from jobq.typed import NamedTuple
from jobq.views.columns import Layout, cut, job_line
from jobq.views.text import safe

NEXT = 5  # waiting jobs shown
LAST_WORDS = 3  # lines of output that are printed of a failed job

HINTS = {
    "working": "^C stops",
    "stopping": "stopping: waiting for the running jobs, ^C again ends them now",
    "ending": "ending the running jobs",
    "run working": "^C ends them",
    "run stopping": "ending the running jobs, ^C again kills them",
    "run ending": "killing the running jobs",
}
NOTHING: Mapping[int, str] = MappingProxyType({})
UNKNOWN: Mapping[int, float] = MappingProxyType({})
UNTOLD: Mapping[int, Progress] = MappingProxyType({})


class Overview(NamedTuple):
    """The data of the live view."""

    worker: str  # its token
    running: list[Job]  # also jobs of other workers
    waiting: list[Job]  # the first few
    queued: int
    succeeded: int
    failed: int
    cancelled: int
    slots: int
    since: float  # wall clock
    around: Situation
    phase: str = "working"
    trouble: str = ""
    rests: Mapping[int, float] = UNKNOWN  # running job -> seconds that it is going to take yet
    left: float | None = None  # seconds until nothing is left to do; None: not known


def frame(
    overview: Overview,
    now: Moment,
    layout: Layout,
    height: int | None = None,
    *,
    words: Mapping[int, str] = NOTHING,
    told: Mapping[int, Progress] = UNTOLD,
) -> list[Text]:
    """Return the lines of the live view: what runs, what is next, and the totals.

    `height`: the lines that fit; the totals come first, then what runs, then what waits. `words`: the last line of
    output of running jobs; `told`: what they tell of their progress, which is shown instead.
    """
    totals = footer(overview, now, layout.columns)[:height]
    last = below(overview, layout.columns)
    if height is not None:
        last = last[: height - len(totals)]
    last += totals
    running, waiting = shown_jobs(overview, None if height is None else height - len(last))
    around = overview.around._replace(now=now, progress={})  # which `word_of` shows
    lines = [
        job_line(job, around, layout, time=elapsed(job, now), word=word_of(job, overview, words, told, now))
        for job in running
    ]
    return [*lines, *(job_line(job, around, layout) for job in waiting), *last]


def shown_jobs(overview: Overview, room: int | None) -> tuple[list[Job], list[Job]]:
    """Return the running and waiting jobs that fit into so many lines (None: all)."""
    running, waiting = at_work(overview.running), overview.waiting[:NEXT]
    if room is not None:
        running = running[: max(room, 0)]
        waiting = waiting[: max(room - len(running), 0)]
    return running, waiting


def elapsed(job: Job, now: Moment) -> str:
    """Return how long a running job has run, in whole seconds: so the line changes only once a second."""
    seconds = max(0.0, now.wall - job.attempts[-1].claimed_at)
    return f"{seconds // 1:.0f} s" if seconds < 60 else span(seconds // 1)


def word_of(job: Job, overview: Overview, words: Mapping[int, str], told: Mapping[int, Progress], now: Moment) -> str:
    """Return what is known of a running job's work: what it tells, or the time to go yet and its last output."""
    progress = told.get(job.id)
    if progress is not None:
        return safe(in_words(progress, job.attempts[-1].began_at, now.wall, bar=True))
    rest = overview.rests.get(job.id)
    rest = None if rest is None else rest - (now.wall - overview.around.now.wall)
    return "  ".join(filter(None, (f"~{about(rest)} left" if rest and rest >= 1 else "", words.get(job.id, ""))))


def below(overview: Overview, columns: int) -> list[Text]:
    """Return the lines below the jobs: how many are not shown, and what keeps jobs from running."""
    parts = []
    if overview.waiting and overview.queued > len(overview.waiting[:NEXT]):
        parts.append(Text(f"... and {overview.queued - len(overview.waiting[:NEXT])} more waiting", "dim"))
    parts += [Text(cut(safe(why), columns), "yellow") for why in obstacles(overview)]
    if overview.trouble:
        parts.append(Text(cut(safe(overview.trouble), columns), "red"))
    return parts


def obstacles(overview: Overview) -> list[str]:
    """Return why some jobs will not be run, in full: a narrow line cuts off its note."""
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
        f"{mine}/{overview.slots} running" + (f" (+{others} elsewhere)" if others else ""),
        f"{overview.queued} waiting",
        f"{overview.succeeded} succeeded",
        f"{overview.failed} failed",
        *([f"{overview.cancelled} cancelled"] if overview.cancelled else []),
    ]
    rate = f", {done / minutes:.0f} a minute" if done else ""
    left = [time_left(overview.left)] if running or overview.queued else []
    hint = [HINTS[overview.phase]] if overview.phase in HINTS else []
    text = " · ".join(totals)
    if len(" · ".join([text + rate, *left, *hint])) <= columns:
        return [Text(" · ".join([text + rate, *left, *hint]), "dim")]
    return [Text(cut(line, columns), "dim") for line in wrapped([*totals, *left, *hint], columns)]


def wrapped(parts: Sequence[str], columns: int) -> list[str]:
    """Return the parts in lines of this width, as few as possible."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        lines[-1:] = [longer] if len(longer) <= columns or not lines[-1] else [lines[-1], part]
    return lines


def finished(
    job: Job, around: Situation, layout: Layout, tail: Sequence[str], log: str = "", *, kept: bool = True
) -> list[Text]:
    """Return the lines that stay of a finished job; of a failure also its last output, and how to see more.

    `tail`: lines that are harmless, which may hold colours; `log`: the address that a terminal opens at a click.
    `kept`: the log can be read afterwards.
    """
    line = job_line(job, around, layout)
    if log:
        start = line.plain.index(str(job.id))
        line.stylize(Style(link=log), start, start + len(str(job.id)))
    if job.state is not State.FAILED:
        return [line]
    indent = " " * (layout.id + 4)
    lines = [Text(f"{indent}{cut(Text.from_ansi(text).plain, layout.columns - len(indent))}", "dim") for text in tail]
    more = [Text(cut(f"{indent}jobq log {job.id}", layout.columns), "dim")] if kept else []
    return [line, *lines, *more]
