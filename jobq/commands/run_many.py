"""`jobq run` with several jobs: a live view or lines, an early stop, and what it leaves for a CI system."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobq import clock
from jobq.api import Queue
from jobq.commands.common import queue_name, ranges
from jobq.commands.files import append_to_file, replace_file
from jobq.errors import NotSaved, UsageError
from jobq.job import Job, State
from jobq.rules.halt import Halt
from jobq.rules.hooks import is_hook
from jobq.rules.reasons import Situation
from jobq.rules.serving import paused_note
from jobq.typed import NamedTuple
from jobq.views import ci
from jobq.views.console import error, for_our_store, info, out, stderr
from jobq.views.data import job_data
from jobq.views.envelope import envelope
from jobq.views.logs import plain_lines
from jobq.views.masking import masked_data
from jobq.views.run_lines import RunLines
from jobq.views.run_output import MODES, PRINTED, RunOutput
from jobq.views.table import reason
from jobq.views.terminal import is_live
from jobq.views.watch import Screen

if TYPE_CHECKING:
    from jobq.command import Command
    from jobq.worker.loop import Worker

LINES_OF_A_REPORT = 200  # of output of each attempt


class Many(NamedTuple):
    """The ways in which several jobs are run and shown."""

    at_once: int
    halt: Halt | None
    mode: str | None  # of --output; None: the usual one
    in_order: bool
    kept: bool  # the store is there afterwards
    json: bool
    junit: str | None  # the file of a report


def check_mode(mode: str | None) -> str | None:
    """Return the mode. Raises UsageError if there is no such one."""
    if mode is not None and mode not in MODES:
        raise UsageError(f"--output: {mode!r:.60} is not possible", f"use one of {', '.join(MODES)}")
    return mode


def usual_mode(many: Many) -> str:
    """Return what is printed of the output if nobody says: in a CI system, and of logs that are not kept, all of it."""
    if many.json:
        return "none"
    if many.in_order:
        return "group"
    if not isinstance(ci.system(), ci.Plain):
        return "group"
    return "tail" if many.kept else "failed"


def run_many(
    queue: Queue,
    commands: Sequence[Command],
    lines: Sequence[int],
    options: Mapping[str, Any],
    many: Many,
) -> tuple[int, int]:
    """Run these jobs. Return the exit code, and the number of the signal that ended it, 0 for none."""
    from jobq.worker.signals import StopSignals  # noqa: PLC0415  # the code that runs jobs is loaded only here and in `worker`

    since = clock.now()
    mode = many.mode or usual_mode(many)
    if many.in_order and mode not in PRINTED:
        raise UsageError(f"--keep-order means nothing with --output {mode}", "use --output group or failed")
    with StopSignals() as signals:
        output = RunOutput(
            queue, mode, in_order=many.in_order, nobody_reads=signals.ask, in_a_hurry=lambda: signals.last > 0
        )
        live = mode == "tail" and is_live(stderr)
        view = (
            Screen(queue, 2, own_jobs=True, kept=many.kept) if live else RunLines(queue, mode, output, kept=many.kept)
        )
        with view:
            halting = Halting(queue, many.halt, len(commands), view)
            pause = PauseNote(queue_name(options), lambda note: view.remark(for_our_store(note)))

            def idle() -> float | None:
                halting.look()
                waits_for = output.waits_for
                if waits_for is not None and has_ended_unseen(work, waits_for, halting.over):
                    output.pass_over(waits_for)
                pause.look(work, halting.ids)
                return view.refresh(work, stops=signals.count)

            enough = None if many.halt is None else halting.enough
            work = queue.worker(
                slots=many.at_once, drain=True, own_jobs=True, report=halting.report, idle=idle, enough=enough
            )
            ids = queue.enqueue(commands, lambda: queue.spec(**options, runner=work.token), lines=lines).ids
            view.begin(work, ids[0], len(ids))
            halting.ids = ids
            work.run(signals)
            known = queue.known(ids)
            for job in known.values():
                if job.id not in halting.over:
                    view.settle(job)
    jobs = list(known.values())
    if len(jobs) < len(ids):
        error(f"{len(ids) - len(jobs)} of the jobs were removed while they ran")
    leave_reports(queue, jobs, clock.now().boot - since.boot, many.junit)
    if many.json:
        around = Situation(clock.now())
        out(envelope(jobs=[masked_data(job_data(job, reason(job, around))) for job in jobs]))
    if output.failure is not None:
        error(str(output.failure), "the jobs ran to their end, and their logs are whole")
        return output.failure.exit_code, signals.last
    if len(jobs) == len(ids) == 1 and not lines:  # of a file, there may be more the next time
        return jobs[0].exit_code, signals.last
    return int(len(jobs) < len(ids) or any(job.state is not State.SUCCEEDED for job in jobs)), signals.last


def has_ended_unseen(work: Worker, job_id: int, over: Collection[int]) -> bool:
    """Return True if the job has ended, and the worker has not told so: somebody else cancelled it."""
    job = work.state.jobs.get(job_id)
    return job_id not in over and (job is None or job.state.final)


def leave_reports(queue: Queue, jobs: Sequence[Job], seconds: float, junit: str | None) -> None:
    """Write the JUnit report that was asked for, and the summary that the CI system shows."""
    if junit is not None:
        write_junit(queue, jobs, seconds, junit)
    path, text = ci.system().summary(jobs)
    if path:
        try:
            append_to_file(path, text)
        except NotSaved as e:
            info(f"note: the summary was not written: {e}")


def write_junit(queue: Queue, jobs: Sequence[Job], seconds: float, path: str) -> None:
    """Write the report. Raises NotSaved."""
    from jobq.views.junit import junit  # noqa: PLC0415  # xml

    def output(job: Job, n: int) -> str:
        return "\n".join(plain_lines(queue.log_path(job.id, n), LINES_OF_A_REPORT))

    replace_file(path, [junit(jobs, seconds, output)])


class PauseNote:
    """Prints once that the queue is paused, if that keeps a job from starting."""

    def __init__(self, queue: str, say: Callable[[str], None]) -> None:
        self._queue = queue
        self._say = say
        self._told = ""

    def look(self, work: Worker, ids: Sequence[int]) -> None:
        """Print the note if it is new. The worker calls this before each sleep."""
        note = paused_note(self._queue, work.state.pauses())
        jobs = (work.state.jobs.get(job_id) for job_id in ids if note)
        if not any(job is not None and job.state is State.QUEUED for job in jobs):
            note = ""
        if note != self._told and note:
            self._say(note)
        self._told = note


class Halting:
    """Stops early if too many jobs fail: it cancels those that wait, retries too, and if asked those that run."""

    def __init__(self, queue: Queue, halt: Halt | None, total: int, view: Screen | RunLines) -> None:
        self.ids: Sequence[int] = ()
        self.over: set[int] = set()  # jobs that were reported as finished
        self._queue = queue
        self._halt = halt
        self._total = total
        self._view = view
        self._failed: set[int] = set()
        self._reached = False
        self._due = False  # something may wait, or run, that has to be cancelled

    def report(self, job: Job) -> None:
        """Pass on the latest event of the job, and count failures."""
        self._view.report(job)
        if job.state.final:
            self.over.add(job.id)
        if job.state is State.FAILED and not is_hook(job):
            self._failed.add(job.id)
        if not self._reached and self.enough([]):
            self._reached = True
            self._view.remark(f"stopping: {len(self._failed)} of {self._total} jobs failed")
        self._due = self._reached

    def enough(self, ended: Iterable[Job]) -> bool:
        """Return True if too many jobs have failed, with those that have ended just now."""
        failed = self._failed | {job.id for job in ended if job.state is State.FAILED and not is_hook(job)}
        return self._halt is not None and self._halt.is_reached(len(failed), self._total)

    def look(self) -> None:
        """Cancel what has to be. The worker calls this before each sleep."""
        if not self._due or self._halt is None:
            return
        self._due = False
        unfinished = [job for job in self._queue.known(self.ids).values() if not job.state.final]
        running = [job for job in unfinished if job.state is State.RUNNING and job.cancel_asked_at is None]
        waiting = [job.id for job in unfinished if job.state is not State.RUNNING]
        ending = [job.id for job in running] if self._halt.now else []
        if waiting or ending:
            over = [job for job in self._queue.cancel([*waiting, *ending]).jobs if job.state.final]
            for job in over:
                self._view.settle(job)
            self.over |= {job.id for job in over}
            if over:
                self._view.remark(f"cancelled: {', '.join(ranges(sorted(job.id for job in over)))}")
