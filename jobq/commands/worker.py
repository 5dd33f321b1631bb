"""jobq worker"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobq.commands.common import exit_with, queue_of
from jobq.commands.notes import tell_pauses
from jobq.commands.options import value_of
from jobq.cpus import usable_cpus
from jobq.durations import duration
from jobq.errors import Refused, UsageError
from jobq.exit_codes import TRY_AGAIN
from jobq.job import State
from jobq.options.values import parse_name
from jobq.settings.levels import values
from jobq.views.console import info, is_terminal, out
from jobq.views.text import command_line
from jobq.views.watch import Lines, Screen
from jobq.worker.background import Parting, close_inherited
from jobq.worker.service_manager import ServiceManager
from jobq.worker.signals import StopSignals

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from jobq.api import Queue
    from jobq.worker.stopping import OnStop

LOOK_S = 1.0  # seconds between two looks whether the parent lives


def worker(  # noqa: PLR0917  # an option a parameter
    context: typer.Context,
    slots: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Jobs at once.  [default: usable CPUs]")
    ] = None,
    queues: Annotated[
        list[str] | None, typer.Option("--queue", "-q", metavar="NAME", help="Serve only this queue (may be repeated).")
    ] = None,
    drain: Annotated[
        bool,
        typer.Option(
            "--drain", help="Exit when there is no more to do: 0, 1 if a job failed, 75 if a pause holds jobs back."
        ),
    ] = False,
    stop_after: Annotated[
        str | None,
        typer.Option(
            "--stop-after", metavar="TIME", help="Time for running jobs after the signal to stop.  [default: 30s]"
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Go on in the background, also after a logout.")] = False,
    on_stop: Annotated[
        str | None,
        typer.Option(
            "--on-stop",
            metavar="leave|hand-back",
            help="Then leave running jobs alone, or hand them back.  [default: leave; for TERM hand-back]",
        ),
    ] = None,
    parent: Annotated[int, typer.Option("--parent", hidden=True)] = 0,
) -> None:
    """Run the jobs of the queue.

    On a terminal it shows a live table, elsewhere it prints a line for each event. ^C, TERM, or closing the terminal:
    it starts no new jobs and waits for the running ones, 30 s at most. Jobs that still run then go on, and the next
    worker adopts them; after TERM, they are stopped and handed back, which uses up no retry. A second ^C or TERM stops
    all jobs at once and hands them back.

    Examples: jobq worker -j 4; jobq worker -q gpu --drain; jobq worker --detach
    """
    if detach:
        close_inherited()  # before the store is opened
    queue = queue_of(context)
    usual_slots, usual_time, usual_end = values("worker.jobs", "worker.stop_after", "worker.on_stop")
    settings: dict[str, Any] = {
        "slots": slots or usual_slots or usable_cpus(),
        "queues": [value_of("--queue", parse_name, name) for name in queues] if queues else None,
        "drain": drain,
        "stop_after": usual_time if stop_after is None else value_of("--stop-after", duration, stop_after),
        "on_stop": policy_of(on_stop or usual_end),
    }
    parting = Parting(queue.workers.open_log()) if detach else None
    if parting is not None and parting.pid:
        tell_started(parting)
    else:
        exit_with(serve(queue, settings, parting, parent))


def serve(queue: Queue, settings: Mapping[str, Any], parting: Parting | None, parent: int) -> int:
    """Run a worker until it is stopped or done; `parting`: it is in the background. Return the exit code.

    `parent`: the process that must live for it to go on; 0: none.
    """
    manager = ServiceManager()
    with StopSignals() as signals, Screen(queue) if is_terminal() else Lines() as watch:

        def idle() -> float | None:
            if parting is not None:
                queue.workers.keep_log_short()
            if parent and os.getppid() != parent and not signals.count:
                signals.ask()
            if signals.count:
                manager.tell("STOPPING=1")
            wanted = watch.refresh(work, stops=signals.count)
            return min(wanted or LOOK_S, LOOK_S) if parent else wanted

        work = queue.worker(**settings, report=watch.report, idle=idle)
        if parting is not None:
            parting.tell_ready()
        manager.tell("READY=1")
        if work.network:
            watch.remark(
                f"the store is on a network filesystem ({work.network}), where locks may fail: use a local disk"
            )
        done = work.run(signals)
        manager.tell("STOPPING=1")
        for job in work.left:
            watch.remark(f"job {job.id} is still running: {command_line(job.command)}")
        if work.left:
            watch.remark("the next worker adopts what is still running; 'jobq cancel' ends it")
    if not work.drain:
        return 0
    if not done:
        tell_pauses(queue.queues.pauses())
        info("stopped with work left")
        return TRY_AGAIN
    tell_left(queue, settings["queues"])
    return int(work.failed > 0)


def tell_left(queue: Queue, served: Collection[str] | None) -> None:
    """Print how many jobs of these queues (None: all) still wait: for a time, for a person, or for such a job."""
    left = [job for job in queue.jobs() if job.runner is None and (served is None or job.spec.queue in served)]
    if held := sum(job.state is State.HELD for job in left):
        info(f"{held} held job{' stays' if held == 1 else 's stay'}: 'jobq release' lets it start")
    if later := sum(job.state is State.QUEUED for job in left):
        info(f"{later} job{' waits' if later == 1 else 's wait'} for a later time, or for such a job")


def tell_started(parting: Parting) -> None:
    """Print that the worker in the background runs. Raises Refused if it does not."""
    if not parting.is_ready():
        raise Refused("the worker did not start", "'jobq worker log --tail 5' shows why")
    out(str(parting.pid))
    info("the worker runs in the background: 'jobq worker log' shows what it prints, 'jobq worker stop' ends it")


def policy_of(text: str | None) -> OnStop | None:
    """Return the value of --on-stop. Raises UsageError."""
    from jobq.worker.stopping import OnStop  # noqa: PLC0415  # with all that runs jobs, and completion loads this module

    try:
        return None if text is None else OnStop(text)
    except ValueError:
        raise UsageError(f"--on-stop: {text!r} is not a choice", "use leave or hand-back") from None
