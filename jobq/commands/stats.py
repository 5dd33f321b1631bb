"""jobq stats"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Json, queue_of
from jobq.commands.quick_list import Look, jobs_to_list
from jobq.commands.selecting import selects_jobs
from jobq.options.selectors import Wanted
from jobq.rules.statistics import by_command, by_queue
from jobq.views.aligned import fitted
from jobq.views.console import info, out, stdout
from jobq.views.envelope import envelope
from jobq.views.statistics import group_data, rows, totals
from jobq.views.terminal import size_of

MOST = 20  # commands
SPARE = (5, 4, 10, 7, 9, 8)  # columns that a narrow terminal may lack: retries, other, 90th percentiles, ...


@selects_jobs
def stats(
    context: typer.Context,
    jobs: Wanted,
    *,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show every command.")] = False,
    json: Json = False,
) -> None:
    """Show how many jobs succeeded, and their times.

    By queue and by command (its name, else its first two words): the time that jobs ran, and waited for their first
    start: the 50th and 90th percentile, and the longest.

    Examples: jobq stats; jobq stats --since 1d; jobq stats --queue gpu --json
    """
    chosen = jobs_to_list(queue_of(context), jobs, Look(everything=True))
    queues, commands = by_queue(chosen), by_command(chosen)
    if json:
        out(envelope(queues=[group_data(one) for one in queues], commands=[group_data(one) for one in commands]))
        return
    if not chosen:
        info("no such jobs")
        return
    shown = commands if everything else commands[:MOST]
    columns = size_of(stdout.fileno())[0] if stdout.isatty() else None
    out(totals(chosen), "", *fitted(rows("QUEUE", queues), range(1, 11), columns, SPARE), "")
    out(*fitted(rows("COMMAND", shown), range(1, 11), columns, SPARE))
    if len(commands) > len(shown):
        out(f"... and {len(commands) - len(shown)} more commands: --all shows them")
