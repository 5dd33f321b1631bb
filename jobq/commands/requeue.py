"""jobq requeue"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Verbose, exit_with, queue_of, report, resolve
from jobq.commands.notes import warn_unserved
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted


@selects_jobs
def requeue(
    context: typer.Context,
    jobs: Wanted,
    *,
    from_step: Annotated[
        str | None,
        typer.Option("--from-step", metavar="NAME", help="Run this step and those behind it again."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Requeue finished jobs that did not succeed.

    Each job gets all its retries again, and skips its steps that are done (see 'jobq help step'). In a range or a
    state, jobs that can't be requeued are left alone.

    Examples: jobq requeue 7; jobq requeue 11-110; jobq requeue @failed
    """
    queue = queue_of(context)
    selected = resolve(queue, jobs, "'jobq requeue 7', or 'jobq requeue @failed'")
    if not selected.ids:
        return
    done = queue.requeue(selected.ids, from_step=from_step)
    code = report(done, selected, lambda _: "requeued", lambda job: f"job {job.id} {job.state}", verbose=verbose)
    if done.jobs:
        warn_unserved(queue, {job.spec.queue for job in done.jobs})
    exit_with(code)
