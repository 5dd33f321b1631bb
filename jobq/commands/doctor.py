"""jobq doctor"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from jobq.commands.common import exit_with, queue_of
from jobq.errors import StoreDamaged
from jobq.exit_codes import DAMAGED
from jobq.system import LINUX
from jobq.views.console import error, info, out


def doctor(
    context: typer.Context,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Drop the damaged part; keep a copy of the whole journal.")
    ] = False,
) -> None:
    """Check the store and print its state.

    The exit code is 0 if the store is healthy, and 65 if it is damaged or has a problem.

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
    for problem in found.problems:
        out(f"PROBLEM     {problem}")
    out("healthy" if not found.problems else f"{len(found.problems)} problems")
    exit_with(DAMAGED if found.problems else 0)
