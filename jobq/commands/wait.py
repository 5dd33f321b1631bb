"""jobq wait"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import exit_with, queue_of
from jobq.commands.notes import warn_unserved
from jobq.commands.options import value_of
from jobq.commands.selecting import selects_jobs
from jobq.durations import duration
from jobq.errors import NotFound
from jobq.exit_codes import NOT_ITS_OWN
from jobq.job import State
from jobq.options.selectors import Wanted, select_one
from jobq.views.console import advise, error, info
from jobq.views.lines import why_ended
from jobq.views.text import command_line


@selects_jobs
def wait(
    context: typer.Context,
    jobs: Wanted,
    *,
    timeout: Annotated[str | None, typer.Option("--timeout", "-t", metavar="TIME", help="Give up after this.")] = None,
) -> None:
    """Wait until jobs are finished.

    Without JOB, it waits for all unfinished jobs. The exit code of one job is its own (125: cancelled, or no such job);
    of several jobs, it is 0 if all succeeded, else 1. If the time of --timeout is over, it is 124.

    Examples: jobq wait 7; jobq wait -t 10m 11-110
    """
    queue = queue_of(context)
    one = select_one(jobs.words)
    try:
        ids = queue.select(jobs).ids if jobs else [job.id for job in queue.jobs()]
    except NotFound as e:
        error(str(e), e.hint)
        exit_with(NOT_ITS_OWN if one else 1)
        return
    limit = None if timeout is None else value_of("--timeout", duration, timeout)
    told: set[str] = set()

    def tell(open_ids: list[int]) -> None:
        """Print why no worker will run the waiting jobs, at first and whenever a reason is new."""
        nonlocal told
        unfinished = queue.jobs_of(open_ids)
        waiting = [job for job in unfinished if job.state is State.QUEUED and job.runner is None]
        ids_held = [job.id for job in unfinished if job.state is State.HELD]
        held = {f"job {job_id} is held; 'jobq release {job_id}' lets it start" for job_id in ids_held}
        for note in sorted(held - told):
            advise(note)
        told = warn_unserved(queue, {job.spec.queue for job in waiting}, told) | held

    try:
        finished = queue.wait_all(ids, limit, meanwhile=tell)
    except NotFound as e:
        error(f"{e} any more: it was removed while jobq waited for it")
        exit_with(NOT_ITS_OWN if one else 1)
        return
    failed = [job for job in finished if job.state is not State.SUCCEEDED]
    for job in failed:
        why = f": {why_ended(job)}" if job.state is State.FAILED and job.ending else ""
        info(f"job {job.id} {job.state}{why}  {command_line(job.command)}")
    exit_with(finished[0].exit_code if one else int(bool(failed)))
