"""jobq run"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobq import clock
from jobq.api import Queue
from jobq.calls import options_of
from jobq.commands.add import Exec, From, Shell, Words, commands_of, form_of
from jobq.commands.call import NoCheck, Python, called
from jobq.commands.common import Json, exit_with, queue_name, queue_of
from jobq.commands.files import check_place
from jobq.commands.options import takes_job_options
from jobq.commands.run_many import Many, PauseNote, check_mode, leave_reports, run_many, write_junit
from jobq.environ import environment
from jobq.errors import Interrupted, NotFound, OutputFailed, UsageError
from jobq.exit_codes import NOT_ITS_OWN
from jobq.job import Job, State
from jobq.options.values import APART
from jobq.rules.halt import parse_halt
from jobq.store.making import temporary
from jobq.views import ci
from jobq.views.console import advise, error, info, stdout, to_stderr
from jobq.views.lines import what
from jobq.views.logs import ErrorPrinter, last_line
from jobq.views.masking import hide, secrets_of
from jobq.views.passthrough import PassThrough
from jobq.views.run_output import is_one_place
from jobq.views.terminal import size_of
from jobq.views.text import command_line
from jobq.views.watch import Speaker

if TYPE_CHECKING:
    from jobq.command import Command
    from jobq.engine import Runner
    from jobq.worker.loop import Worker
    from jobq.worker.signals import StopSignals


@takes_job_options(without=("hold", "wait_room", "key", "once", "unique", "key_ttl", "on_conflict"), retries=0)
def run(
    context: typer.Context,
    command: Words = None,
    from_: From = None,
    at_once: Annotated[int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Jobs at once, of several.")] = 1,
    *,
    exec_: Exec = False,
    shell: Shell = False,
    call: Annotated[bool, typer.Option("--call", help="Call a function: the words are those of 'jobq call'.")] = False,
    no_check: NoCheck = False,
    python: Python = None,
    halt: Annotated[
        str, typer.Option("--halt", metavar="WHEN", help="Stop early: soon,fail=1, now,fail=3, soon,fail=10%.")
    ] = "never",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="MODE",
            help="Of several jobs: group, stream, failed (whole logs), tail (last lines of failures), none.",
        ),
    ] = None,
    keep_order: Annotated[
        bool, typer.Option("--keep-order", "-k", help="Print groups in the order of the jobs.")
    ] = False,
    junit: Annotated[str | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit report.")] = None,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Use a new store, and remove it at the end.")] = False,
    mask: Annotated[
        list[str] | None, typer.Option("--mask", metavar="NAME", help="Hide the value of this variable in all output.")
    ] = None,
    json: Json = False,
    options: dict[str, Any],
) -> None:
    """Run a command through the queue, here and now.

    The command has jobq's own outputs, and its input unless that is a terminal; jobq exits with its exit code; of
    several (::: or --from), with 0 if all succeed, else 1. No worker is needed, none takes these jobs, and they end if
    jobq is killed. ^C sends them TERM, then KILL after their grace (2 s after a second ^C); then jobq ends by the same
    signal.

    Examples: jobq run make test; jobq run -j 4 --from jobs.txt --halt soon,fail=1 --junit report.xml
    """
    if junit is not None:
        check_place("--junit", junit)
    many = Many(
        at_once=at_once, halt=parse_halt(halt), mode=check_mode(output), in_order=keep_order, kept=not ephemeral,
        json=json, junit=junit,
    )  # fmt: skip
    commands: list[Command]
    lines: list[int]
    if call:
        if from_ or exec_ or shell or not command:
            raise UsageError(
                "--call needs a function, and goes with no --from, --exec or --shell", "see 'jobq help call'"
            )
        function, own = called(command, python, options, check=not no_check)
        options = options_of(own, {"isolation": "process", **options})  # it is the only one, and has our input
        commands, lines = [function], []
    else:
        if python is not None or no_check:
            raise UsageError("--python and --no-check are for calls", "give --call, too")
        commands, lines = commands_of(command, from_, options, "run", is_line=form_of(exec_=exec_, shell=shell))
    if ephemeral and context.find_root().obj is not None:
        raise UsageError("both --store and --ephemeral are given", "give one of them")
    single = not from_ and len(commands) == 1 and not json
    set_masks(mask or [], options, everything=not single)
    options = {"retries": 0, **options}
    if options.get("pty") and stdout.isatty():
        columns, rows = size_of(stdout.fileno())
        options["env"] = {"LINES": str(rows), "COLUMNS": str(columns), **options.get("env", {})}
    with temporary() if ephemeral else nullcontext() as path:
        queue = queue_of(context) if path is None else Queue(path)
        if not commands:
            info("no jobs to run: there are no lines and no items")
            leave_reports(queue, [], 0.0, junit)
            return
        if single:
            code, number = run_one(queue, commands[0], options, junit, lambda: hide_all(mask or [], options))
        else:
            code, number = run_many(queue, commands, lines, options, many)
    if number:
        raise Interrupted(number)
    exit_with(code)


def set_masks(names: Sequence[str], options: Mapping[str, Any], *, everything: bool) -> None:
    """Hide the values of these variables, and if `everything` of all that look like secrets. Raises UsageError."""
    variables = {**environment(), **dict(options.get("env") or {})}
    for name in names:
        if not name.isidentifier():
            raise UsageError(f"--mask: {name!r:.60} is not the name of a variable", "give --mask once for each")
    if missing := [name for name in names if not variables.get(name)]:
        info(f"note: --mask: {', '.join(missing)} is not set")
    if names or everything:
        hide_all(names, options)


def hide_all(names: Sequence[str], options: Mapping[str, Any]) -> None:
    """Hide the values of these variables, and of all that look like secrets."""
    hide(secrets_of({**environment(), **dict(options.get("env") or {})}, names))


def run_one(
    queue: Queue, command: Command, options: Mapping[str, Any], junit: str | None, before_reports: Callable[[], None]
) -> tuple[int, int]:
    """Run one job, whose output is passed through. Return its exit code, and the signal that ended jobq, 0 for none.

    `before_reports` is called once all output is passed through.
    """
    from jobq.worker.signals import StopSignals  # noqa: PLC0415  # the code that runs jobs is loaded only here and in `worker`

    since = clock.now()
    options = {**options, **apart_if_they_are(options)}
    with StopSignals() as signals, Speaker() as speaker:
        notices = Notices(signals, speaker)
        pause = PauseNote(queue_name(options), lambda note: speaker.add(advise, note))

        def idle() -> None:
            pause.look(work, [job_id])
            notices.look()

        work = queue.worker(
            slots=1, drain=True, own_jobs=True, followed=True, report=notices.report, make_runner=runner_with_input,
            idle=idle,
        )  # fmt: skip
        job_id = queue.enqueue([command], lambda: queue.spec(**options, runner=work.token)).ids[0]
        outputs = outputs_of(queue, work, job_id, signals, options)
        try:
            work.run(signals)
        finally:
            for output in outputs:
                output.close(in_a_hurry=lambda: signals.last > 0)
    try:
        job = queue.job(job_id)
    except NotFound as e:
        error(f"{e} any more: it was removed while it ran")
        return NOT_ITS_OWN, signals.last
    before_reports()
    code = conclude(queue, job, outputs[0].failure)
    if junit is not None:
        write_junit(queue, [job], clock.now().boot - since.boot, junit)
    return code, signals.last


def apart_if_they_are(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option that keeps its streams apart, if ours go to different places; else their order counts."""
    has_own = options.get("stderr") is not None or options.get("pty")
    return {} if has_own or is_one_place() else {"stderr": APART}


def runner_with_input(folder: str, bound: bool) -> Runner:
    """Return what runs the job with our own standard input, unless that is a terminal.

    The job is in a session of its own, so no job control would keep it from reading what is typed for the shell.
    """
    from jobq.engine.local.engine import LocalEngine  # noqa: PLC0415  # the code that runs jobs

    try:
        stdin = None if os.isatty(0) else os.dup(0)
    except OSError:  # it is closed
        stdin = None
    return LocalEngine(folder, bound=bound, stdin=stdin)


def outputs_of(
    queue: Queue, work: Worker, job_id: int, signals: StopSignals, options: Mapping[str, Any]
) -> list[PassThrough]:
    """Begin to copy the log of a job to stdout, and that of its stderr to stderr if it is kept apart."""
    outputs = [PassThrough(queue.log_path, job_id, signals.ask, work.mark_read)]
    if options.get("stderr") == APART:
        path, mark_read = partial(queue.log_path, stderr=True), partial(work.mark_read, stderr=True)
        outputs.append(PassThrough(path, job_id, signals.ask, mark_read, ErrorPrinter()))
    return outputs


def conclude(queue: Queue, job: Job, failure: OutputFailed | None) -> int:
    """Return the job's exit code, or 74 if it succeeded but its output is incomplete. Print why it is not 0."""
    if job.state is not State.SUCCEEDED:
        info(f"{what(job, clock.now())}  {command_line(job.command)}")
        if job.state is State.FAILED:
            n = len(job.attempts)
            last = last_line(queue.log_path(job.id, n, stderr=True)) or last_line(queue.log_path(job.id, n))
            if told := ci.system().failure(job, last):
                to_stderr(told)
    if failure is not None:
        error(str(failure), f"'jobq log {job.id}' shows all its output; the job ran to its end")
    return job.exit_code or (failure.exit_code if failure else 0)


class Notices:
    """Prints a line when the process is asked to stop for the first time, and when the job is tried once more."""

    def __init__(self, signals: StopSignals, speaker: Speaker) -> None:
        self._signals = signals
        self._speaker = speaker
        self._told = False
        self._trouble = ""

    def report(self, job: Job) -> None:
        """Print that the job is going to be retried, or could not start; its output speaks for itself."""
        if job.state is State.QUEUED and job.due is not None:
            self._speaker.add(to_stderr, f"jobq: {what(job, clock.now())}")
        elif job.state is State.QUEUED and job.ending is not None and job.ending.never_started:
            why = str(job.ending)
            if why != self._trouble:  # a full disk, say: it stays so for many tries
                self._trouble = why
                self._speaker.add(to_stderr, f"jobq: job {job.id} {why}; trying again")

    def look(self) -> None:
        """Print that it is stopping. The worker calls this before each sleep."""
        if self._signals.last and not self._told:  # without a signal, the reader of stdout has gone, as head(1) does
            self._told = True
            self._speaker.add(to_stderr, "jobq: stopping; press ^C again to end it now")
