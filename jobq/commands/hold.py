"""jobq hold"""

from __future__ import annotations

import typer

from jobq.commands.common import Verbose, exit_with, queue_of, report, resolve
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted


@selects_jobs
def hold(context: typer.Context, jobs: Wanted, *, verbose: Verbose = False) -> None:
    """Keep waiting jobs from starting.

    They wait until 'jobq release'. In a range or a state, jobs that do not wait are left alone.

    Examples: jobq hold 7; jobq hold 11-110
    """
    queue = queue_of(context)
    selected = resolve(queue, jobs, "'jobq hold 7', or 'jobq hold @queued'")
    if selected.ids:
        done = queue.hold(selected.ids)
        exit_with(report(done, selected, lambda _: "held", lambda job: f"job {job.id} held", verbose=verbose))
