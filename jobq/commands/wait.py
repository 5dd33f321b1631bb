"""jobq wait"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobq import clock
from jobq.api import Queue
from jobq.commands.common import Json, exit_with, queue_of
from jobq.commands.notes import warn_unserved
from jobq.commands.options import value_of
from jobq.commands.selecting import selects_jobs
from jobq.durations import duration
from jobq.errors import NotFound
from jobq.exit_codes import NOT_ITS_OWN
from jobq.job import Job, State
from jobq.options.selectors import Wanted, select_one
from jobq.rules import retry
from jobq.views.console import advise, error, info, out
from jobq.views.data import job_data
from jobq.views.envelope import envelope
from jobq.views.lines import why_ended
from jobq.views.text import clock_time, command_line
from jobq.views.wait_line import WaitLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FAR = 60.0  # seconds until a job may start that are worth a note


@selects_jobs
def wait(
    context: typer.Context,
    jobs: Wanted,
    *,
    timeout: Annotated[str | None, typer.Option("--timeout", "-t", metavar="TIME", help="Give up after this.")] = None,
    any_: Annotated[
        bool, typer.Option("--any", help="Wait for the first, print its id, and exit with its code.")
    ] = False,
    json: Json = False,
) -> None:
    """Wait until jobs are finished.

    Without JOB, it waits for all unfinished jobs. The exit code of one job is its own (125: cancelled, or no such job);
    of several jobs, it is 0 if all succeeded, else 1. If the time of --timeout is over, it is 124.

    Examples: jobq wait 7; jobq wait -t 10m 11-110; jobq wait --any 7 8 9
    """
    queue = queue_of(context)
    one = any_ or select_one(jobs.words)
    try:
        ids = queue.select(jobs).ids if jobs else [job.id for job in queue.jobs()]
    except NotFound as e:
        error(str(e), e.hint)
        exit_with(NOT_ITS_OWN if one else 1)
        return
    if not jobs and not ids:
        failures, _ = queue.open_failures(0)
        info(f"nothing is unfinished{f'; {failures} failed: jobq list -s failed' if failures else ''}")
    limit = None if timeout is None else value_of("--timeout", duration, timeout)
    notes = Notes(queue, ids)
    try:
        finished = queue.wait_all(ids, limit, enough=1 if any_ else len(ids), meanwhile=notes.tell)
    except NotFound as e:
        notes.line.clear()
        error(f"{e} any more: it was removed while jobq waited for it")
        exit_with(NOT_ITS_OWN if one else 1)
        return
    finally:
        notes.line.clear()
    if any_ and not finished:
        info("no such jobs")
    elif any_:
        finished = [min(finished, key=lambda job: (job.finished_at or 0.0, job.id))]
    if json:
        out(envelope(jobs=[job_data(job) for job in finished]))
    elif any_ and finished:
        out(str(finished[0].id))
    failed = [job for job in finished if job.state is not State.SUCCEEDED]
    for job in failed:
        why = f": {why_ended(job)}" if job.state is State.FAILED and job.ending else ""
        info(f"job {job.id} {job.state}{why}  {command_line(job.command)}")
    exit_with(finished[0].exit_code if one and finished else int(bool(failed)))


class Notes:
    """Prints why jobs are not going to end soon, each reason once, and one line about how far they are."""

    def __init__(self, queue: Queue, ids: Sequence[int]) -> None:
        self.line = WaitLine(queue)
        self._queue = queue
        self._ids = ids
        self._told: set[str] = set()

    def tell(self, open_ids: list[int]) -> None:
        """Print what is new. The wait calls this about once a second."""
        known = self._queue.known(self._ids)
        unfinished = [known[job_id] for job_id in open_ids if job_id in known]
        waiting = [job for job in unfinished if job.state is State.QUEUED and job.runner is None]
        notes = set(self._reasons(unfinished, waiting))
        if new := sorted(notes - self._told):
            self.line.clear()
            for note in new:
                advise(note)
        self._told = warn_unserved(self._queue, {job.spec.queue for job in waiting}, self._told) | notes
        self.line.show(len(self._ids), unfinished, sum(job.state is State.FAILED for job in known.values()))

    def _reasons(self, unfinished: Sequence[Job], waiting: Sequence[Job]) -> Iterator[str]:
        for job in unfinished:
            if job.state is State.HELD:
                yield f"job {job.id} is held; 'jobq release {job.id}' lets it start"
        now = clock.now()
        around = self._queue.situation(waiting)
        for _, parents in around.parents.values():
            for parent in parents:
                if parent.state is State.HELD:
                    yield f"job {parent.id} is held, and others wait for it; 'jobq release {parent.id}' lets it start"
        for job in waiting:
            due = job.not_before
            if due is not None and job.due is None and retry.wait(job, now) > FAR:
                yield f"job {job.id} does not start before {clock_time(due.wall)}"
