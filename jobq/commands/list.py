"""jobq list"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Json, queue_of
from jobq.commands.quick_list import print_list
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted


@selects_jobs
def list_(
    context: typer.Context,
    jobs: Wanted,
    *,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show every finished job.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Show each job below a job that it is after.")] = False,
    json: Json = False,
) -> None:
    """Show unfinished jobs and the last 20 finished.

    With --all, it shows every finished job; with JOB, only these jobs; the other options narrow that, and then no
    finished job is left out.

    Examples: jobq list; jobq list -s failed --since today; jobq list 11-110
    """
    print_list(queue_of(context), jobs, everything=everything, json=json, tree=tree)
