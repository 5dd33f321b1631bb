"""Code that the commands share: the chosen store, the job arguments, the options of a job, reports of changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from jobq import clock
from jobq.api import Queue
from jobq.changes import Changed
from jobq.commands.notes import warn_unserved
from jobq.errors import JobqError, UsageError
from jobq.intake import Added
from jobq.job import Job, State
from jobq.options.selectors import Selected, Wanted
from jobq.options.table import BY_NAME
from jobq.rules.lifecycle import WrongState
from jobq.rules.reasons import time_ahead
from jobq.settings.levels import job_defaults
from jobq.settings.places import strange_store, was_own
from jobq.specs import WAITS
from jobq.views.console import acknowledge, error, info, is_terminal
from jobq.views.envelope import envelope
from jobq.views.text import safe

Selectors = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[JOB]...", help="Ids, ranges (3-7), names, @ (the last added), @STATE, @queue=NAME, @label=NAME=VALUE."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print a line for each job.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def queue_of(context: typer.Context) -> Queue:
    """Return the queue that `--store`, the project or the settings name."""
    asked = context.find_root().obj
    if asked is None and (strange := strange_store()) is not None:
        why = "you have made it elsewhere: 'jobq init' there uses it" if was_own(strange) else "you have not made it"
        info(f"note: {safe(strange)} is not used, as {why}")
    return Queue(asked)


def exit_with(code: int) -> None:
    """End the command with this exit code."""
    raise typer.Exit(code)


def resolve(queue: Queue, wanted: Wanted, example: str) -> Selected:
    """Return the jobs that are selected; print a line if there are none. Raises UsageError, NotFound."""
    if not wanted:
        raise UsageError("no job is given", f"give one or more, as in: {example}")
    selected = queue.select(wanted)
    if not selected.ids:
        info("no such jobs")
    return selected


def report(
    done: Changed, selected: Selected, what: Callable[[Job], str], line: Callable[[Job], str], *, verbose: bool
) -> int:
    """Print the result of a change, in a line for each job or one line for many. Return the exit code.

    `what`: the new state of a job in a word ("requeued"); `line`: the same as a sentence. If a job can't be changed, it
    is an error when the job was named itself; a job of a range or a state is left alone.
    """
    wrong_ones = refused(done, selected)
    left = [one for one in done.refused if isinstance(one, WrongState) and one not in wrong_ones]
    if verbose or len(selected.ids) == 1:
        for job in done.jobs:
            info(line(job))
        for wrong in left:
            info(f"job {wrong.job.id} left alone: {wrong.job.state}")
    elif done.jobs or left:
        info(summary(Counter(map(what, done.jobs)), Counter(str(wrong.job.state) for wrong in left)))
    tell_followed(done)
    for refusal in wrong_ones:
        error(str(refusal), refusal.hint)
    return int(bool(wrong_ones))


def refused(done: Changed, selected: Selected) -> list[JobqError]:
    """Return the errors of a change: a job that was named itself could not be changed."""
    return [one for one in done.refused if not isinstance(one, WrongState) or one.job.id in selected.named]


def tell_followed(done: Changed) -> None:
    """Print which other jobs are skipped because of a change, and which wait again."""
    own = {job.id for job in done.jobs}
    skipped = sorted({job.id for job in done.followed if job.state is State.SKIPPED} - own)
    again = sorted({job.id for job in done.followed if not job.state.final} - own)
    if skipped:
        info(f"skipped, as they are after that: {', '.join(ranges(skipped))}")
    if again:
        info(f"no longer skipped: {', '.join(ranges(again))}")


def summary(done: Mapping[str, int], left: Mapping[str, int]) -> str:
    """Return a summary such as "3 requeued; 97 left alone: succeeded"."""
    parts = [", ".join(f"{count} {word}" for word, count in done.items()) or "nothing changed"]
    if len(left) == 1:
        parts += [f"{count} left alone: {state}" for state, count in left.items()]
    elif left:
        kinds = ", ".join(f"{count} {state}" for state, count in left.items())
        parts.append(f"{sum(left.values())} left alone: {kinds}")
    return "; ".join(parts)


def acknowledge_all(queue: Queue, added: Added, options: Mapping[str, Any], *, json: bool = False) -> None:
    """Print the ids of added jobs, those that were there already included, and what there is to say about them."""
    if json:
        new, replaced = set(added.new), set(added.replaced)
        jobs = [{"id": i, "deduplicated": i not in new, "replaced": i in replaced} for i in dict.fromkeys(added.ids)]
        acknowledge(envelope(jobs=jobs))
    else:
        for ids in ranges(sorted(set(added.ids))):
            acknowledge(ids)
    known = len(added.ids) - len(added.new)
    if known and len(added.ids) == 1:
        job_id = added.ids[0]
        state = next((f"is {job.state}" for job in queue.jobs() if job.id == job_id), "has succeeded")
        info(
            f"job {job_id} replaced" if added.replaced else f"deduplicated: job {job_id} is the same work, and {state}"
        )
    elif known:
        changed = f", {len(added.replaced)} of them replaced" if added.replaced else ""
        info(f"{len(added.new)} new, {known} already there{changed}")
    if options.get("at") is not None and (added.new or added.replaced):
        _tell_start(options, clock.now().wall)
    if added.new:
        _tell_skipped(queue, added.new, options)
        warn_unserved(queue, [queue_name(options)])


def _tell_start(options: Mapping[str, Any], now: float) -> None:
    """Print to a person when jobs start, who may have meant another day; to all, that the time is over."""
    at = BY_NAME["at"].take(options["at"])  # a handler's may be text
    if at < now:
        info("note: the time of --at is over, so nothing waits for it")
    elif is_terminal() and not any(options.get(name) for name in ("hold", *WAITS)):
        info(f"starts {time_ahead(at, now)}")


def _tell_skipped(queue: Queue, new: Sequence[int], options: Mapping[str, Any]) -> None:
    """Print that new jobs are skipped at once, or wait for nothing."""
    names = [name for name in WAITS if options.get(name)]
    if not names:
        return
    job = queue.job(new[0])
    if job.skipped_for is not None:
        info(f"skipped at once, because of job {job.skipped_for}")
    for name in names:
        if not getattr(job.spec, name):
            info(f"note: {BY_NAME[name].flags[0]} names no job, so nothing is waited for")


def ranges(ids: Sequence[int]) -> Iterator[str]:
    """Yield ascending ids as few words: "3", "5-9"."""
    start = 0
    for at in range(1, len(ids) + 1):
        if at == len(ids) or ids[at] != ids[at - 1] + 1:
            yield str(ids[start]) if at - start == 1 else f"{ids[start]}-{ids[at - 1]}"
            start = at


def queue_name(options: Mapping[str, Any]) -> str:
    """Return the queue of a job with these options."""
    return str({"queue": BY_NAME["queue"].default, **job_defaults(), **options}["queue"])
