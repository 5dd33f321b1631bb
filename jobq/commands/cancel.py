"""jobq cancel"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Selectors, Verbose, exit_with, queue_of, report, resolve
from jobq.job import Job, State
from jobq.options.values import span


def cancel(
    context: typer.Context,
    jobs: Selectors = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Return when their processes are gone.")] = False,
    verbose: Verbose = False,
) -> None:
    """End jobs: waiting ones at once, running ones with TERM, then KILL after their grace, with all they started.

    Of a range or of all in a state, those that are over are left alone: jobq cancel 11-110
    """
    queue = queue_of(context)
    selected = resolve(queue, jobs, "'jobq cancel 7', or 'jobq cancel @queued'")
    if not selected.ids:
        return
    done = queue.cancel(selected.ids)
    code = report(done, selected, _what, _line, verbose=verbose)
    if wait:
        queue.wait_all([job.id for job in done.jobs])
    exit_with(code)


def _what(job: Job) -> str:
    return "stopping" if job.state is State.RUNNING else str(job.state)


def _line(job: Job) -> str:
    if job.state is State.RUNNING:
        return f"job {job.id} is stopping; grace {span(job.spec.grace)}"
    return f"job {job.id} {job.state}"
