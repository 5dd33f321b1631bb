"""jobq ack"""

from __future__ import annotations

import typer

from jobq.commands.common import Verbose, exit_with, queue_of, report
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Selected, Wanted
from jobq.views.console import info


@selects_jobs
def ack(context: typer.Context, jobs: Wanted, *, verbose: Verbose = False) -> None:
    """Acknowledge failed jobs.

    Bare jobq no longer counts them. The jobs stay failed and keep their logs. Without JOB: all failures.

    Examples: jobq ack 7; jobq ack 11-110; jobq ack
    """
    queue = queue_of(context)
    if jobs:
        selected = queue.select(jobs)
    else:
        selected = Selected([job.id for job in queue.finished() if job.is_open_failure], frozenset())
    if not selected.ids:
        info("no such jobs" if jobs else "no failure is left to acknowledge")
        return
    done = queue.acknowledge(selected.ids)
    exit_with(
        report(done, selected, lambda _: "acknowledged", lambda job: f"job {job.id} acknowledged", verbose=verbose)
    )
