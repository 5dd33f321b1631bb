"""jobq doctor"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from jobq import clock
from jobq.commands.common import exit_with, queue_of
from jobq.errors import StoreDamaged
from jobq.store import check, presence
from jobq.store.repair import repair
from jobq.system import LINUX, NETWORK_FILESYSTEMS, filesystem
from jobq.views.console import error, info, out

DAMAGED = 65


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
    store = queue_of(context).store
    try:
        found = list(check.problems(store))
    except StoreDamaged as e:
        if not accept_loss:
            raise
        error(str(e))
        loss = repair(store, clock.now().wall)
        info(f"{loss.lines} lines ({loss.bytes} bytes) were dropped; {loss.jobs} jobs remain in the journal")
        info(f"the damaged journal is kept as {loss.kept_as}")
        found = list(check.problems(store))
    out(f"store       {store.path}")
    root = store.existing()
    if store.header is None or root is None:
        out("            there is no store yet; the first 'jobq add' makes it")
        return
    size, snapshot = store.journal_size
    out(f"journal     generation {store.header.generation}, {size} bytes, {snapshot} of them snapshot")
    out(f"jobs        {len(store.state.jobs)} in the journal, next id {store.state.next_id}")
    tokens = presence.tokens(root)
    alive = [token for token in tokens if presence.is_alive(root, token)]
    out(f"workers     {len(alive)} alive, {len(tokens) - len(alive)} dead (the next worker recovers their jobs)")
    if (kind := filesystem(store.path)) in NETWORK_FILESYSTEMS:
        info(f"the store is on a network filesystem ({kind}), where locks may fail: keep it on a local disk")
    if not os.path.exists("/proc/self/stat") and LINUX:
        info("/proc can't be read: jobq does not find processes of a job that started a session of their own")
    for name in check.foreign(root):
        out(f"not ours    {name} (left alone)")
    for problem in found:
        out(f"PROBLEM     {problem}")
    out("healthy" if not found else f"{len(found)} problems")
    exit_with(DAMAGED if found else 0)
