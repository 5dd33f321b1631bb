"""What the commands share: the chosen store, the job arguments, and the options that ask something for a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any

import typer

from jobq import clock
from jobq.api import Changed, Queue
from jobq.errors import StoreError, UsageError
from jobq.job import Job
from jobq.options.selectors import Selected, select_all
from jobq.options.table import BY_NAME
from jobq.rules.lifecycle import WrongState
from jobq.rules.serving import why_unserved
from jobq.views.console import error, info, unserved
from jobq.views.table import Situation, survey

Selectors = Annotated[
    list[str] | None,
    typer.Argument(metavar="[JOB]...", help="Ids, ranges (3-7), names, @ (the last added), @failed (any state)."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="A line for each job.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def queue_of(context: typer.Context) -> Queue:
    """The queue that `--store` or JOBQ_STORE names."""
    return Queue(context.find_root().obj)


def exit_with(code: int) -> None:
    """End the command with this exit code."""
    raise typer.Exit(code)


def warn_unserved(queue: Queue, names: Iterable[str], known: Collection[str] = ()) -> set[str]:
    """Say why nobody will do what waits in these queues, but for the `known` reasons; all of the reasons.

    What was asked is done: nothing here may fail.
    """
    try:
        workers = queue.live_workers()
    except (OSError, StoreError):
        return set(known)
    reasons = {why for name in names if (why := why_unserved(name, workers))}
    for why in sorted(reasons - set(known)):
        unserved(why)
    return reasons


def resolve(queue: Queue, words: list[str] | None, example: str) -> Selected:
    """The jobs that a changing command is given; says so if there are none. Raises UsageError, NotFound."""
    if not words:
        raise UsageError("which jobs?", f"as in: {example}")
    selected = select_all(queue, words)
    if not selected.ids:
        info("no such jobs")
    return selected


def report(
    done: Changed, selected: Selected, what: Callable[[Job], str], line: Callable[[Job], str], *, verbose: bool
) -> int:
    """Say what came of a change, in a line for each job or one for many; the exit code.

    `what`: a word for what became of a job ("requeued"), `line`: the same as a sentence. A job that was named and
    can't be changed is an error; one of a set is left alone: the set is narrowed to what can be.
    """
    left, refused = [], []
    for refusal in done.refused:
        if isinstance(refusal, WrongState) and refusal.job.id not in selected.named:
            left.append(refusal)
        else:
            refused.append(refusal)
    if verbose or len(selected.ids) == 1:
        for job in done.jobs:
            info(line(job))
        for wrong in left:
            info(f"job {wrong.job.id} left alone: {wrong.job.state}")
    elif done.jobs or left:
        info(summary(Counter(map(what, done.jobs)), Counter(str(wrong.job.state) for wrong in left)))
    for refusal in refused:
        error(str(refusal), refusal.hint)
    return int(bool(refused))


def summary(done: Mapping[str, int], left: Mapping[str, int]) -> str:
    """ "3 requeued; 97 left alone: succeeded"."""
    parts = [", ".join(f"{count} {word}" for word, count in done.items()) or "nothing changed"]
    if len(left) == 1:
        parts += [f"{count} left alone: {state}" for state, count in left.items()]
    elif left:
        kinds = ", ".join(f"{count} {state}" for state, count in left.items())
        parts.append(f"{sum(left.values())} left alone: {kinds}")
    return "; ".join(parts)


def queue_name(options: Mapping[str, Any]) -> str:
    """Return the queue of a job with these options."""
    return str(options.get("queue", BY_NAME["queue"].default))


def situation(queue: Queue, jobs: Iterable[Job]) -> Situation:
    """What a table of these jobs needs to know beside them. Call it after reading them."""
    return survey(queue.store, jobs, clock.now())
