"""jobq slots"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import queue_of
from jobq.commands.options import value_of
from jobq.errors import Refused
from jobq.options.values import WholeNumber
from jobq.views.console import info, out
from jobq.views.text import safe

NUMBER = WholeNumber(1, 10_000, "a whole number from 1 to 10000")


def slots(
    context: typer.Context,
    number: Annotated[str | None, typer.Argument(metavar="[N]", help="Jobs at once, from now on.")] = None,
    *,
    pid: Annotated[int | None, typer.Option("--pid", metavar="PID", help="Which worker, if there are several.")] = None,
) -> None:
    """Change how many jobs a worker runs at once.

    Jobs that run go on. Without N, it shows the workers.

    Examples: jobq slots; jobq slots 8; jobq slots 2 --pid 4711
    """
    queue = queue_of(context)
    workers = [worker for worker in queue.live_workers() if pid is None or worker.pid == pid]
    if not workers:
        raise Refused(
            "no worker is running" if pid is None else f"no worker has the pid {pid}", "'jobq worker' starts one"
        )
    if number is None:
        for worker in workers:
            served = "all queues" if worker.queues is None else ", ".join(worker.queues)
            out(f"pid {worker.pid}: {worker.slots} slots, {safe(served)}{' (stopping)' if worker.stopping else ''}")
        return
    count = value_of("N", NUMBER.parse, number)
    if len(workers) > 1:
        named = ", ".join(str(worker.pid) for worker in workers)
        raise Refused(f"{len(workers)} workers are running", f"name one: --pid {named.replace(', ', ', --pid ')}")
    queue.set_slots(workers[0], count)
    info(f"the worker with pid {workers[0].pid} runs {count} job{'' if count == 1 else 's'} at once from now on")
