"""jobq without a command: how things are"""

from __future__ import annotations

from itertools import islice

from jobq.api import Queue
from jobq.claim import claim_key
from jobq.commands.common import situation
from jobq.job import State
from jobq.views.console import advise, out
from jobq.views.table import at_work, print_jobs

SHOWN = 10
RECENT = 100  # finished jobs that are looked at for the last failures


def status(queue: Queue) -> None:
    """What runs, what waits and why, what failed last, and whether a worker is alive."""
    jobs = queue.jobs()
    running = [job for job in jobs if job.state is State.RUNNING]
    waiting = sorted((job for job in jobs if job.state is not State.RUNNING), key=claim_key)
    failed = [job for job in islice(queue.finished(), RECENT) if job.state is State.FAILED][:5]
    workers = queue.workers()
    alive = f"{len(workers)} worker{'' if len(workers) == 1 else 's'} alive" if workers else "no worker is running"
    out(f"{len(at_work(running))} running, {len(waiting)} waiting, {alive}")
    shown = failed[::-1] + running + waiting[:SHOWN]
    if shown:
        print_jobs(shown, situation(queue))
    if len(waiting) > SHOWN:
        out(f"... and {len(waiting) - SHOWN} more waiting")
    if failed:
        advise("'jobq log ID' shows what a failed job said, 'jobq requeue ID' gives it another turn")
    elif not jobs:
        advise("'jobq add COMMAND' adds a job, 'jobq worker' runs them; 'jobq --help' has the rest")
    elif not workers:
        advise("'jobq worker' starts one")
