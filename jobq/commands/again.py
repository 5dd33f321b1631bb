"""jobq again"""

from __future__ import annotations

from typing import Any

import typer

from jobq.commands.common import Json, Selectors, acknowledge_all, queue_of, resolve
from jobq.commands.options import takes_job_options
from jobq.options.selectors import Wanted


@takes_job_options(only_given=True, without=("key", "once", "unique", "key_ttl", "on_conflict"))
def again(context: typer.Context, jobs: Selectors = None, *, json: Json = False, options: dict[str, Any]) -> None:
    """Run finished jobs once more, as new jobs.

    They ask for all that the old ones did. Options change that; "none" takes one back. A new job has the environment
    and the directory of the old one, and no key: that would stand in its way.

    Examples: jobq again 7; jobq again @succeeded --priority low
    """
    queue = queue_of(context)
    selected = resolve(queue, Wanted(jobs or ()), "'jobq again 7'")
    if selected.ids:
        acknowledge_all(queue, queue.again(selected.ids, **options), options, json=json)
