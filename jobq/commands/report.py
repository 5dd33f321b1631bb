"""jobq report"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import queue_of
from jobq.commands.files import replace_file
from jobq.commands.quick_list import Look, jobs_to_list
from jobq.commands.selecting import selects_jobs
from jobq.job import Job
from jobq.options.selectors import Wanted
from jobq.options.values import APART
from jobq.views.console import info, out_bytes
from jobq.views.logs import plain_lines
from jobq.views.report import page
from jobq.views.text import safe, size

MOST = 1000  # jobs


@selects_jobs
def report(
    context: typer.Context,
    jobs: Wanted,
    *,
    file: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; -: stdout.")] = "report.html",
    most: Annotated[int, typer.Option("--last", "-n", metavar="N", min=1, help="Only the last N jobs.")] = MOST,
) -> None:
    """Write a page about jobs, for a browser.

    One file of HTML, with all it needs: what ran when on which slot, the failures with their last lines, the slowest,
    the longest waits, and a table that can be sorted and filtered.

    Examples: jobq report; jobq report --since 1d -o today.html; jobq report 11-110 -o -
    """
    queue = queue_of(context)
    chosen = jobs_to_list(queue, jobs, Look(everything=True))[-most:]
    if not chosen:
        info("no such jobs")
        return

    def tail(job: Job, count: int) -> list[str]:
        if not job.attempts:
            return []
        return plain_lines(queue.log_path(job.id, len(job.attempts), stderr=job.spec.stderr == APART), count)

    data = page(chosen, queue.situation(chosen), queue.time_waited, tail, queue.path)
    if file == "-":
        out_bytes(data)
        return
    replace_file(file, [data])
    info(f"{len(chosen)} job{'' if len(chosen) == 1 else 's'} in {safe(file)}, {size(len(data))}")
