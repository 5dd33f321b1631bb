"""jobq run"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobq import clock
from jobq.api import Queue
from jobq.commands.add import Exec, From, Shell, Words, commands_of, form_of
from jobq.commands.common import exit_with, queue_name, queue_of
from jobq.commands.options import takes_job_options
from jobq.errors import Interrupted, NotFound, OutputFailed
from jobq.exit_codes import NOT_ITS_OWN
from jobq.job import Job, State
from jobq.options.kinds import APART
from jobq.rules.serving import paused_note
from jobq.views.console import advise, error, info, job_output_to_stderr, stdout_closed, to_stderr
from jobq.views.lines import what
from jobq.views.logs import ErrorPrinter, Printer, Tail, last_lines
from jobq.views.text import command_line
from jobq.views.watch import Speaker

if TYPE_CHECKING:
    from jobq.worker.loop import Worker
    from jobq.worker.signals import StopSignals

LAST_WORDS = 10  # lines of output that are printed of a failed job, with --from
PATIENCE = 5.0  # seconds after the end of the job in which an unreadable log is tried again
OUTPUT_POLL = 0.02  # seconds between two reads of the output of the job
MOST_UNREPORTED = 1 << 20  # bytes that may be written to stdout before `mark_read` is called
HURRY_POLL = 0.1  # seconds between two checks whether to stop waiting for a slow reader
LAST_MOMENT = 5.0  # seconds that the reader gets after that


@takes_job_options(without=("hold", "wait_room", "key", "once", "unique", "key_ttl", "on_conflict"), retries=0)
def run(
    context: typer.Context,
    command: Words = None,
    from_: From = None,
    at_once: Annotated[int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Jobs at once, of several.")] = 1,
    *,
    exec_: Exec = False,
    shell: Shell = False,
    options: dict[str, Any],
) -> None:
    """Run a command through the queue, here and now.

    It prints the output of the command and exits with its exit code; of several (::: or --from), it exits with 0 if all
    succeed, else 1. No worker is needed, none takes these jobs, and they end if jobq is killed. ^C sends them TERM,
    then KILL after their grace (2 s after a second ^C); then jobq ends by the same signal.

    Examples: jobq run make test; jobq run -j 4 --from jobs.txt
    """
    from jobq.worker.signals import StopSignals  # noqa: PLC0415  # the code that runs jobs is loaded only here and in `worker`

    queue = queue_of(context)
    commands, lines = commands_of(command, from_, options, "run", is_line=form_of(exec_=exec_, shell=shell))
    if not commands:
        info("no jobs to run: there are no lines and no items")
        return
    single = not from_ and len(commands) == 1
    options = {"retries": 0, **options}
    speaker = Speaker()
    with StopSignals() as signals, speaker:
        tell = quiet if single else RunReporter(queue, speaker).tell
        notices = Notices(signals, speaker)
        work = queue.worker(
            slots=at_once, drain=True, own_jobs=True, followed=single, report=tell,
            idle=lambda: notices.look(why_held_up(work, queue_name(options), ids)),  # type: ignore[has-type]
        )  # fmt: skip
        ids = queue.enqueue(commands, lambda: queue.spec(**options, runner=work.token), lines=lines).ids
        outputs = outputs_of(queue, work, ids[0], signals, options) if single else []
        try:
            work.run(signals)
        finally:
            for output in outputs:
                output.close(in_a_hurry=lambda: signals.last > 0)
    try:
        jobs = queue.jobs_of(ids)
        code = conclude_one(jobs[0], outputs[0].failure) if single else conclude(jobs)
    except NotFound as e:
        error(f"{e} any more: it was removed while it ran")
        code = NOT_ITS_OWN if single else 1
    if signals.last:
        raise Interrupted(signals.last)
    exit_with(code)


def outputs_of(
    queue: Queue, work: Worker, job_id: int, signals: StopSignals, options: Mapping[str, Any]
) -> list[Output]:
    """Begin to copy the log of a job to stdout, and that of its stderr to stderr if it is kept apart."""
    outputs = [Output(queue.log_path, job_id, signals.ask, work.mark_read)]
    if options.get("stderr") == APART:
        path, mark_read = partial(queue.log_path, stderr=True), partial(work.mark_read, stderr=True)
        outputs.append(Output(path, job_id, signals.ask, mark_read, ErrorPrinter()))
    return outputs


def why_held_up(work: Worker, queue: str, ids: Sequence[int]) -> str:
    """Return the note that the queue is paused, if that keeps one of these jobs from starting; else ""."""
    note = paused_note(queue, work.state.pauses())
    jobs = (work.state.jobs.get(job_id) for job_id in ids if note)
    return note if any(job is not None and job.state is State.QUEUED for job in jobs) else ""


def conclude(jobs: list[Job]) -> int:
    """Print how many jobs succeeded. Return the exit code."""
    succeeded = sum(job.state is State.SUCCEEDED for job in jobs)
    info(f"{succeeded} of {len(jobs)} succeeded")
    return int(succeeded < len(jobs))


def conclude_one(job: Job, failure: OutputFailed | None) -> int:
    """Return the job's exit code, or 74 if it succeeded but its output is incomplete. Print why it is not 0."""
    if job.state is not State.SUCCEEDED:
        info(f"{what(job, clock.now())}  {command_line(job.command)}")
    if failure is not None:
        error(str(failure), f"'jobq log {job.id}' shows all its output; the job ran to its end")
    return job.exit_code or (failure.exit_code if failure else 0)


def quiet(_job: Job) -> None:
    """Report nothing: a single job prints its own output."""


class Notices:
    """Prints a line when the process is asked to stop for the first time, and when its queue is paused."""

    def __init__(self, signals: StopSignals, speaker: Speaker) -> None:
        self._signals = signals
        self._speaker = speaker
        self._told = False
        self._paused = ""

    def look(self, paused: str) -> None:
        """Print what is new; `paused`: the note about the queue. The worker calls this before each sleep."""
        if paused != self._paused:
            self._paused = paused
            if paused:
                self._speaker.add(advise, paused)
        if self._signals.last and not self._told:  # without a signal, the reader of stdout has gone, as head(1) does
            self._told = True
            self._speaker.add(to_stderr, "jobq: stopping; press ^C again to end it now")


class RunReporter:
    """Reports many jobs: a line for each event except a start, and the last lines of output of a failed job."""

    def __init__(self, queue: Queue, speaker: Speaker) -> None:
        self._queue = queue
        self._speaker = speaker

    def tell(self, job: Job) -> None:
        """Report the latest event of the job."""
        if job.state is State.RUNNING:
            return
        self._speaker.add(to_stderr, f"jobq: {what(job, clock.now())}  {command_line(job.command)}")
        if job.state is State.FAILED:
            for apart in (False, True):
                for line in last_lines(self._queue.log_path(job.id, len(job.attempts), stderr=apart), LAST_WORDS):
                    self._speaker.add(job_output_to_stderr, f"jobq:   {line}")


class Output:
    """Copies a log of a job while it is written, one attempt after the other."""

    def __init__(
        self,
        log_path: Callable[[int, int], str],
        job_id: int,
        nobody_reads: Callable[[], None],
        mark_read: Callable[[int, int, int | None], None],
        to: Printer | None = None,
    ) -> None:
        """`mark_read(job_id, n, end)`: the reader has the log of attempt `n` up to byte `end`; None: it takes no more.

        `to`: what prints it, if that is not stdout.
        """
        self.failure: OutputFailed | None = None  # the reason why the rest did not reach stdout
        self._log_path = log_path
        self._job_id = job_id
        self._n = 1  # the attempt that is being copied
        self._nobody_reads = nobody_reads
        self._has_read = mark_read
        self._printer = to or Printer(raw=True)
        self._over = threading.Event()
        self._over_at = float("inf")
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def close(self, in_a_hurry: Callable[[], bool]) -> None:
        """Copy the rest and wait for a slow reader; in a hurry, wait LAST_MOMENT seconds at most."""
        self._over_at = time.monotonic()
        self._over.set()
        while self._thread.is_alive() and not in_a_hurry():
            self._thread.join(HURRY_POLL)
        self._thread.join(LAST_MOMENT)

    def _run(self) -> None:
        try:
            self._copy()
        except OutputFailed as e:  # the job continues, as if it wrote to a file
            self.failure = e
            self._has_read(self._job_id, self._n, None)

    def _pump(self, log: Tail, printer: Printer) -> bool:
        """Print new output. Return True if there was any. Try again if the log can't be read at the moment."""
        while True:
            try:
                return log.pump(printer, MOST_UNREPORTED)
            except OSError as e:
                if self._over.is_set() and time.monotonic() >= self._over_at + PATIENCE:
                    raise OutputFailed(f"lacks the rest: {e.filename or 'the log'}: {e.strerror}") from None
            time.sleep(OUTPUT_POLL)

    def _copy(self) -> None:
        printer = self._printer
        log = Tail(self._log_path(self._job_id, self._n))
        while True:
            over = self._over.is_set()
            wrote = self._pump(log, printer)
            if wrote:
                self._has_read(self._job_id, self._n, log.at)
            if stdout_closed():
                self._nobody_reads()
                return
            following = Tail(self._log_path(self._job_id, self._n + 1))
            if not wrote and following.exists():
                log.close()
                self._n, log = self._n + 1, following
                continue
            if over and not wrote:
                log.close()
                printer.end()
                return
            self._over.wait(0 if wrote else OUTPUT_POLL)
