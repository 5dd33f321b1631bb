"""jobq timeline"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq import clock
from jobq.commands.common import queue_of
from jobq.commands.quick_list import Look, jobs_to_list
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted
from jobq.views.console import draw, info, is_terminal, stdout
from jobq.views.terminal import size_of
from jobq.views.timeline import timeline_lines

MOST = 40  # jobs
USUAL_WIDTH = 100  # columns, where there is no terminal


@selects_jobs
def timeline(
    context: typer.Context,
    jobs: Wanted,
    *,
    most: Annotated[int, typer.Option("--last", "-n", metavar="N", min=1, help="Show only the last N jobs.")] = MOST,
) -> None:
    """Draw when jobs waited and ran.

    Each job is a line: it waits (dots), runs (a bar for each attempt), and ends in its sign.

    Examples: jobq timeline; jobq timeline --since 1h; jobq timeline @label=batch=7
    """
    chosen = jobs_to_list(queue_of(context), jobs, Look(everything=True))
    chosen = [job for job in chosen if job.attempts or not job.state.final][-most:]
    if not chosen:
        info("no such jobs")
        return
    columns = size_of(stdout.fileno())[0] if is_terminal() else USUAL_WIDTH
    draw(*timeline_lines(chosen, clock.now().wall, columns))
