"""The views of a worker: a live view on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import signal
import threading
from collections import deque
from contextlib import nullcontext
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from jobq import clock
from jobq.errors import OutputFailed
from jobq.job import Job
from jobq.moment import Moment
from jobq.options.values import APART
from jobq.rules.forecast import Forecast
from jobq.rules.order import is_paused, is_ready
from jobq.rules.reasons import Situation
from jobq.views.closing import closing
from jobq.views.console import Stream, info, out, to_stderr
from jobq.views.lines import line
from jobq.views.logs import last_lines
from jobq.views.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobq.api import Queue
    from jobq.store.state import StoreState
    from jobq.views.closing import Line
    from jobq.views.live import Overview
    from jobq.worker.loop import Worker


PATIENCE = 5.0  # seconds without progress after which the last lines are dropped
MOST_PENDING = 10_000  # lines that may wait for a slow reader
CHECK_EVERY = 1.0  # seconds between two reads of what the workers serve
SAMPLE = 200  # waiting jobs that stand for all when the time left is computed
MOST_AT_ONCE = 100  # lines in one write
CHANGING_THE_SCREEN = (signal.SIGTSTP, signal.SIGCONT, signal.SIGQUIT, signal.SIGWINCH)
PHASES = ("working", "stopping", "ending")  # by the number of stop signals


class Speaker:
    """Writes lines in a thread of its own: a reader that stops reading must not stop the worker."""

    def __init__(self, lock: threading.Lock | None = None) -> None:
        """`lock`: held while lines are written; another thread may write to the same place."""
        self._lock = lock
        self._pending: deque[tuple[Callable[..., None], str]] = deque()
        self._skipped = 0
        self._news = threading.Event()
        self._over = False
        self._written = 0
        self._failing = False  # the last write has failed
        self._thread = threading.Thread(target=self._write, name="lines", daemon=True)

    def __enter__(self) -> Speaker:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Write the rest, as long as the reader takes it."""
        self._over = True
        self._news.set()
        before = -1
        while self._thread.is_alive() and self._written > before:
            before = self._written
            self._thread.join(PATIENCE)

    def add(self, write: Callable[..., None], text: str) -> None:
        """Queue this line; the thread passes it to `write`."""
        if len(self._pending) >= MOST_PENDING:
            self._skipped += 1
            return
        if self._skipped:
            self._pending.append((write, f"({self._skipped} more events were not printed: the reader was too slow)"))
            self._skipped = 0
        self._pending.append((write, text))
        if not self._news.is_set():
            self._news.set()

    def _write(self) -> None:
        while not self._over or self._pending:
            self._news.wait()
            self._news.clear()
            while self._pending:
                write, text = self._pending.popleft()
                lines = [text]
                while self._pending and self._pending[0][0] is write and len(lines) < MOST_AT_ONCE:
                    lines.append(self._pending.popleft()[1])
                try:
                    with self._lock or nullcontext():
                        write(*lines)
                    self._failing = False
                except OutputFailed as e:  # a full disk, for example: try again with the next lines
                    if not self._failing:
                        info(f"{e}; the jobs continue")
                    self._failing = True
                self._written += len(lines)


class Lines:
    """The view that prints a line for each event."""

    def __init__(self) -> None:
        self._trouble = ""
        self._speaker = Speaker()

    def __enter__(self) -> Lines:
        self._speaker.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._speaker.__exit__(kind, e, tb)

    def report(self, job: Job) -> None:
        """Print the latest event of the job."""
        self._speaker.add(out, line(job, clock.now()))

    def remark(self, text: str) -> None:
        """Print one line about the worker itself."""
        self._speaker.add(to_stderr, f"jobq: {text}")

    def refresh(self, worker: Worker, *, stops: int) -> float | None:  # noqa: ARG002
        """Print a new trouble of the worker once, and its end."""
        if worker.trouble != self._trouble:
            self._trouble = worker.trouble
            self.remark(self._trouble or "the trouble is over")
        return None


class Screen:
    """The view that draws what runs, on stdout or on stderr."""

    def __init__(self, queue: Queue, fd: int = 1, *, own_jobs: bool = False, kept: bool = True) -> None:
        """`own_jobs`: show only the jobs of this worker: those of a `jobq run`. `kept`: their logs are, afterwards."""
        from jobq.views.display import Display  # noqa: PLC0415  # rich
        from jobq.views.last_words import LastWords  # noqa: PLC0415
        from jobq.views.signs import Signs  # noqa: PLC0415
        from jobq.views.terminal import Settings  # noqa: PLC0415

        stream = Stream(fd, raw=True)
        self._queue = queue
        self._settings = Settings(fd)
        self._display = Display(
            stream,
            clock.now,
            LastWords(queue.log_path, queue.progress_of),
            self._last_lines,
            Signs(stream, queue.log_path),
            kept=kept,
        )
        self._heard: list[int] = []  # signals
        self._since = clock.now()
        self._tally = Tally()
        self._forecast: Forecast | None = None
        self._worker: Worker | None = None
        self._stops = 0
        self._around = Situation(Moment(0.0, float("-inf"), ""))
        self._left: float | None = None
        self._own_jobs = own_jobs
        self._kept = kept
        self._total = 0

    def begin(self, worker: Worker, first: int, total: int) -> None:  # noqa: ARG002
        """Note whose jobs these are, and how many there are."""
        self._worker, self._total = worker, total

    def settle(self, job: Job) -> None:
        """Count a job that has ended without being run."""
        self._tally.settle(job)

    def __enter__(self) -> Screen:
        for number in CHANGING_THE_SCREEN:
            if signal.getsignal(number) is signal.SIG_DFL:  # an ignored signal stays ignored
                signal.signal(number, self._hear)
        self._settings.quiet()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._display.close(self._closing() if e is None else [])
        finally:
            self._settings.restore()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._heard.append(number)

    def _last_lines(self, job: Job, count: int) -> list[str]:
        path = self._queue.log_path(job.id, len(job.attempts), stderr=job.spec.stderr == APART)
        return last_lines(path, count) if job.attempts else []

    def _closing(self) -> list[Line]:
        worker = self._worker
        if worker is None:
            return []
        seconds = clock.now().boot - self._since.boot
        start = "stopped: " if self._stops or not worker.drain else "" if self._own_jobs else "done: "
        left = [] if self._own_jobs else worker.left
        return closing(
            self._tally, worker.state, seconds, worker.slots, left=left, start=start, of=self._total, kept=self._kept
        )

    def remark(self, text: str) -> None:
        """Print one line about the worker itself. It stays on the screen, above what is redrawn."""
        self._display.rest()
        info(text)
        self._display.draw_anew(elsewhere=True)

    def report(self, job: Job) -> None:
        """Count the latest event of the job, and print it if it is over."""
        if self._forecast is not None:
            self._forecast.learn(job)
        if self._tally.report(job):
            self._display.add(job)

    def refresh(self, worker: Worker, *, stops: int) -> float | None:
        """Show the state of the worker. Return the seconds to wait if the last drawing is too recent."""
        self._worker, self._stops = worker, stops
        while self._heard:
            self._obey(self._heard.pop(0))
        return self._display.offer(lambda: self._overview(worker, PHASES[min(stops, 2)]))

    def _obey(self, number: int) -> None:
        """Handle the signal. The terminal has its own settings while the process is stopped."""
        if number in {signal.SIGTSTP, signal.SIGQUIT}:
            self._display.rest()
            self._settings.restore()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)  # the process stops here until it is continued, or it ends
            signal.signal(number, self._hear)
            self._heard = [number for number in self._heard if number != signal.SIGCONT]
        self._settings.quiet()
        self._display.draw_anew(elsewhere=number != signal.SIGWINCH)

    def _learned(self) -> Forecast:
        """Return what earlier runs say about the time that commands take; they are read once."""
        if self._forecast is None:
            self._forecast = Forecast.of(self._queue.finished())
        return self._forecast

    @staticmethod
    def _comes(job: Job, state: StoreState, now: Moment) -> bool:
        """Return True if the job starts as soon as it is its turn: it waits for no time, its queue is not paused."""
        return (job.has_started or is_ready(job, now)) and not is_paused(job.spec.queue, state.pauses())

    def _overview(self, worker: Worker, phase: str) -> Overview:
        from jobq.views.live import NEXT, Overview  # noqa: PLC0415  # rich

        state, forecast = worker.state, self._learned()
        running = [state.jobs[job_id] for job_id in sorted(state.running)]
        ahead = state.waiting.upcoming(state.jobs, SAMPLE)
        active: Mapping[tuple[str, str | None], int] = state.waiting.active
        if self._own_jobs:
            running = [job for job in running if job.runner == worker.token]
            ahead = [job for job in ahead if job.runner == worker.token]
            active = {rank: count for rank, count in active.items() if rank[1] == worker.token}
        queued, waiting = sum(active.values()) - len(running), ahead[:NEXT]
        now = clock.now()
        if now.boot - self._around.now.boot >= CHECK_EVERY:
            self._around = worker.situation([*waiting, *running])
            coming = [job for job in ahead if self._comes(job, state, now)]
            more = (queued - len(ahead)) * len(coming) // len(ahead) if ahead else 0
            self._left = forecast.left(running, coming, max(0, more), worker.slots, now)
        rests = {job.id: rest for job in running if (rest := forecast.rest(job, self._around.now)) is not None}
        return Overview(
            worker.token,
            running,
            waiting,
            queued,
            self._tally.succeeded,
            len(self._tally.failed),
            len(self._tally.cancelled),
            worker.slots,
            self._since.wall,
            self._around,
            f"run {phase}" if self._own_jobs else phase,
            worker.trouble,
            rests,
            self._left,
        )
