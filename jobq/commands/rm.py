"""jobq rm"""

from __future__ import annotations

import typer

from jobq.commands.common import Selectors, queue_of
from jobq.errors import UsageError
from jobq.selection import select
from jobq.views.console import say


def rm(context: typer.Context, jobs: Selectors = None) -> None:
    """Forget jobs and delete their logs; a running job must be cancelled first."""
    queue = queue_of(context)
    if not jobs:
        raise UsageError("which jobs?", "as in: jobq rm 7, or jobq rm @succeeded")
    ids = select(queue, jobs)
    if ids:
        queue.remove(ids)
    say(f"{len(ids)} removed" if ids else "no such jobs")
