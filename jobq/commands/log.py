"""jobq log"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from jobq.api import Queue
from jobq.commands.common import exit_with, queue_of
from jobq.commands.notes import warn_unserved
from jobq.commands.selecting import moment
from jobq.errors import NotFound, Refused
from jobq.exit_codes import NOT_ITS_OWN
from jobq.job import Job, Outcome, State
from jobq.options.selectors import Wanted, select_one
from jobq.options.values import APART
from jobq.rules.retry import is_success
from jobq.typed import NamedTuple
from jobq.views.console import error, info
from jobq.views.following import follow, follow_many
from jobq.views.logs import LogPath, Printer, print_log
from jobq.views.prefixed import LinePrinter
from jobq.views.text import command_line, safe

LAST_LINES = 10  # of each job that already runs when everything is followed


class Look(NamedTuple):
    """The part of a log to show, and its form."""

    attempt: int | None
    tail: int | None
    grep: str | None
    stderr: bool
    raw: bool


def log(
    context: typer.Context,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="Ids, names, ranges, @STATE ...; without one, the last added."),
    ] = None,
    *,
    follow_: Annotated[
        bool, typer.Option("--follow", "-f", help="Print until the job is finished; exit with its code.")
    ] = False,
    tail: Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="Print only the last N lines.")] = None,
    grep: Annotated[str | None, typer.Option("--grep", metavar="TEXT", help="Print only lines with this text.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only of jobs that printed something since: 10m.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="N", min=1, help="Print this attempt, not the last one.")
    ] = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="Print the stderr that is kept apart, not stdout.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print every byte unchanged, on a terminal too.")] = False,
) -> None:
    """Print the output of jobs.

    On a terminal, it prints each line in its final form, with colours but without other control sequences. With -f and
    without JOB, it follows all that runs, line by line, until you press ^C.

    Examples: jobq log 7; jobq log -f; jobq log 7 --tail 20; jobq log @failed --grep Error
    """
    queue = queue_of(context)
    look = Look(attempt, tail, grep, stderr, raw)
    words = jobs or []
    if follow_ and not (words and select_one(words)):
        exit_with(followed_all(queue, words, look))
    if follow_:
        exit_with(followed(queue, words[0], look))
    changed_since = moment("--since", since)
    found = queue.jobs_of(queue.select(Wanted(words or ["@"])).ids)
    if len(found) == 1 and changed_since is None:
        exit_with(print_one(queue, found[0], look))
    exit_with(print_several(queue, found, look, changed_since))


def print_one(queue: Queue, job: Job, look: Look) -> int:
    """Print the log of one job, and why there is none. Return the exit code."""
    path = partial(queue.log_path, stderr=look.stderr)
    if look.stderr:
        check_apart(job)
    n = attempt_of(job, look.attempt)
    printer = printer_for(look)
    print_log(path(job.id, n), printer, look.tail)
    if not printer.any and look.grep is not None:
        info(f"no line of job {job.id} holds that text")
        return 1
    if not printer.any and look.tail != 0:
        ending = job.attempts[n - 1].ending
        gone = not look.stderr and ending is not None and ending.log_bytes and not os.path.exists(path(job.id, n))
        what = "the output is not kept any more" if gone else f"no output{' on stderr' if look.stderr else ''}"
        why = f": {safe(str(ending))}" if ending is not None and ending.outcome is Outcome.SPAWN_ERROR else ""
        info(f"job {job.id}: {what}" if gone else f"job {job.id} has {what}{why}")
    if job.spec.stderr == APART and not look.stderr and os.path.exists(queue.log_path(job.id, n, stderr=True)):
        info(f"its stderr is apart: 'jobq log {job.id} --stderr'")
    return 0


def print_several(queue: Queue, jobs: Sequence[Job], look: Look, since: float | None) -> int:
    """Print the logs of these jobs, each below a line that names it. Return the exit code."""
    shown = 0
    for job in jobs:
        n = look.attempt or len(job.attempts)
        path = queue.log_path(job.id, n, stderr=look.stderr)
        if not 0 < n <= len(job.attempts) or not written_since(path, since):
            continue
        info(f"job {job.id}: {command_line(job.command)}")
        printer = printer_for(look)
        print_log(path, printer, look.tail)
        shown += printer.any
    if not shown:
        info("no output of these jobs" if look.grep is None else "no line holds that text")
    return int(look.grep is not None and not shown)


def printer_for(look: Look) -> Printer:
    """Return what prints a log as a whole, or only some lines."""
    if look.grep is not None:
        return LinePrinter(raw=look.raw, only=look.grep)
    return Printer(look.raw)


def written_since(path: str, since: float | None) -> bool:
    """Return True if there is such a log, and something was written to it since then (wall clock)."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_size > 0 and (since is None or status.st_mtime >= since)


def followed_all(queue: Queue, words: Sequence[str], look: Look) -> int:
    """Follow several jobs, or without words all that runs. Return the exit code."""
    if look.attempt is not None or look.stderr:
        raise Refused("several logs are followed as they come", "--attempt and --stderr are for one job")
    ids = queue.select(Wanted(words)).ids if words else None
    tail = LAST_LINES if look.tail is None and ids is None else look.tail
    return follow_many(queue, ids, raw=look.raw, tail=tail, only=look.grep)


def code_of(job: Job, attempt: int | None) -> int:
    """Return the exit code of the job, or of one attempt: the job may be going to have another."""
    ending = job.attempts[attempt - 1].ending if attempt and attempt <= len(job.attempts) else None
    if ending is None:
        return job.exit_code
    return 0 if is_success(job.spec, ending) else ending.exit_code or NOT_ITS_OWN


def followed(queue: Queue, word: str, look: Look) -> int:
    """Print the log until the job, or the attempt, is finished. Return the exit code, which is its own."""
    try:
        found = queue.job(queue.select(Wanted([word])).ids[0])
    except NotFound as e:
        error(str(e), e.hint)
        return NOT_ITS_OWN
    path: LogPath = partial(queue.log_path, stderr=look.stderr)
    try:
        if look.stderr:
            check_apart(found)
        if found.state is State.QUEUED:
            warn_unserved(queue, [found.spec.queue])
        job = follow(queue, found.id, printer_for(look), look.attempt, look.tail, path=path)
        return code_of(job, look.attempt)
    except NotFound as e:
        error(f"{e} any more: it was removed while its log was followed")
        return NOT_ITS_OWN


def check_apart(job: Job) -> None:
    """Raise Refused if the job does not keep its stderr apart."""
    if job.spec.stderr != APART:
        where = f"it goes to {safe(job.spec.stderr)}" if job.spec.stderr else "it is in the log, with stdout"
        raise Refused(f"job {job.id} does not keep its stderr apart", where)


def attempt_of(job: Job, wanted: int | None) -> int:
    """Return the number of the attempt to show. Raises Refused if there is no such attempt."""
    if not job.attempts:
        raise Refused(f"job {job.id} has no output: it is {job.state} and never started", f"see 'jobq show {job.id}'")
    if wanted is not None and wanted > len(job.attempts):
        raise Refused(f"job {job.id} has no attempt {wanted}: the last is {len(job.attempts)}")
    return wanted or len(job.attempts)
