"""jobq list"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Json, queue_of
from jobq.commands.quick_list import Look, print_list
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted


@selects_jobs
def list_(
    context: typer.Context,
    jobs: Wanted,
    *,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show every finished job.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Show each job below a job that it is after.")] = False,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="KEY", help="Order by id, time, state, queue ...; -time: longest first."),
    ] = None,
    most: Annotated[int | None, typer.Option("--last", "-n", metavar="N", min=0, help="Show only the last N.")] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="NAMES", help="Show these columns, with commas between.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="TEXT", help="Print this for each job: '{id} {state}'.")
    ] = None,
    json: Json = False,
) -> None:
    """Show unfinished jobs and the last 20 finished.

    With --all, it shows every finished job; with JOB, only these jobs; the other options narrow that, and then no
    finished job is left out.

    Examples: jobq list; jobq list -s failed --since today; jobq list --sort -time -n 10
    """
    print_list(queue_of(context), jobs, Look(everything, tree, json, sort, most, columns, format_))
