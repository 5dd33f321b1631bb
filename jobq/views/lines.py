"""The lines that a worker prints without a terminal: one for each event."""

from __future__ import annotations

from functools import cache

from jobq.durations import span
from jobq.environ import goes_to_journal
from jobq.job import Job, State
from jobq.moment import Moment
from jobq.rules import retry
from jobq.rules.hooks import note_of
from jobq.rules.retry import why_not_retried
from jobq.views.text import clock_time, command_line, safe

MOST_SHOWN = 200  # characters of a command
is_in_journal = cache(goes_to_journal)  # asked once: stdout stays what it is


def line(job: Job, now: Moment) -> str:
    """Return the line for the latest event of the job, with time and command."""
    command = command_line(job.command)
    shown = command if len(command) <= MOST_SHOWN else f"{command[: MOST_SHOWN - 3]}..."
    time = "" if is_in_journal() else f"{clock_time(now.wall)}  "
    return f"{time}{what(job, now)}  {shown}"


def what(job: Job, now: Moment) -> str:
    """Return the latest event of the job in words: "job 7 failed: exit 3, 0.12 s"."""
    note = safe(note_of(job))
    return _what(job, now).replace(f"job {job.id}", f"job {job.id} ({note})", 1) if note else _what(job, now)


def _what(job: Job, now: Moment) -> str:
    event = job.history[-1].event if job.history else "add"
    if job.state is State.RUNNING:
        n = len(job.attempts)
        verb = "adopted" if event == "adopt" else "started"
        return f"job {job.id} {verb}" + (f", attempt {n}" if n > 1 else "")
    ended = why_ended(job)
    why = f": {ended}" if ended and ended != job.state and job.state is not State.SUCCEEDED else ""
    took = f", {span(job.seconds)}" if job.seconds is not None else ""
    if event == "retry" and job.due is not None:
        return f"job {job.id} will be retried in {span(retry.wait(job, now))}{why}{took}"
    if event == "hand back":
        return f"job {job.id} handed back{why}"
    tries = f", {len(job.attempts)} attempts" if len(job.attempts) > 1 and job.state.final else ""
    return f"job {job.id} {job.state}{why}{took}{tries}"


def why_ended(job: Job) -> str:
    """Return how the last attempt ended, and why it is not retried if it could be: "exit 3", "not retried: ..."."""
    if hopeless := why_not_retried(job):
        return safe(f"not retried: {hopeless}")
    return "" if job.ending is None else safe(str(job.ending))
