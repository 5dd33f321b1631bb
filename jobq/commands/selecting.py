"""The options that select jobs, the same for every command that takes jobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from jobq.commands.common import Selectors
from jobq.commands.quick_list import in_states
from jobq.durations import duration
from jobq.errors import UsageError
from jobq.job import State
from jobq.options.instants import past_instant
from jobq.options.selectors import Filters, Wanted

Many = list[str] | None
FILTERS: dict[str, Any] = {
    "state": Annotated[
        Many, typer.Option("--state", "-s", metavar="STATE", help=f"Only in this state: {', '.join(State)}.")
    ],
    "queue_name": Annotated[
        Many, typer.Option("--queue", "-q", metavar="NAME", help="Only of this queue (may be repeated).")
    ],
    "label": Annotated[
        Many, typer.Option("--label", metavar="NAME[=VALUE]", help="Only with this label (may be repeated).")
    ],
    "grep": Annotated[
        str | None, typer.Option("--grep", metavar="TEXT", help="Only with this text in the command or the name.")
    ],
    "since": Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only if something happened since: 2h, today, 9:00.")
    ],
    "until": Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Only if nothing happened after: 2h, yesterday.")
    ],
}  # fmt: skip


def selects_jobs(command: Callable[..., Any]) -> Callable[..., None]:
    """Give a command the words and the options that select jobs; it gets them as its argument `jobs`, a `Wanted`."""

    def wrapped(**values: Any) -> None:
        given = {name: values.pop(name) for name in FILTERS}
        command(jobs=Wanted(values.pop("jobs") or (), filters_of(**given)), **values)

    own = inspect.signature(command, eval_str=True).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        p.replace(kind=keyword, annotation=Selectors, default=None) if p.name == "jobs" else p.replace(kind=keyword)
        for p in own
    ]
    parameters += [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in FILTERS.items()]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    return wrapped


def filters_of(
    *,
    state: Sequence[str] | None,
    queue_name: Sequence[str] | None,
    label: Sequence[str] | None,
    grep: str | None,
    since: str | None,
    until: str | None,
) -> Filters:
    """Return the filters that these texts say. Raises UsageError that names the option."""
    pairs = (text.partition("=") for text in label or ())
    return Filters(
        in_states(state or ()),
        frozenset(queue_name or ()),
        tuple((name, value if equals else None) for name, equals, value in pairs),
        grep,
        moment("--since", since),
        moment("--until", until),
    )


def moment(flag: str, text: str | None) -> float | None:
    """Return the time of "2h" (ago), "9:00", "yesterday" or a date, by the wall clock. Raises UsageError."""
    if text is None:
        return None
    try:
        return past_instant(text, duration)
    except UsageError as e:
        raise UsageError(f"{flag}: {e}", "write 90m, 2d, 9:00, yesterday 18:00 or 2026-12-24") from None
