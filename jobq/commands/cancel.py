"""jobq cancel"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Json, Verbose, exit_with, queue_of, refused, report, resolve
from jobq.commands.selecting import selects_jobs
from jobq.durations import span
from jobq.job import Job, State
from jobq.options.selectors import Wanted
from jobq.views.console import out
from jobq.views.data import job_data
from jobq.views.envelope import envelope


@selects_jobs
def cancel(
    context: typer.Context,
    jobs: Wanted,
    *,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until the jobs have ended.")] = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Cancel jobs and end their processes.

    A waiting job ends at once. A running job gets TERM, then KILL after its grace, with every process that it started.
    In a range or a state, finished jobs are left alone.

    Examples: jobq cancel 7; jobq cancel 11-110; jobq cancel @queued
    """
    queue = queue_of(context)
    selected = resolve(queue, jobs, "'jobq cancel 7', or 'jobq cancel @queued'")
    if not selected.ids:
        return
    done = queue.cancel(selected.ids)
    code = int(bool(refused(done, selected))) if json else report(done, selected, _what, _line, verbose=verbose)
    if wait:
        queue.wait_all([job.id for job in done.jobs])
    if json:
        after = queue.known([job.id for job in done.jobs])
        errors = [{"message": str(refusal), "hint": refusal.hint or None} for refusal in refused(done, selected)]
        out(envelope(jobs=[job_data(job) for job in after.values()], refused=errors))
    exit_with(code)


def _what(job: Job) -> str:
    return "stopping" if job.state is State.RUNNING else str(job.state)


def _line(job: Job) -> str:
    if job.state is State.RUNNING:
        return f"job {job.id} is stopping; grace {span(job.spec.grace)}"
    return f"job {job.id} {job.state}"
