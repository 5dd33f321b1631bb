"""jobq rm"""

from __future__ import annotations

import typer

from jobq.commands.common import Verbose, exit_with, queue_of, report, resolve
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted


@selects_jobs
def rm(context: typer.Context, jobs: Wanted, *, verbose: Verbose = False) -> None:
    """Remove jobs and delete their logs.

    A running job must be cancelled first. In a range or a state, running jobs are left alone.

    Examples: jobq rm 7; jobq rm 11-110; jobq rm @succeeded
    """
    queue = queue_of(context)
    selected = resolve(queue, jobs, "'jobq rm 7', or 'jobq rm @succeeded'")
    if selected.ids:
        done = queue.remove(selected.ids)
        exit_with(report(done, selected, lambda _: "removed", lambda job: f"job {job.id} removed", verbose=verbose))
