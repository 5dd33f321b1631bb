"""jobq requeue"""

from __future__ import annotations

import typer

from jobq.commands.common import Selectors, leave, no_worker_warning, queue_of, refusals
from jobq.errors import UsageError
from jobq.selection import select
from jobq.views.console import say


def requeue(context: typer.Context, jobs: Selectors = None) -> None:
    """Give finished jobs that did not succeed another turn, with all their retries."""
    queue = queue_of(context)
    if not jobs:
        raise UsageError("which jobs?", "as in: jobq requeue 7, or jobq requeue @failed")
    ids = select(queue, jobs)
    if not ids:
        say("no such jobs")
        return
    done = queue.requeue(ids)
    for job in done.jobs:
        say(f"job {job.id} {job.state}")
    if done.jobs:
        no_worker_warning(queue)
    leave(refusals(done))
