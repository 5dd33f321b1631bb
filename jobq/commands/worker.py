"""jobq worker"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from jobq.commands.common import leave, queue_of
from jobq.views.console import is_terminal, say

LEFT = 75


def worker(
    context: typer.Context,
    slots: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Jobs at once.  [default: usable CPUs]")
    ] = None,
    queues: Annotated[
        list[str] | None, typer.Option("--queue", "-q", metavar="NAME", help="Only this queue (may be repeated).")
    ] = None,
    drain: Annotated[
        bool, typer.Option("--drain", help="Exit when nothing is left to do: 0, or 1 if a job failed.")
    ] = False,
) -> None:
    """Run jobs: a live table on a terminal, a line for each event elsewhere.

    ^C (or TERM, HUP) takes no new jobs and gives the running ones 30 s, then hands them back; again: at once.
    """
    from jobq.signals import StopSignals  # noqa: PLC0415  # all that runs jobs: only here and in `run`
    from jobq.views.watch import Lines, Screen  # noqa: PLC0415
    from jobq.worker import Worker  # noqa: PLC0415

    queue = queue_of(context)
    with StopSignals() as signals, Screen() if is_terminal() else Lines() as watch:
        work = Worker(
            queue.store,
            slots=slots or usable_cpus(),
            queues=queues or None,
            drain=drain,
            report=watch.report,
            idle=lambda: watch.refresh(work, stops=signals.count),
        )
        if work.network:
            say(f"the store is on a network filesystem ({work.network}), where locks may not hold: use a local disk")
        done = work.run(signals)
    if drain:
        if not done:
            say("stopped with work left")
            leave(LEFT)
        leave(int(work.failed > 0))


def usable_cpus() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
