"""jobq doctor"""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Annotated

import typer

from jobq.api import Queue
from jobq.commands.common import exit_with, queue_of
from jobq.environ import variables_named
from jobq.errors import StoreDamaged, UsageError
from jobq.exit_codes import DAMAGED
from jobq.job import State
from jobq.rules.serving import paused_note, unserved_note
from jobq.settings.keys import ROWS
from jobq.settings.levels import levels
from jobq.store.usage import room
from jobq.system import LINUX
from jobq.views.console import error, info, out
from jobq.views.text import size

LITTLE = 200 << 20  # bytes


def doctor(
    context: typer.Context,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Drop the damaged part; keep a copy of the whole journal.")
    ] = False,
) -> None:
    """Check the store and print its state.

    The exit code is 0 if all is healthy, 65 if the store is damaged or has a problem, 1 if only the settings are wrong.

    Examples: jobq doctor; jobq doctor --accept-loss
    """
    queue = queue_of(context)
    try:
        found = queue.health()
    except StoreDamaged as e:
        if not accept_loss:
            raise
        error(str(e))
        loss = queue.repair()
        info(f"{loss.lines} lines ({loss.bytes} bytes) were dropped; {loss.jobs} jobs remain in the journal")
        info(f"the damaged journal is kept as {loss.kept_as}")
        found = queue.health()
    out(f"store       {queue.path}")
    if found.header is None:
        out("            there is no store yet; the first 'jobq add' makes it")
        return
    size = f"{found.journal_size} bytes, {found.snapshot_size} of them snapshot"
    out(f"journal     generation {found.header.generation}, {size}")
    out(f"jobs        {found.jobs} in the journal, next id {found.next_id}")
    dead = f", {found.dead} dead (the next worker recovers their jobs)" if found.dead else ""
    out(f"workers     {found.alive} alive{dead}")
    if found.network:
        info(f"the store is on a network filesystem ({found.network}), where locks may fail: keep it on a local disk")
    if not os.path.exists("/proc/self/stat") and LINUX:
        info("/proc can't be read: jobq does not find processes of a job that started a session of their own")
    for name in found.foreign:
        out(f"not ours    {name} (left alone)")
    for note in notes(queue):
        out(f"note        {note}")
    wrong = wrong_settings()
    problems = [*found.problems, *wrong]
    for problem in problems:
        out(f"PROBLEM     {problem}")
    out("healthy" if not problems else f"{len(problems)} problem{'' if len(problems) == 1 else 's'}")
    exit_with(DAMAGED if found.problems else int(bool(wrong)))


def notes(queue: Queue) -> Iterator[str]:
    """Yield what is no damage, and worth a look: a full disk, schedules in trouble, jobs that no worker takes."""
    free = room(queue.path)
    if not os.access(queue.path, os.W_OK):
        yield "the store can't be written to, as on a disk that is read-only: jobs can be looked at, and no more"
    if free < LITTLE:
        yield f"only {size(free)} are left on the disk: 'jobq du' shows what takes room, 'jobq clean' makes some"
    known = {row.variable for row in ROWS}
    for name in variables_named("JOBQ_"):
        if name not in known and (near := get_close_matches(name, known, 1, 0.85)):
            yield f"the variable {name} is no setting; did you mean {near[0]}?"
    for schedule in queue.schedules.all():
        if schedule.trouble:
            yield f"schedule {schedule.name} is in trouble: {schedule.trouble}"
    names = {job.spec.queue for job in queue.jobs() if job.state is State.QUEUED and job.runner is None}
    workers, pauses = queue.workers.all(), queue.queues.pauses()
    for name in sorted(names):
        yield from filter(None, (paused_note(name, pauses), unserved_note(name, workers)))


def wrong_settings() -> list[str]:
    """Return what is wrong in the settings, and what to do about it."""
    try:
        levels()
    except UsageError as e:
        return [f"{e} ({e.hint})" if e.hint else str(e)]
    return []
