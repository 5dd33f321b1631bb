"""jobq edit"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobq.api import Queue
from jobq.changes import Changed
from jobq.commands import editor
from jobq.commands.common import Selectors, Verbose, exit_with, queue_of, report, resolve
from jobq.commands.notes import warn_unserved
from jobq.commands.options import takes_job_options
from jobq.errors import JobqError, NotFound, Refused, UsageError
from jobq.job import Job
from jobq.options.job_file import read_toml, to_toml, with_problem
from jobq.options.selectors import Wanted
from jobq.rules.dependencies import WAITING
from jobq.rules.lifecycle import Event, IllegalMove
from jobq.views.console import error, info


@takes_job_options(only_given=True, without=("hold", "on_conflict", "wait_room"))
def edit(
    context: typer.Context,
    jobs: Selectors = None,
    verbose: Verbose = False,
    *,
    command: Annotated[str | None, typer.Option("--command", metavar="LINE", help="Run this line instead.")] = None,
    options: dict[str, Any],
) -> None:
    """Change the options of waiting jobs.

    Options that are not given stay as they are; "none" takes one back (--timeout none). Without options, one job opens
    in your editor, with its command. A job that runs or has ended is not changed: 'jobq again' runs it once more, with
    other options.

    Examples: jobq edit 7 --priority high; jobq edit 11-110 -q night -t 10m; jobq edit 7
    """
    queue = queue_of(context)
    selected = resolve(queue, Wanted(jobs or ()), "'jobq edit 7 --priority high'")
    if not options and command is None and (len(selected.ids) > 1 or not editor.is_possible()):
        where = "" if len(selected.ids) > 1 else "; in a terminal, it opens in your editor"
        raise UsageError("no option is given", f"give one, as in: 'jobq edit 7 --priority high'{where}")
    if not selected.ids:
        return
    if command is not None:
        done = queue.edit(selected.ids, command, **options)
    else:
        done = queue.edit(selected.ids, **options) if options else in_editor(queue, selected.ids[0])
    code = report(done, selected, lambda _: "edited", lambda job: f"job {job.id} edited", verbose=verbose)
    warn_unserved(queue, {job.spec.queue for job in done.jobs})
    exit_with(code)


def in_editor(queue: Queue, job_id: int) -> Changed:
    """Let the person edit a job as TOML, again as long as that is refused. Raises Refused if nothing comes of it."""
    job = queue.job(job_id)
    if job.state not in WAITING:
        raise IllegalMove(job, Event.EDIT)
    text, refusal = to_toml(job), None
    while True:
        try:
            after = editor.edited(text, ".toml")
            if after is None or not after.strip():
                if refusal is not None:
                    raise refusal
                info(f"job {job_id} left as it is")
                return Changed([], [])
            text = after
            return edited(queue, job, after)
        except (UsageError, Refused, NotFound) as e:
            now = queue.known([job_id]).get(job_id)
            is_as_before = now is not None and (now.spec, now.history) == (job.spec, job.history)
            if e is refusal or text == to_toml(job) or not is_as_before:
                keep(text, job)
                raise
            error(str(e), e.hint)
            text, refusal = with_problem(text, f"{e}\n{e.hint}"), e
        except JobqError:
            keep(text, job)
            raise


def keep(text: str, job: Job) -> None:
    """Keep what the person has written about a job, if that is anything, and say where."""
    if text != to_toml(job):
        info(f"what you wrote is in {editor.keep(text, '.toml')}")


def edited(queue: Queue, job: Job, text: str) -> Changed:
    """Change what differs in the text. Raises UsageError, NotFound, Refused."""
    options, command = read_toml(text, job)
    if not options and command is None:
        info(f"job {job.id} left as it is")
        return Changed([], [])
    done = queue.edit([job.id], command, job, **options)
    if done.refused:
        raise done.refused[0]
    return done
