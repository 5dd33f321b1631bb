"""jobq without a command: how things are"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from jobq.api import Queue
from jobq.claim import claim_key
from jobq.commands.common import situation, warn_unserved
from jobq.job import State
from jobq.serving import LiveWorker
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
    shown = failed[::-1] + running + waiting[:SHOWN]
    around = situation(queue, shown)
    out(f"{len(at_work(running))} running, {len(waiting)} waiting, {alive(around.workers)}")
    if shown:
        print_jobs(shown, around)
    if len(waiting) > SHOWN:
        out(f"... and {len(waiting) - SHOWN} more waiting")
    if failed:
        advise("'jobq log ID' shows what a failed job said, 'jobq requeue ID' gives it another turn")
    elif not jobs:
        advise("'jobq add COMMAND' adds a job, 'jobq worker' runs them; 'jobq --help' has the rest")
    elif not around.workers:
        advise("'jobq worker' starts one")
    if around.workers:  # what is not among the rows above may wait for nobody, too
        warn_unserved(queue, {job.spec.queue for job in waiting if job.state is State.QUEUED and job.runner is None})


def alive(workers: Sequence[LiveWorker]) -> str:
    """How many workers there are, and how many of them will be gone soon."""
    if not workers:
        return "no worker is running"
    stopping = sum(worker.stopping for worker in workers)
    text = f"{len(workers)} worker{'' if len(workers) == 1 else 's'} alive"
    return text + (f" ({stopping} stopping)" if stopping else "")
