"""jobq edit"""

from __future__ import annotations

from typing import Any

import typer

from jobq.commands.common import Selectors, Verbose, exit_with, queue_of, report, resolve
from jobq.commands.notes import warn_unserved
from jobq.commands.options import takes_job_options
from jobq.errors import UsageError
from jobq.options.selectors import Wanted


@takes_job_options(only_given=True)
def edit(context: typer.Context, jobs: Selectors = None, verbose: Verbose = False, *, options: dict[str, Any]) -> None:
    """Change the options of waiting jobs.

    Options that are not given stay as they are; "none" takes one back (--timeout none). A running job is not changed;
    requeue it after an end, then edit it.

    Examples: jobq edit 7 --priority high; jobq edit 11-110 -q night -t 10m
    """
    queue = queue_of(context)
    selected = resolve(queue, Wanted(jobs or ()), "'jobq edit 7 --priority high'")
    if not options:
        raise UsageError("no option is given", "give the options to change, as in: 'jobq edit 7 --priority high'")
    if not selected.ids:
        return
    done = queue.edit(selected.ids, **options)
    code = report(done, selected, lambda _: "edited", lambda job: f"job {job.id} edited", verbose=verbose)
    warn_unserved(queue, {job.spec.queue for job in done.jobs})
    exit_with(code)
