"""jobq rm"""

from __future__ import annotations

import typer

from jobq.commands.common import Selectors, chosen, queue_of
from jobq.views.console import say


def rm(context: typer.Context, jobs: Selectors = None) -> None:
    """Forget jobs and delete their logs; a running job must be cancelled first."""
    queue = queue_of(context)
    ids = chosen(queue, jobs, "'jobq rm 7', or 'jobq rm @succeeded'")
    if ids:
        queue.remove(ids)
        say(f"{len(ids)} removed")
