"""jobq rm"""

from __future__ import annotations

import typer

from jobq.commands.common import Selectors, Verbose, exit_with, queue_of, report, resolve


def rm(context: typer.Context, jobs: Selectors = None, verbose: Verbose = False) -> None:
    """Forget jobs and delete their logs; a running job must be cancelled first.

    Of a range or of all in a state, running ones are left alone: jobq rm 11-110
    """
    queue = queue_of(context)
    selected = resolve(queue, jobs, "'jobq rm 7', or 'jobq rm @succeeded'")
    if selected.ids:
        done = queue.remove(selected.ids)
        exit_with(report(done, selected, lambda _: "removed", lambda job: f"job {job.id} removed", verbose=verbose))
