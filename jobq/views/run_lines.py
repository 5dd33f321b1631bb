"""The view of `jobq run` with several jobs where nothing is drawn: a line for each event, and output as was asked."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from jobq import clock
from jobq.job import Job, State
from jobq.rules.hooks import is_hook
from jobq.views import ci
from jobq.views.closing import closing
from jobq.views.console import job_output_to_stderr, stdout_closed, to_stderr
from jobq.views.lines import what
from jobq.views.logs import last_line, last_lines
from jobq.views.run_output import PRINTED, RunOutput
from jobq.views.tally import Tally
from jobq.views.text import command_line
from jobq.views.watch import Speaker

if TYPE_CHECKING:
    from jobq.api import Queue
    from jobq.worker.loop import Worker

LAST_WORDS = 10  # lines of output that are printed of a failed job


class RunLines:
    """Reports many jobs: the words about them go to stderr, their output to stdout."""

    def __init__(self, queue: Queue, mode: str, output: RunOutput, *, kept: bool) -> None:
        """`mode`: that of --output. `kept`: the logs are there afterwards."""
        self._queue = queue
        self._mode = mode
        self._kept = kept
        self._output = output
        self._system = ci.system()
        self._speaker = Speaker(output.lock)
        self._tally = Tally()
        self._since = clock.now()
        self._worker: Worker | None = None
        self._total = 0
        self._told = False

    def __enter__(self) -> RunLines:
        self._speaker.__enter__()
        self._output.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._output.__exit__(kind, e, tb)
        if e is None and self._worker is not None:
            seconds = clock.now().boot - self._since.boot
            state, slots = self._worker.state, self._worker.slots
            for line in closing(self._tally, state, seconds, slots, of=self._total, kept=self._kept):
                self.remark(line.text)
        self._speaker.__exit__(kind, e, tb)

    def begin(self, worker: Worker, first: int, total: int) -> None:
        """Note whose jobs these are, the id of the first, and how many there are."""
        self._worker, self._total = worker, total
        self._output.expect(first)

    def report(self, job: Job) -> None:
        """Report the latest event of the job; not its start, which says nothing new."""
        self._tally.report(job)
        self._output.note(job)
        if job.state is State.RUNNING or is_hook(job):
            return
        self.remark(f"{what(job, clock.now())}  {command_line(job.command)}")
        if job.state is State.FAILED and self._mode not in PRINTED:
            self._tell_failure(job)

    def settle(self, job: Job) -> None:
        """Count a job that has ended without being run."""
        self._tally.settle(job)

    def _tell_failure(self, job: Job) -> None:
        """Print the last lines of output, and what tells the CI system of the failure."""
        last = ""
        for apart in (False, True):
            path = self._queue.log_path(job.id, len(job.attempts), stderr=apart)
            last = last_line(path) or last
            if self._mode == "tail":
                for line in last_lines(path, LAST_WORDS):
                    self._speaker.add(job_output_to_stderr, f"jobq:   {line}")
        if told := self._system.failure(job, last):
            self._speaker.add(to_stderr, told)

    def remark(self, text: str) -> None:
        """Print one line about the run itself."""
        self._speaker.add(to_stderr, f"jobq: {text}")

    def refresh(self, worker: Worker, *, stops: int) -> float | None:  # noqa: ARG002
        """Print once that it is asked to stop."""
        if stops and not self._told:
            self._told = True
            self.remark(
                "the reader of the output has gone: ending the jobs"
                if stdout_closed()
                else "stopping; press ^C again to end it now"
            )
        return None
