"""jobq queue, queue set, queue rm"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from jobq.commands.common import Json, queue_of
from jobq.commands.options import value_of
from jobq.errors import UsageError
from jobq.job import State
from jobq.options.values import WholeNumber, parse_name
from jobq.queues import QueueSettings
from jobq.rules.serving import DEFAULT_QUEUE, why_paused, why_unserved
from jobq.tables import Numbers
from jobq.views.console import info, out
from jobq.views.envelope import envelope
from jobq.views.queues import QueueRow, print_queues, queue_data

NUMBER = WholeNumber(1, 1_000_000_000, "a whole number from 1, or none")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A queue.")]


def queue(context: typer.Context, *, json: Json = False) -> None:
    """Show the queues.

    It shows how many jobs wait and run, the limits, what is paused, and who serves each. 'queue set' and 'queue rm'
    change one.

    Examples: jobq queue; jobq queue set build --limit 2
    """
    own = queue_of(context)
    counts: dict[str, Counter[State]] = {}
    for job in own.jobs():
        counts.setdefault(job.spec.queue, Counter())[job.state] += 1
    workers, pauses, settings = own.workers.all(), own.queues.pauses(), own.queues.all()
    served = {name for worker in workers for name in worker.queues or ()}
    rows = [
        QueueRow(
            settings.get(name, QueueSettings(name)),
            waiting=sum(count for state, count in counts.get(name, Counter()).items() if state is not State.RUNNING),
            running=counts.get(name, Counter())[State.RUNNING],
            workers=sum(worker.serves(name) and worker.takes_jobs for worker in workers),
            paused=why_paused(name, pauses),
            unserved=why_unserved(name, workers),
        )
        for name in sorted({*counts, *settings, *served} or {DEFAULT_QUEUE})
    ]
    if json:
        out(envelope(queues=list(map(queue_data, rows))))
    else:
        print_queues(rows)


def set_(
    context: typer.Context,
    name: Name,
    *,
    limit: Annotated[str | None, typer.Option("--limit", metavar="N", help="Jobs that may run at once.")] = None,
    capacity: Annotated[
        str | None, typer.Option("--capacity", metavar="N", help="Jobs that may wait; then add fails, or waits.")
    ] = None,
) -> None:
    """Set the limits of a queue.

    They hold over all workers; "none" takes one back. A full queue refuses new jobs, unless 'jobq add' has --wait-room.

    Examples: jobq queue set build --limit 2; jobq queue set build --capacity none
    """
    numbers: Numbers = {  # type: ignore[assignment]
        flag: None if text == "none" else value_of(f"--{flag}", NUMBER.parse, text)
        for flag, text in (("limit", limit), ("capacity", capacity))
        if text is not None
    }
    if not numbers:
        raise UsageError("no setting is given", "give one, as in: jobq queue set build --limit 2")
    after = queue_of(context).queues.set(value_of("NAME", parse_name, name), **numbers)
    told = [f"{what} {number}" for what, number in (("limit", after.limit), ("capacity", after.capacity)) if number]
    info(f"queue {name}: {', '.join(told) or 'no limits'}")


def rm(context: typer.Context, name: Name) -> None:
    """Forget the settings of a queue.

    Its limits are gone, and its pause ends. Its jobs stay.

    Example: jobq queue rm build
    """
    known = queue_of(context).queues.remove(value_of("NAME", parse_name, name))
    info(f"queue {name} has no settings any more" if known else f"nothing changed: queue {name} has no settings")
