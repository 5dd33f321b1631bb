"""jobq clean"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq import clock
from jobq.commands.common import queue_of, ranges
from jobq.commands.options import value_of
from jobq.durations import duration
from jobq.errors import UsageError
from jobq.job import Job
from jobq.options.values import WholeNumber
from jobq.views.console import info
from jobq.views.text import size

NUMBER = WholeNumber(0, 1_000_000_000, "a whole number from 0")
NAMED = 20  # ranges that a line shows


def clean(
    context: typer.Context,
    *,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="Only what ended so long ago, as in 12h or 3d.")
    ] = None,
    keep: Annotated[str | None, typer.Option("--keep", metavar="N", help="Not the last N that have ended.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove finished jobs and their logs.

    A failure that nobody has dealt with stays: 'jobq ack' or 'jobq requeue' first. Workers remove finished jobs by
    themselves, after 7 days: see keep in 'jobq config'.

    Examples: jobq clean --older-than 1d; jobq clean --keep 1000 --dry-run
    """
    if older_than is None and keep is None:
        raise UsageError("nothing says what to keep", "give --older-than 1d, or --keep 1000")
    queue = queue_of(context)
    before = clock.now().wall - (0.0 if older_than is None else value_of("--older-than", duration, older_than))
    first = 0 if keep is None else value_of("--keep", NUMBER.parse, keep)
    old = [job for n, job in enumerate(queue.finished()) if n >= first and (job.finished_at or 0.0) <= before]
    gone = sorted((job for job in old if not job.is_open_failure), key=lambda job: job.id)
    left = len(old) - len(gone)
    if gone and not dry_run:
        gone = queue.remove([job.id for job in gone], only_old=True).jobs
    words = "would be removed" if dry_run else "removed"
    info(f"{len(gone)} job{'' if len(gone) == 1 else 's'} {words}, with {size(sum(map(output_of, gone)))} of output")
    if dry_run and gone:
        shown = list(ranges([job.id for job in gone]))
        info(", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED} more ranges" if len(shown) > NAMED else ""))
    if left:
        info(f"{left} left alone: failed, and nobody has dealt with {'it' if left == 1 else 'them'}; see 'jobq ack'")


def output_of(job: Job) -> int:
    """Return the bytes of output that are kept of a job."""
    endings = (attempt.ending for attempt in job.attempts if attempt.ending is not None)
    return sum(ending.log_bytes - ending.log_dropped for ending in endings)
