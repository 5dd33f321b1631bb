"""jobq release"""

from __future__ import annotations

import typer

from jobq.commands.common import Verbose, exit_with, queue_of, report, resolve
from jobq.commands.notes import warn_unserved
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted


@selects_jobs
def release(context: typer.Context, jobs: Wanted, *, verbose: Verbose = False) -> None:
    """Let held jobs start.

    In a range or a state, jobs that are not held are left alone.

    Examples: jobq release 7; jobq release @held
    """
    queue = queue_of(context)
    selected = resolve(queue, jobs, "'jobq release 7', or 'jobq release @held'")
    if not selected.ids:
        return
    done = queue.release(selected.ids)
    code = report(done, selected, lambda _: "released", lambda job: f"job {job.id} released", verbose=verbose)
    warn_unserved(queue, {job.spec.queue for job in done.jobs})
    exit_with(code)
