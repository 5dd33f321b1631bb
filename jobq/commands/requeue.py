"""jobq requeue"""

from __future__ import annotations

import typer

from jobq.commands.common import Selectors, chosen, leave, queue_of, refusals, warn_unserved
from jobq.views.console import say


def requeue(context: typer.Context, jobs: Selectors = None) -> None:
    """Give finished jobs that did not succeed another turn, with all their retries."""
    queue = queue_of(context)
    ids = chosen(queue, jobs, "'jobq requeue 7', or 'jobq requeue @failed'")
    if not ids:
        return
    done = queue.requeue(ids)
    for job in done.jobs:
        say(f"job {job.id} {job.state}")
    if done.jobs:
        warn_unserved(queue, {job.spec.queue for job in done.jobs})
    leave(refusals(done))
