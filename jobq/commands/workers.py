"""jobq worker list, worker stop, worker log"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Json, queue_of
from jobq.views.console import info
from jobq.views.following import follow_file
from jobq.views.logs import Printer, print_log
from jobq.views.text import safe
from jobq.views.workers import print_workers

Pid = Annotated[int | None, typer.Option("--pid", metavar="PID", help="Which worker, if there are several.")]


def list_(context: typer.Context, *, json: Json = False) -> None:
    """Show the live workers.

    Examples: jobq worker list; jobq worker list --json
    """
    print_workers(queue_of(context).workers.all(), json=json)


def stop(
    context: typer.Context,
    *,
    pid: Pid = None,
    hand_back: Annotated[
        bool, typer.Option("--hand-back", help="Stop its jobs after their time, and hand them back, as TERM does.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Return when it is gone.")] = False,
) -> None:
    """Ask a worker to stop, as ^C does.

    It starts no more jobs, and waits up to 30 s for those that run. Jobs that still run then go on, and the next worker
    adopts them.

    Examples: jobq worker stop; jobq worker stop --pid 4711 --wait
    """
    queue = queue_of(context)
    worker = queue.workers.chosen(pid)
    queue.workers.stop(worker, hand_back=hand_back, wait=wait)
    state = "has stopped" if wait else "was asked before" if worker.stopping else "is asked to stop"
    info(f"the worker with pid {worker.pid} {state}")


def log(
    context: typer.Context,
    *,
    tail: Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="Print only the last N lines.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what follows, until ^C.")] = False,
) -> None:
    """Print what workers in the background have printed.

    Examples: jobq worker log; jobq worker log -f --tail 20
    """
    queue, printer = queue_of(context), Printer()
    if follow:
        follow_file(queue.workers.log_path(), printer, tail)
        return
    if tail is None:
        print_log(queue.workers.log_path(older=True), printer, None)
    print_log(queue.workers.log_path(), printer, tail)
    if not printer.any:
        info(f"there is nothing in {safe(queue.workers.log_path())}")
