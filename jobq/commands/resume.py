"""jobq resume"""

from __future__ import annotations

import typer

from jobq.commands.common import queue_of
from jobq.commands.notes import warn_unserved
from jobq.commands.options import value_of
from jobq.commands.pause import QueueName
from jobq.job import State
from jobq.options.values import parse_name
from jobq.rules.serving import ALL_QUEUES
from jobq.views.console import info


def resume(context: typer.Context, queue_name: QueueName = None) -> None:
    """Start jobs of a paused queue again.

    Without QUEUE, it ends the pause of all queues; a queue that was paused by its name stays paused.

    Examples: jobq resume; jobq resume night
    """
    queue = queue_of(context)
    name = None if queue_name is None else value_of("QUEUE", parse_name, queue_name)
    were_stopped = (name or ALL_QUEUES) in queue.queues.stopped()
    changed = queue.queues.resume(name)
    what = "all queues" if name is None else f"queue {name}"
    not_paused = f"queue {name} is not paused by its name" if name else "there is no pause of all queues"
    info(f"{what} resumed" if changed else f"nothing changed: {not_paused}")
    left = {paused for paused in queue.queues.pauses() if paused != ALL_QUEUES}
    if name is None and left:
        info(f"still paused by name: {', '.join(sorted(left))}")
    if were_stopped and not queue.workers.all() and any(job.state is State.RUNNING for job in queue.jobs()):
        info("what was stopped goes on as soon as a worker runs")
    warn_unserved(queue, {job.spec.queue for job in queue.jobs() if job.state is State.QUEUED})
