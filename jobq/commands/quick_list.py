"""`jobq list` and bare `jobq` without typer, which takes longer to load than all the rest.

What is not plain (an unknown option, a help text) is left to the full command line, which knows the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from jobq.commands.notes import tell_pauses
from jobq.errors import UsageError
from jobq.job import Job, State
from jobq.looking import Looking, Reader
from jobq.options.selectors import NO_FILTERS, WAITING, Filters, Wanted, states_of
from jobq.rules.hooks import is_hook
from jobq.rules.ranks import claim_key
from jobq.settings.places import strange_store
from jobq.typed import NamedTuple
from jobq.views.console import draw, info, out, set_store_option
from jobq.views.table import USUAL, columns_of, print_jobs, reason
from jobq.views.text import command_line, safe

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any

LAST_FINISHED = 20
NAMES = ("list", "ls", "ps")


def read(words: Sequence[str]) -> bool:
    """Print what the words ask for; return False if the full command line must do it. Raises as `print_list`."""
    store = None
    if len(words) > 1 and words[0] == "--store" and words[1]:
        store, words = words[1], words[2:]
    if words and words[0] not in NAMES:
        return False
    parsed = parse(words[1:])
    if parsed is None:
        return False
    if store is not None:
        set_store_option(store)
    elif strange_store() is not None:
        return False  # which the full command line tells
    if words:
        print_list(Reader(store), parsed.wanted, parsed.look)
    else:
        from jobq.commands.status import status  # noqa: PLC0415  # `list` does without it

        status(Reader(store))
    return True


class Look(NamedTuple):
    """The form of a list."""

    everything: bool = False
    tree: bool = False
    json: bool = False
    sort: str | None = None
    most: int | None = None
    columns: str | None = None
    format: str | None = None


class Parsed(NamedTuple):
    """The jobs to list, and how."""

    wanted: Wanted
    look: Look


def parse(words: Sequence[str]) -> Parsed | None:
    """Return what to list; None if these are not plain words."""
    values: dict[str, list[str]] = {"-s": [], "-q": [], "--sort": [], "--columns": [], "--format": [], "": []}
    flags = {"-a": False, "--json": False, "--tree": False}
    rest = iter(words)
    for word in rest:
        name = {"--state": "-s", "--queue": "-q", "--all": "-a"}.get(word, word)
        if name in flags:
            flags[name] = True
        elif not word.startswith("-"):
            values[""].append(word)
        elif name in values and (value := next(rest, None)) is not None:
            values[name].append(value)
        else:
            return None
    last = {name: values[name][-1] if values[name] else None for name in ("--sort", "--columns", "--format")}
    look = Look(
        flags["-a"], flags["--tree"], flags["--json"], last["--sort"], None, last["--columns"], last["--format"]
    )
    return Parsed(Wanted(values[""], Filters(in_states(values["-s"]), frozenset(values["-q"]))), look)


def print_list(queue: Looking, wanted: Wanted, look: Look) -> None:
    """Print the jobs, as a table, as a tree, as JSON or in a form of one's own. Raises UsageError, NotFound."""
    check_look(look)
    names = USUAL if look.columns is None else columns_of(look.columns)
    shown = jobs_to_list(queue, wanted, look)
    if look.tree and wanted.words:
        shown = queue.with_ancestors(shown)
    around = queue.situation(shown)
    if look.sort is not None:
        shown = sorted_by(shown, look.sort)[: look.most]
    elif look.most is not None:
        shown = shown[max(0, len(shown) - look.most) :]
    tell_pauses(around.pauses)
    if look.json:
        from jobq.views.data import job_data  # noqa: PLC0415  # the options
        from jobq.views.envelope import envelope  # noqa: PLC0415

        out(envelope(jobs=[job_data(job, reason(job, around), around.progress.get(job.id)) for job in shown]))
    elif look.format is not None:
        from jobq.views.formats import Form  # noqa: PLC0415  # re

        draw(*Form(look.format).lines(shown, around))
    elif shown and look.tree:
        from jobq.views.tree import tree_of  # noqa: PLC0415

        ordered, frames = tree_of(shown)
        print_jobs(ordered, around, frames, names)
    elif shown:
        print_jobs(shown, around, names=names)
    else:
        info("no such jobs" if queue.exists() else f"no jobs: there is no store at {safe(queue.path)} yet")


def check_look(look: Look) -> None:
    """Raise UsageError for what can't be shown together."""
    if look.tree and look.json:
        raise UsageError("both --tree and --json are given", "each job in JSON names what it is after")
    if look.format is not None and (look.tree or look.json or look.columns is not None):
        raise UsageError("--format and another form are given", "give one of --format, --columns, --tree, --json")
    if look.tree and look.sort is not None:
        raise UsageError("both --tree and --sort are given", "a tree has its own order")


def jobs_to_list(queue: Looking, wanted: Wanted, look: Look) -> list[Job]:
    """Return the jobs: those that finished first, then those that run, then those that wait, in their order."""
    filters = wanted.filters
    if wanted.words:
        return queue.jobs_of(queue.select(wanted).ids)
    narrowed = filters != NO_FILTERS._replace(queues=filters.queues)
    if look.most is not None and look.sort is None and filters == NO_FILTERS:
        return jobs_in_order(queue, islice(queue.finished(), look.most), filters)
    whole = look.everything or look.most is not None or narrowed
    worth = (job for job in queue.finished() if not is_hook(job) or job.is_open_failure)
    finished = queue.finished() if whole else islice(worth, LAST_FINISHED)
    return jobs_in_order(queue, finished, filters)


def jobs_in_order(queue: Looking, finished: Iterable[Job], filters: Filters) -> list[Job]:
    """Return these finished jobs, by their ends, and all others, in the order in which they start, if they match."""
    waiting = sorted(queue.jobs(), key=lambda job: (job.state is not State.RUNNING, *claim_key(job)))
    jobs = sorted(finished, key=lambda job: (job.finished_at or 0.0, job.id)) + waiting
    return jobs if filters == NO_FILTERS else [job for job in jobs if filters.match(job)]


def sorted_by(jobs: list[Job], text: str) -> list[Job]:
    """Return the jobs in the order of a key, descending with "-" in front. Raises UsageError."""
    name = text.removeprefix("-")
    if name not in SORTING:
        raise UsageError(f"--sort: there is no key {name!r:.60}", f"use one of {', '.join(SORTING)}, or -time")
    return sorted(jobs, key=SORTING[name], reverse=text.startswith("-"))


SORTING: dict[str, Callable[[Job], Any]] = {
    "id": lambda job: job.id,
    "state": lambda job: (list(State).index(job.state), job.id),
    "queue": lambda job: (job.spec.queue, job.id),
    "name": lambda job: (job.spec.name or "", job.id),
    "priority": lambda job: (job.spec.priority, job.id),
    "added": lambda job: (job.added_at, job.id),
    "finished": lambda job: (job.finished_at or float("inf"), job.id),
    "time": lambda job: (job.seconds or 0.0, job.id),
    "command": lambda job: (command_line(job.command), job.id),
}


def in_states(texts: Iterable[str]) -> frozenset[State]:
    """Return the states that these words name. Raises UsageError if one names none."""
    found: set[State] = set()
    for text in texts:
        try:
            found |= states_of(text)
        except ValueError:
            raise UsageError(
                f"--state: {text} is not a state", f"use one of {', '.join(State)}, or {WAITING}"
            ) from None
    return frozenset(found)
