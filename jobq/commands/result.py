"""jobq result"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobq.commands.common import queue_of
from jobq.errors import UsageError
from jobq.options.selectors import Wanted
from jobq.views.console import out


def result(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="An id, a name, or @ for the last added.")] = "@",
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is finished.")] = False,
) -> None:
    """Print what the function of a job returned, as JSON.

    It fails if the job is not finished, has failed, or is a command.

    Examples: jobq result 7; jobq result 7 --wait | jq .total
    """
    queue = queue_of(context)
    ids = queue.select(Wanted([job])).ids
    if len(ids) != 1:
        raise UsageError(f"{job} selects {len(ids)} jobs", "name one job")
    if wait:
        queue.wait(ids[0])
    out(json.dumps(queue.result(ids[0]), ensure_ascii=True))
