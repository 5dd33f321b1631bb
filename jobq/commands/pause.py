"""jobq pause"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import queue_of
from jobq.commands.options import value_of
from jobq.job import State
from jobq.options.values import Duration, parse_name
from jobq.rules.serving import ALL_QUEUES, why_paused
from jobq.views.console import info

QueueName = Annotated[str | None, typer.Argument(metavar="[QUEUE]", help="A queue; without it, all queues.")]


def pause(
    context: typer.Context,
    queue_name: QueueName = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Shown wherever the pause is.")] = "",
    *,
    running: Annotated[bool, typer.Option("--running", help="Stop what runs, too, until then (SIGSTOP).")] = False,
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="End the pause after so long.")] = None,
) -> None:
    """Start no more jobs of a queue.

    Running jobs go on, unless --running is given: then all their processes are stopped, and their time limits stand
    still. The pause lasts until 'jobq resume', for every worker. Without QUEUE, all queues are paused.

    Examples: jobq pause --for 30m; jobq pause night --running --reason 'needs the GPU myself'
    """
    queue = queue_of(context)
    name = None if queue_name is None else value_of("QUEUE", parse_name, queue_name)
    seconds = None if for_ is None else value_of("--for", Duration(above_zero=True).parse, for_)
    changed = queue.queues.pause(name, reason, seconds, running=running)
    words = why_paused(name or ALL_QUEUES, queue.queues.pauses())
    info(words if changed else f"nothing changed: {words}")
    if running and changed:
        count = sum(job.state is State.RUNNING and name in {None, job.spec.queue} for job in queue.jobs())
        info(f"{count} running job{' is' if count == 1 else 's are'} stopped until then")
