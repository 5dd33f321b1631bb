"""The output of the jobs of one `jobq run`, on stdout: whole and one after the other, or line by line as it comes."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from jobq.errors import JobqError, OutputFailed
from jobq.job import Job, State
from jobq.options.values import APART
from jobq.rules.hooks import is_hook
from jobq.views import ci
from jobq.views.console import encoded, job_bytes_to_stderr, out_bytes, stdout_closed
from jobq.views.logs import Printer, last_line, print_log
from jobq.views.prefixed import PrefixedLogs

if TYPE_CHECKING:
    from jobq.api import Queue

MODES = ("tail", "failed", "group", "stream", "none")  # of --output
PRINTED = frozenset({"failed", "group"})  # whole logs go to stdout
POLL = 0.05  # seconds between two looks at the logs of running jobs
HURRY_POLL = 0.1  # seconds between two checks whether to stop waiting for a slow reader
LAST_MOMENT = 5.0  # seconds that the reader gets after that


def is_one_place() -> bool:
    """Return True if stdout and stderr are the same pipe, file or terminal: lines must not cut each other there."""
    try:
        return os.path.samestat(os.fstat(1), os.fstat(2))
    except OSError:
        return False


class RunOutput:
    """Prints in a thread of its own: a slow reader must not stop the worker, and must miss nothing."""

    def __init__(
        self,
        queue: Queue,
        mode: str,
        *,
        in_order: bool,
        nobody_reads: Callable[[], None],
        in_a_hurry: Callable[[], bool],
    ) -> None:
        """`in_order`: output of later jobs waits for that of earlier ones. `nobody_reads`: called if it goes."""
        self.failure: OutputFailed | None = None  # the reason why the rest did not reach stdout
        self._queue = queue
        self._mode = mode
        self._in_order = in_order
        self._nobody_reads = nobody_reads
        self._in_a_hurry = in_a_hurry
        self._system = ci.system()
        self._logs = PrefixedLogs(queue.log_path)
        self._errors = PrefixedLogs(partial(queue.log_path, stderr=True), to=job_bytes_to_stderr)
        self.lock = threading.Lock() if is_one_place() else None  # held while a group is printed
        self._live: dict[int, Job] = {}  # that run
        self._over: deque[Job] = deque()  # that have ended and are not printed yet
        self._early: dict[int, Job] = {}  # that wait for those before them
        self._next = 0  # the id that is to be printed next, if in order
        self._closed = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)

    def __enter__(self) -> RunOutput:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Print the rest, and wait for a slow reader; in a hurry, LAST_MOMENT seconds at most."""
        with self._news:
            self._over.extend(self._early.pop(job_id) for job_id in sorted(self._early))
            self._closed = True
            self._news.notify()
        while self._thread.is_alive() and not self._in_a_hurry():
            self._thread.join(HURRY_POLL)
        self._thread.join(LAST_MOMENT)

    def expect(self, first: int) -> None:
        """Note the id of the first job."""
        self._next = first

    @property
    def waits_for(self) -> int | None:
        """The id of the job that the output of others waits for; None: of none."""
        return self._next if self._in_order and self._early else None

    def pass_over(self, job_id: int) -> None:
        """Wait no more for this job: it has ended without a word from the worker."""
        with self._news:
            if self._next == job_id:
                self._next += 1
                self._release()
                self._news.notify()

    def note(self, job: Job) -> None:
        """Note that the job runs, or does not run any more."""
        if is_hook(job) or self._mode not in {*PRINTED, "stream"}:
            return
        with self._news:
            if self._mode == "stream" and job.state is State.RUNNING:
                self._live[job.id] = job
            elif self._mode == "stream":
                self._live.pop(job.id, None)
                self._over.append(job)
            elif job.state.final:
                self._note_end(job)
            self._news.notify()

    def _note_end(self, job: Job) -> None:
        self._early[job.id] = job
        self._release()

    def _release(self) -> None:
        """Let the jobs be printed whose turn it is."""
        while self._early and (self._next in self._early or not self._in_order):
            job_id = self._next if self._in_order else next(iter(self._early))
            self._over.append(self._early.pop(job_id))
            self._next += self._in_order

    def _run(self) -> None:
        try:
            while not self._turn():
                pass
        except OutputFailed as e:  # the jobs continue, as if they wrote to a file
            self.failure = e
        except (OSError, JobqError) as e:
            self.failure = OutputFailed(f"lacks output: {e}")

    def _turn(self) -> bool:
        """Print what there is; return True if no more comes."""
        with self._news:
            live, over, closed = list(self._live.values()), list(self._over), self._closed
            self._over.clear()
        wrote = False
        if self._mode == "stream":
            attempts = [(job, len(job.attempts)) for job in [*live, *over] if job.attempts]
            wrote = self._logs.pump(attempts)
            wrote |= self._errors.pump((job, n) for job, n in attempts if job.spec.stderr == APART)
            if closed:
                self._logs.pump([])
                self._errors.pump([])
        else:
            for job in over:
                with self.lock or nullcontext():
                    self._print(job)
        if stdout_closed():
            self._nobody_reads()
            return True
        if closed:
            return True
        with self._news:
            if not self._over and not self._closed:
                self._news.wait(0 if wrote else POLL if live else None)
        return False

    def _print(self, job: Job) -> None:
        """Print the whole output of the job. Raises OutputFailed."""
        if self._mode == "failed" and job.state is not State.FAILED:
            return
        out_bytes(encoded(f"{self._system.begin(job)}\n"))
        last = ""
        for apart in (False, True) if job.spec.stderr == APART else (False,):
            path = self._queue.log_path(job.id, max(len(job.attempts), 1), stderr=apart)
            printer = Printer(ends_lines=True)
            print_log(path, printer, None)
            last = last_line(path) or last
        for line in (self._system.end(job), self._system.failure(job, last) if job.state is State.FAILED else ""):
            if line:
                out_bytes(encoded(f"{line}\n"))
