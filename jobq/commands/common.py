"""What the commands share: the chosen store, the job arguments, and the options that ask something for a job."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from jobq import clock
from jobq.api import Changed, Queue
from jobq.asks import ASKS, Ask, asked_of
from jobq.errors import StoreError, UsageError
from jobq.job import State
from jobq.selection import select
from jobq.settings import environment
from jobq.store import workers as presence
from jobq.views.console import complain, no_worker, say
from jobq.views.table import Situation

Selectors = Annotated[
    list[str] | None,
    typer.Argument(metavar="[JOB]...", help="Ids, ranges (3-7), names, @ (the last added), @failed (any state)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def queue_of(context: typer.Context) -> Queue:
    """The queue that `--store` or JOBQ_STORE names."""
    return Queue(context.find_root().obj)


def leave(code: int) -> None:
    """End the command with this exit code."""
    raise typer.Exit(code)


def no_worker_warning(queue: Queue) -> bool:
    """Say so if nobody will do what was just asked for, and whether; what was asked is done: nothing here may fail."""
    try:
        alive = bool(queue.workers())
    except (OSError, StoreError):
        return False
    if not alive:
        no_worker()
    return not alive


def chosen(queue: Queue, words: list[str] | None, example: str) -> list[int]:
    """The jobs that a changing command is given; says so if there are none. Raises UsageError, NotFound."""
    if not words:
        raise UsageError("which jobs?", f"as in: {example}")
    ids = select(queue, words)
    if not ids:
        say("no such jobs")
    return ids


def refusals(done: Changed) -> int:
    """Say what was refused, and why; the exit code."""
    for refusal in done.refused:
        complain(str(refusal), refusal.hint)
    return int(bool(done.refused))


def situation(queue: Queue) -> Situation:
    """What tables need to know beside the jobs. Call it after reading jobs."""
    alive = queue.workers()
    owners = {job.attempts[-1].owner for job in queue.jobs() if job.state is State.RUNNING}
    dead = {owner for owner in owners if not presence.is_alive(queue.store.root, owner)}
    return Situation(clock.now(), bool(alive), frozenset(dead))


def takes_asks(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every ask of the table; it gets their values as the one argument `asked`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def wrapped(**values: Any) -> None:
            asked = {ask.name: values.pop(ask.name) for ask in ASKS}
            command(asked=asked_of(asked, environment()), **values)

        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [p for p in own if p.name != "asked"] + [_parameter(ask, defaults) for ask in ASKS]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
        return wrapped

    return decorate


def _parameter(ask: Ask, defaults: Mapping[str, Any]) -> inspect.Parameter:
    default = defaults.get(ask.name, ask.default)
    shown = "" if default in (None, ()) else f"  [default: {default}]"
    option = typer.Option(*ask.flags, metavar=ask.metavar, help=ask.help + shown)
    kind = list[str] | None if ask.many else str | None
    return inspect.Parameter(ask.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])
