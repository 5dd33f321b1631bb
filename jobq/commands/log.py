"""jobq log"""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from jobq.api import Queue
from jobq.commands.common import exit_with, queue_of
from jobq.commands.notes import warn_unserved
from jobq.errors import NotFound, Refused, UsageError
from jobq.exit_codes import NOT_ITS_OWN
from jobq.job import Job, State
from jobq.options.kinds import APART
from jobq.options.selectors import Wanted
from jobq.views.console import error, info
from jobq.views.logs import Printer, follow, print_log
from jobq.views.text import safe


def log(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="An id, a name, or @ for the last added.")] = "@",
    *,
    follow_: Annotated[
        bool, typer.Option("--follow", "-f", help="Print until the job is finished; exit with its code.")
    ] = False,
    tail: Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="Print only the last N lines.")] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="N", min=1, help="Print this attempt, not the last one.")
    ] = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="Print the stderr that is kept apart, not stdout.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print every byte unchanged, on a terminal too.")] = False,
) -> None:
    """Print the output of a job.

    On a terminal, it prints each line in its final form, with colours but without other control sequences.

    Examples: jobq log 7; jobq log -f; jobq log 7 --tail 20
    """
    queue = queue_of(context)
    printer = Printer(raw)
    path = partial(queue.log_path, stderr=stderr)
    if follow_:
        exit_with(followed(queue, job, printer, attempt, tail, stderr=stderr))
    found = one_job(queue, job)
    if stderr:
        check_apart(found)
    n = attempt_of(found, attempt)
    print_log(path(found.id, n), printer, tail)
    if not printer.any and tail != 0:
        ending = found.attempts[n - 1].ending
        gone = not stderr and ending is not None and ending.log_bytes and not os.path.exists(path(found.id, n))
        what = "the output is not kept any more" if gone else f"no output{' on stderr' if stderr else ''}"
        info(f"job {found.id}: {what}" if gone else f"job {found.id} has {what}")
    if found.spec.stderr == APART and not stderr and os.path.exists(queue.log_path(found.id, n, stderr=True)):
        info(f"its stderr is apart: 'jobq log {found.id} --stderr'")


def one_job(queue: Queue, word: str) -> Job:
    """Return the job that the word selects. Raises NotFound, or UsageError if it selects several."""
    ids = queue.select(Wanted([word])).ids
    if len(ids) != 1:
        raise UsageError(f"{word} selects {len(ids)} jobs", "name one job")
    return queue.job(ids[0])


def followed(queue: Queue, word: str, printer: Printer, attempt: int | None, tail: int | None, *, stderr: bool) -> int:
    """Print the log until the job is finished. Return the exit code, which is the job's own."""
    try:
        found = one_job(queue, word)
    except NotFound as e:
        error(str(e), e.hint)
        return NOT_ITS_OWN
    try:
        if stderr:
            check_apart(found)
        if found.state is State.QUEUED:
            warn_unserved(queue, [found.spec.queue])
        return follow(queue, found.id, printer, attempt, tail, path=partial(queue.log_path, stderr=stderr)).exit_code
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
