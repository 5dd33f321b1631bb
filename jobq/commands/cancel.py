"""jobq cancel"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Selectors, chosen, leave, queue_of, refusals
from jobq.job import State
from jobq.views.console import say
from jobq.views.text import span


def cancel(
    context: typer.Context,
    jobs: Selectors = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Return when their processes are gone.")] = False,
) -> None:
    """End jobs: waiting ones at once, running ones with TERM, then KILL after their grace, with all they started."""
    queue = queue_of(context)
    ids = chosen(queue, jobs, "'jobq cancel 7', or 'jobq cancel @queued'")
    if not ids:
        return
    done = queue.cancel(ids)
    for job in done.jobs:
        if job.state is State.RUNNING:
            say(f"job {job.id} is stopping; grace {span(job.spec.grace)}")
        else:
            say(f"job {job.id} {job.state}")
    if wait:
        queue.wait_all([job.id for job in done.jobs])
    leave(refusals(done))
