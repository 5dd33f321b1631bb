"""jobq show"""

from __future__ import annotations

import typer

from jobq.commands.common import Json, queue_of
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted
from jobq.views.console import draw, info, out
from jobq.views.data import job_data, result_data, steps_data
from jobq.views.detail import describe
from jobq.views.envelope import envelope
from jobq.views.table import reason


@selects_jobs
def show(context: typer.Context, jobs: Wanted, *, json: Json = False) -> None:
    """Show the details of jobs.

    It shows the command, the main options, every attempt and the history. Without JOB, it shows the job added last.

    Examples: jobq show; jobq show 7; jobq show @failed --json
    """
    queue = queue_of(context)
    found = queue.jobs_of(queue.select(jobs or Wanted(["@"])).ids)
    around = queue.situation(found)
    if json:
        out(
            envelope(
                jobs=[
                    job_data(job, reason(job, around), around.progress.get(job.id))
                    | {"waited": queue.time_waited(job), "steps": steps_data(queue.steps_of(job.id))}
                    | result_data(queue.result_of(job, len(job.attempts)))
                    for job in found
                ]
            )
        )
    elif not found:
        info("no such jobs")
    else:
        draw(*"\n\n".join(describe(job, around, queue) for job in found).split("\n"))
