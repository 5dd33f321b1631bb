"""jobq edit"""

from __future__ import annotations

from typing import Any

import typer

from jobq.api import Queue
from jobq.changes import Changed
from jobq.commands import editor
from jobq.commands.common import Selectors, Verbose, exit_with, queue_of, report, resolve
from jobq.commands.notes import warn_unserved
from jobq.commands.options import takes_job_options
from jobq.errors import NotFound, Refused, UsageError
from jobq.options.job_file import read_toml, to_toml, with_problem
from jobq.options.selectors import Wanted
from jobq.rules.dependencies import WAITING
from jobq.rules.lifecycle import Event, IllegalMove
from jobq.views.console import error, info


@takes_job_options(only_given=True)
def edit(context: typer.Context, jobs: Selectors = None, verbose: Verbose = False, *, options: dict[str, Any]) -> None:
    """Change the options of waiting jobs.

    Options that are not given stay as they are; "none" takes one back (--timeout none). Without options, one job opens
    in your editor, with its command. A running job is not changed; requeue it after an end, then edit it.

    Examples: jobq edit 7 --priority high; jobq edit 11-110 -q night -t 10m; jobq edit 7
    """
    queue = queue_of(context)
    selected = resolve(queue, Wanted(jobs or ()), "'jobq edit 7 --priority high'")
    if not options and (len(selected.ids) > 1 or not editor.is_possible()):
        raise UsageError("no option is given", "give the options to change, as in: 'jobq edit 7 --priority high'")
    if not selected.ids:
        return
    done = queue.edit(selected.ids, **options) if options else in_editor(queue, selected.ids[0])
    if done is None:
        info(f"job {selected.ids[0]} left as it is")
        return
    code = report(done, selected, lambda _: "edited", lambda job: f"job {job.id} edited", verbose=verbose)
    warn_unserved(queue, {job.spec.queue for job in done.jobs})
    exit_with(code)


def in_editor(queue: Queue, job_id: int) -> Changed | None:
    """Let the person edit a job as TOML, again as long as that is refused; None: it was left as it was."""
    job = queue.job(job_id)
    if job.state not in WAITING:
        raise IllegalMove(job, Event.EDIT)
    text = to_toml(job)
    while True:
        after = editor.edited(text, ".toml")
        if after is None or not after.strip():
            return None
        try:
            options, command = read_toml(after, job)
            if not options and command is None:
                return None
            return queue.edit([job_id], command, **options)
        except (UsageError, Refused, NotFound) as e:
            error(str(e), e.hint)
            text = with_problem(after, f"{e}\n{e.hint}" if e.hint else str(e))
