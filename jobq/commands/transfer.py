"""jobq export, jobq import"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from jobq.commands.common import queue_of, ranges
from jobq.errors import NotSaved, UsageError
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
    try:
        count = write(file, lines)
    except OSError as e:
        raise NotSaved(file, e) from None
    info(f"{count} job{'' if count == 1 else 's'} exported to {safe(file)}, with the environments that they have")


def write(path: str, lines: Iterable[str]) -> int:
    """Write lines to a new private file that takes the place of an older one, all or nothing; return how many are jobs.

    What is no file, as a pipe or a terminal, gets them directly. Raises OSError.
    """
    target = os.path.realpath(path)
    is_file = os.path.isfile(target) or not os.path.lexists(target)
    temp = f"{target}.{os.getpid()}" if is_file else target
    count = 0
    try:
        fd = os.open(temp, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if is_file else 0), 0o600)
        with open(fd, "w", encoding="utf-8") as f:
            for line in lines:
                count += line.startswith('{"job":')
                f.write(f"{line}\n")
            f.flush()
            if is_file:
                os.fsync(fd)
                os.rename(temp, target)
    except BaseException:
        if is_file and os.path.lexists(temp):
            os.unlink(temp)
        raise
    return count


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
