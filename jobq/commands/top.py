"""jobq top"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import typer

from jobq.api import Queue
from jobq.commands.common import queue_of, summary
from jobq.commands.quick_list import Look, jobs_to_list
from jobq.commands.status import status
from jobq.errors import Refused, UsageError
from jobq.job import Job, State
from jobq.options.selectors import Wanted
from jobq.options.values import APART
from jobq.views.console import is_terminal
from jobq.views.detail import describe
from jobq.views.logs import last_lines

MOST = 1000  # waiting jobs that are shown


def top(context: typer.Context) -> None:
    """Watch and steer all jobs on a full screen.

    Keys: / filters, s sorts, Enter opens a job, space freezes, ? lists all. Upper-case keys act on the job under the
    cursor, or on all that the filter shows: K cancels, R requeues, H holds or releases, P pauses or resumes the queue.

    Examples: jobq top
    """
    queue = queue_of(context)
    if not is_terminal():
        raise UsageError("top needs a terminal", "'jobq list' and 'jobq events -f' print lines")
    try:
        from jobq.views.top import Steering, Top  # noqa: PLC0415  # textual is an extra
    except ImportError as e:
        raise Refused(f"top needs textual: {e}", "install jobq with the extra top: pip install 'jobq[top]'") from None

    def log(job: Job, count: int) -> Sequence[str]:
        apart = job.spec.stderr == APART
        return last_lines(queue.log_path(job.id, len(job.attempts), stderr=apart), count) if job.attempts else []

    steering = Steering(
        lambda: jobs_to_list(queue, Wanted(), Look())[-MOST:],
        queue.situation,
        lambda job, around: describe(job, around, queue),
        log,
        lambda verb, jobs: act(queue, verb, jobs),
    )
    Top(steering).run()
    status(queue)


def act(queue: Queue, verb: str, jobs: Sequence[Job]) -> str:
    """Carry out what a key means for these jobs; return what was done. Raises JobqError."""
    if verb == "pause":
        return toggle_pause(queue, jobs[0].spec.queue)
    ids = [job.id for job in jobs]
    if verb == "hold":
        held = all(job.state is State.HELD for job in jobs)
        done = queue.release(ids) if held else queue.hold(ids)
    else:
        done = queue.cancel(ids) if verb == "cancel" else queue.requeue(ids)
    text = summary(Counter(str(job.state) for job in done.jobs), Counter())
    return f"{text}; {len(done.refused)} left alone" if done.refused else text


def toggle_pause(queue: Queue, name: str) -> str:
    """Pause a queue, or let it go on. Return what was done."""
    if name in queue.queues.pauses():
        queue.queues.resume(name)
        return f"queue {name} resumed"
    queue.queues.pause(name)
    return f"queue {name} paused"
