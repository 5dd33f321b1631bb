"""jobq list"""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from jobq.commands.common import Json, Selectors, queue_of, tell_pauses
from jobq.errors import UsageError
from jobq.job import REACHABLE, State
from jobq.rules.order import claim_key
from jobq.views.console import info, out
from jobq.views.data import envelope, job_data
from jobq.views.table import print_jobs, reason
from jobq.views.text import safe

LAST_FINISHED = 20
STATES = ", ".join(REACHABLE)


def list_(
    context: typer.Context,
    jobs: Selectors = None,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", "-s", metavar="STATE", help=f"Only this state (may be repeated): {STATES}."),
    ] = None,
    queue_name: Annotated[
        list[str] | None, typer.Option("--queue", "-q", metavar="NAME", help="Only this queue (may be repeated).")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show every finished job.")] = False,
    json: Json = False,
) -> None:
    """Show unfinished jobs and the last 20 finished.

    With --all, it shows every finished job; with --state, every job in that state; with JOB, only these jobs.

    Examples: jobq list; jobq list -s failed; jobq list 11-110
    """
    queue = queue_of(context)
    states, queues = set(map(state_of, state or [])), set(queue_name or [])
    if jobs:
        shown = queue.jobs_of(queue.select(jobs).ids)
    else:
        finished = queue.finished() if everything or states else islice(queue.finished(), LAST_FINISHED)
        waiting = sorted(queue.jobs(), key=lambda job: (job.state is not State.RUNNING, *claim_key(job)))
        shown = sorted(finished, key=lambda job: (job.finished_at or 0.0, job.id)) + waiting
    shown = [job for job in shown if (not states or job.state in states) and (not queues or job.spec.queue in queues)]
    around = queue.situation(shown)
    tell_pauses(queue)
    if json:
        out(envelope(jobs=[job_data(job, reason(job, around)) for job in shown]))
    elif shown:
        print_jobs(shown, around)
    else:
        info("no such jobs" if queue.exists() else f"no jobs: there is no store at {safe(queue.path)} yet")


def state_of(text: str) -> State:
    """Return the state of this name. Raises UsageError if there is none."""
    try:
        return State(text)
    except ValueError:
        raise UsageError(f"--state: {text} is not a state", f"use one of {STATES}") from None
