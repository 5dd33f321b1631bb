"""jobq move"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Verbose, exit_with, queue_of, report, resolve
from jobq.commands.selecting import selects_jobs
from jobq.errors import UsageError
from jobq.options.selectors import Selected, Wanted, select_one


@selects_jobs
def move(
    context: typer.Context,
    jobs: Wanted,
    *,
    top: Annotated[bool, typer.Option("--top", help="Before all others of the queue.")] = False,
    before: Annotated[str | None, typer.Option("--before", metavar="JOB", help="Right before this job.")] = None,
    verbose: Verbose = False,
) -> None:
    """Let waiting jobs start before others.

    They keep the order in which they are given, and get the priority of the job that they are put before.

    Examples: jobq move 7 --top; jobq move 11-20 --before 5
    """
    if top == (before is not None):
        raise UsageError(
            "both --top and --before are given" if top else "no place is given",
            "give one, as in: 'jobq move 7 --top', 'jobq move 7 --before 5'",
        )
    queue = queue_of(context)
    selected = resolve(queue, jobs, "'jobq move 7 --top'")
    if not selected.ids:
        return
    anchor = None
    if before is not None:
        if not select_one([before]):
            raise UsageError(f"--before: {before} names several jobs", "name one")
        anchor = queue.select(Wanted([before])).ids[0]
        if selected.ids == [anchor]:
            raise UsageError(f"job {anchor} can't be moved before itself", "name another job with --before")
        selected = Selected([job_id for job_id in selected.ids if job_id != anchor], selected.named)
    done = queue.move(selected.ids, anchor)
    where = "to the top" if anchor is None else f"before job {anchor}"
    exit_with(report(done, selected, lambda _: "moved", lambda job: f"job {job.id} moved {where}", verbose=verbose))
