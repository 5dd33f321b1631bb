"""jobq run"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobq import clock
from jobq.commands.add import From, Words, commands_of
from jobq.commands.common import leave, queue_of, takes_asks
from jobq.errors import NotFound
from jobq.job import OURS, Job, State
from jobq.store.logs import Logs
from jobq.views.console import complain, gone, say
from jobq.views.lines import what
from jobq.views.logs import Printer, Tail, last_lines
from jobq.views.text import command_line

if TYPE_CHECKING:
    from jobq.signals import StopSignals

LAST_WORDS = 10  # lines of output that are shown of a failed job, one of many
OUTPUT_POLL = 0.02  # seconds between two looks at the output of the job


@takes_asks(retries=0)
def run(
    context: typer.Context,
    command: Words = None,
    from_: From = None,
    slots: Annotated[int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Jobs at once (with --from).")] = 1,
    *,
    asked: dict[str, Any],
) -> None:
    """Run a command through the queue, here and now: its output is on stdout, its exit code is ours.

    With --from, a job for each line: 0 if all succeed, else 1. No worker is needed, and none takes these jobs; if this
    command is killed, they end with it. ^C is TERM for them, and KILL after their grace; again: after 2 s.
    """
    from jobq.signals import StopSignals  # noqa: PLC0415  # all that runs jobs: only here and in `worker`
    from jobq.worker import Worker  # noqa: PLC0415

    queue = queue_of(context)
    commands = commands_of(command, from_, asked, "run")
    if not commands:
        say("no lines, no jobs")
        return
    single = from_ is None
    asked = {"retries": 0, **asked}
    with StopSignals() as signals:
        talk = quiet if single else Teller(queue.store.logs).tell
        work = Worker(queue.store, slots=slots, drain=True, own_jobs=True, report=talk, idle=Patience(signals).look)
        ids = queue.add_many(commands, lambda: queue.spec(**asked, runner=work.token))
        output = Output(queue.store.logs.path, ids[0], signals.ask) if single else None
        try:
            work.run(signals)
        finally:
            if output is not None:
                output.close()
    try:
        jobs = queue.jobs_of(ids)
    except NotFound as e:
        complain(f"{e} any more: it was removed while it ran")
        leave(OURS if single else 1)
        return
    if single:
        finish_single(jobs[0])
    succeeded = sum(job.state is State.SUCCEEDED for job in jobs)
    say(f"{succeeded} of {len(jobs)} succeeded")
    leave(int(succeeded < len(jobs)))


def finish_single(job: Job) -> None:
    """Exit as the job did; say why if that is not plain."""
    if job.state is not State.SUCCEEDED:
        say(f"{what(job, clock.now())}  {command_line(job.command)}")
    leave(job.exit_code)


def quiet(_job: Job) -> None:
    """A single job speaks for itself."""


class Patience:
    """Says, the first time that we are asked to stop, what happens now."""

    def __init__(self, signals: StopSignals) -> None:
        self._signals = signals
        self._told = False

    def look(self) -> None:
        """Called before each sleep of the worker."""
        if self._signals.count and not self._told and not gone():  # else it was the reader who went, as head(1) does
            self._told = True
            say("stopping; ^C again ends it now")


class Teller:
    """Says what happens to many: a line for each event but a start, and the last words of what failed."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def tell(self, job: Job) -> None:
        """Something happened to the job."""
        if job.state is State.RUNNING:
            return
        say(f"{what(job, clock.now())}  {command_line(job.command)}")
        if job.state is State.FAILED:
            for line in last_lines(self._logs.path(job.id, len(job.attempts)), LAST_WORDS):
                say(f"  {line}")


class Output:
    """Copies the log of a job to stdout while it is written, attempt after attempt."""

    def __init__(self, log_path: Callable[[int, int], str], job_id: int, nobody_reads: Callable[[], None]) -> None:
        self._log_path = log_path
        self._job_id = job_id
        self._nobody_reads = nobody_reads
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._copy, name="output", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Copy the rest, and stop."""
        self._over.set()
        self._thread.join()

    def _copy(self) -> None:
        printer = Printer(raw=True)
        n = 1
        log = Tail(self._log_path(self._job_id, n))
        while True:
            over = self._over.is_set()
            wrote = log.pump(printer)
            if gone():
                self._nobody_reads()
                return
            following = Tail(self._log_path(self._job_id, n + 1))
            if not wrote and following.exists():
                log.close()
                n, log = n + 1, following
                continue
            if over and not wrote:
                log.close()
                return
            self._over.wait(0 if wrote else OUTPUT_POLL)
