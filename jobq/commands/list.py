"""jobq list"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Json, Selectors, queue_of
from jobq.commands.quick_list import STATES, Filter, print_list


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
    print_list(queue_of(context), Filter(jobs or (), state or (), queue_name or (), everything), json=json)
