"""jobq export, jobq import"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from jobq.commands.common import queue_of, ranges
from jobq.commands.files import replace_file
from jobq.errors import UsageError
from jobq.job import State
from jobq.views.console import info, out_bytes
from jobq.views.text import safe


def export(
    context: typer.Context,
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="Where to; without it, stdout.")] = None,
) -> None:
    """Write all jobs and settings of the store.

    They are lines of JSON, for 'jobq import' on this or another machine. Output of jobs is not in it. The environments
    of jobs are, with their secrets: a new file is for you alone.

    Examples: jobq export jobs.jsonl; jobq export | ssh there jobq import -
    """
    lines = queue_of(context).copies.export()
    if file in {None, "-"}:
        for line in lines:
            out_bytes(f"{line}\n".encode())
        return
    count = 0

    def encoded() -> Iterator[bytes]:
        nonlocal count
        for line in lines:
            count += line.startswith('{"job":')
            yield f"{line}\n".encode()

    replace_file(file, encoded(), 0o600)
    info(f"{count} job{'' if count == 1 else 's'} exported to {safe(file)}, with the environments that they have")


def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What 'jobq export' has written; -: standard input.")],
) -> None:
    """Make a new store of an export.

    Jobs keep their ids. Those that ran wait again; without retries left, they have been interrupted.

    Examples: jobq import jobs.jsonl; jobq --store DIR import -
    """
    try:
        with sys.stdin.buffer if file == "-" else open(file, "rb") as lines:
            done = queue_of(context).copies.import_(lines)
    except (OSError, AttributeError) as e:
        raise UsageError(f"{file}: {getattr(e, 'strerror', None) or 'there is no standard input'}") from None
    jobs = f"{done.jobs} job{'' if done.jobs == 1 else 's'}"
    schedules = f"{done.schedules} schedule{'' if done.schedules == 1 else 's'}"
    info(f"{jobs} and {schedules} imported")
    info("note: the store that they come from has them, too: only one of both should have a worker")
    again = sorted(job.id for job in done.ran if job.state is State.QUEUED)
    others = sorted(job.id for job in done.ran if job.state is not State.QUEUED)
    if again:
        info(f"they ran then, and wait again: {', '.join(ranges(again))}")
    if others:
        info(f"they ran then, and may not run again: {', '.join(ranges(others))}")
