"""The data that all duties of one worker share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from jobq.engine import Runner
from jobq.engine.task import Key
from jobq.job import Job, State
from jobq.moment import Moment
from jobq.rules.hooks import is_hook
from jobq.store.registration import Registration
from jobq.store.store import Store
from jobq.worker.signals import StopSignals

LONGEST_PAUSE = 4.0  # seconds between two tries while the disk or the machine is full


class Context:
    """One worker: its store, its runner, its place among the workers, and what hinders it."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        registration: Registration,
        *,
        queues: Collection[str] | None,
        own_jobs: bool,
        report: Callable[[Job], None],
        enough: Callable[[Iterable[Job]], bool] | None = None,
    ) -> None:
        """`queues` None: all; `own_jobs`: of `jobq run`; `report` is told every job that this worker has moved.

        `enough`: returns True if nothing but hooks may be claimed, now that these jobs have ended; None: always more.
        """
        self.store = store
        self.runner = runner
        self.registration = registration
        self.queues = queues
        self.own_jobs = own_jobs
        self.signals: StopSignals | None = None  # while it runs
        self.failed = 0
        self.adopted: set[Key] = set()  # attempts that may have been suspended before
        self.held: list[str] = []  # why jobs of dead workers are not recovered, a sentence each
        self.hindrance = ""  # why nothing new is started for a while
        self.paused_until = float("-inf")  # boot clock
        self.pause = 1.0  # seconds; doubles
        self.enough = enough
        self._report = report

    @property
    def token(self) -> str:
        """The worker's name in the store."""
        return self.registration.token

    @property
    def is_stopping(self) -> bool:
        """True once it was asked to stop."""
        return self.signals is not None and self.signals.count > 0

    def report(self, jobs: Iterable[Job]) -> None:
        """Tell of jobs that have moved, durably."""
        for job in jobs:
            self.failed += job.state is State.FAILED and not is_hook(job)
            self._report(job)

    def pause_after(self, now: Moment, why: Exception | str) -> None:
        """Start nothing new for a while, each time longer: the disk or the machine is full, or in trouble."""
        named = isinstance(why, OSError) and why.filename
        self.hindrance = f"{why.filename}: {why.strerror}" if isinstance(why, OSError) and named else str(why)
        self.paused_until = now.boot + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)
