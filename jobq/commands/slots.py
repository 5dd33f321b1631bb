"""jobq slots"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import queue_of
from jobq.commands.options import value_of
from jobq.commands.workers import Pid
from jobq.options.values import WholeNumber
from jobq.views.console import info
from jobq.views.workers import print_workers

NUMBER = WholeNumber(1, 10_000, "a whole number from 1 to 10000")


def slots(
    context: typer.Context,
    number: Annotated[str | None, typer.Argument(metavar="[N]", help="Jobs at once, from now on.")] = None,
    *,
    pid: Pid = None,
) -> None:
    """Change how many jobs a worker runs at once.

    Jobs that run go on. Without N, it shows the workers.

    Examples: jobq slots; jobq slots 8; jobq slots 2 --pid 4711
    """
    queue = queue_of(context)
    if number is None:
        print_workers(queue.workers.all(), json=False)
        return
    count = value_of("N", NUMBER.parse, number)
    worker = queue.workers.chosen(pid)
    queue.workers.set_slots(worker, count)
    info(f"the worker with pid {worker.pid} runs {count} job{'' if count == 1 else 's'} at once from now on")
