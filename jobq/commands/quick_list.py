"""`jobq list` and bare `jobq` without typer, which takes longer to load than all the rest.

What is not plain (an unknown option, a help text) is left to the full command line, which knows the errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from jobq.api import Queue
from jobq.commands.notes import tell_pauses
from jobq.commands.status import status
from jobq.errors import UsageError
from jobq.job import State
from jobq.options.selectors import NO_FILTERS, Filters, Wanted
from jobq.rules.hooks import is_hook
from jobq.rules.ranks import claim_key
from jobq.settings.stores import strange_store
from jobq.views.console import info, out, set_store_option
from jobq.views.data import envelope, job_data
from jobq.views.table import print_jobs, reason
from jobq.views.text import safe

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
        wanted, flags = parsed
        print_list(Queue(store), wanted, everything=flags["-a"], json=flags["--json"], tree=flags["--tree"])
    else:
        status(Queue(store))
    return True


def parse(words: Sequence[str]) -> tuple[Wanted, dict[str, bool]] | None:
    """Return what to list, and the flags -a, --json and --tree; None if these are not plain words."""
    values: dict[str, list[str]] = {"-s": [], "-q": [], "": []}
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
    return Wanted(values[""], Filters(frozenset(map(state_of, values["-s"])), frozenset(values["-q"]))), flags


def print_list(queue: Queue, wanted: Wanted, *, everything: bool, json: bool, tree: bool) -> None:
    """Print the jobs, as a table, as a tree or as JSON. Raises UsageError, NotFound."""
    if tree and json:
        raise UsageError("both --tree and --json are given", "each job in JSON names what it is after")
    filters = wanted.filters
    if wanted.words:
        shown = queue.jobs_of(queue.select(wanted).ids)
    else:
        whole = everything or filters != NO_FILTERS._replace(queues=filters.queues)
        worth = (job for job in queue.finished() if not is_hook(job) or job.is_open_failure)
        finished = queue.finished() if whole else islice(worth, LAST_FINISHED)
        waiting = sorted(queue.jobs(), key=lambda job: (job.state is not State.RUNNING, *claim_key(job)))
        jobs = sorted(finished, key=lambda job: (job.finished_at or 0.0, job.id)) + waiting
        shown = [job for job in jobs if filters.match(job)]
    if tree and wanted.words:
        shown = queue.with_ancestors(shown)
    around = queue.situation(shown)
    tell_pauses(queue)
    if json:
        out(envelope(jobs=[job_data(job, reason(job, around)) for job in shown]))
    elif shown and tree:
        from jobq.views.tree import tree_of  # noqa: PLC0415

        ordered, frames = tree_of(shown)
        print_jobs(ordered, around, frames)
    elif shown:
        print_jobs(shown, around)
    else:
        info("no such jobs" if queue.exists() else f"no jobs: there is no store at {safe(queue.path)} yet")


def state_of(text: str) -> State:
    """Return the state of this name. Raises UsageError if there is none."""
    try:
        return State(text)
    except ValueError:
        raise UsageError(f"--state: {text} is not a state", f"use one of {', '.join(State)}") from None
