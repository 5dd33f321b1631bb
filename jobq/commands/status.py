"""jobq without a command: a summary of the queue."""

from __future__ import annotations

from collections.abc import Sequence

from jobq.commands.notes import advise_unserved, tell_pauses
from jobq.job import State
from jobq.looking import Looking
from jobq.rules.ranks import at_work, claim_key
from jobq.rules.serving import LiveWorker
from jobq.views.console import advise, out
from jobq.views.table import print_jobs

SHOWN = 10
LAST_FAILED = 5


def status(queue: Looking) -> None:
    """Print the running jobs, the waiting jobs and why they wait, the open failures, and the live workers."""
    jobs = queue.jobs()
    running = [job for job in jobs if job.state is State.RUNNING]
    waiting = sorted((job for job in jobs if job.state is not State.RUNNING), key=claim_key)
    failures, failed = queue.open_failures(LAST_FAILED)
    shown = failed[::-1] + running + waiting[:SHOWN]
    around = queue.situation(shown)
    failures_text = f"{failures} failed, " if failures else ""
    out(f"{len(at_work(running))} running, {len(waiting)} waiting, {failures_text}{alive(around.workers)}")
    told = tell_pauses(around.pauses)
    if shown:
        print_jobs(shown, around)
    if len(waiting) > SHOWN:
        out(f"... and {len(waiting) - SHOWN} more waiting")
    if failures > len(failed):
        out(f"... and {failures - len(failed)} more failed")
    if failures:
        advise("'jobq log ID' shows the output, 'jobq requeue ID' runs the job again, 'jobq ack ID' acknowledges it")
    elif not jobs:
        advise("'jobq add COMMAND' adds a job, 'jobq worker' runs the jobs; 'jobq --help' lists all commands")
    elif not around.workers:
        advise("'jobq worker' starts one")
    if around.workers:  # a waiting job below the rows above may have no worker either
        names = {job.spec.queue for job in waiting if job.state is State.QUEUED and job.runner is None}
        advise_unserved(names, around.workers, around.pauses, told)


def alive(workers: Sequence[LiveWorker]) -> str:
    """Return the number of live workers in words, and how many of them are stopping."""
    if not workers:
        return "no worker is running"
    counts = {
        "stopping": sum(worker.stopping for worker in workers),
        "suspended": sum(worker.suspended for worker in workers),
    }
    notes = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{len(workers)} worker{'' if len(workers) == 1 else 's'} alive" + (f" ({notes})" if notes else "")
