"""Jobs that have processes although they wait in the store: a backup of it was restored while they ran."""

from __future__ import annotations

from collections.abc import Iterable

from jobq.engine import Runner
from jobq.engine.local.evidence import jobs_with_processes
from jobq.engine.task import Ended, Key, Trace
from jobq.job import Ending, Job, State
from jobq.moment import Moment
from jobq.store.state import StoreState
from jobq.store.store import Store

REMEMBERED = 10_000  # endings
LOOK_AGAIN = 1.5  # seconds between two checks while there are any


class Started:
    """The jobs that a worker must not claim, or they would run twice. Checked after each full read of the journal."""

    def __init__(self, store: Store, runner: Runner) -> None:
        self._store = store
        self._ended: dict[Key, tuple[Trace, Ending]] = {}  # the last ones that this worker has recorded
        self.forgotten: list[Ended] = []  # those of them that the store does not know any more
        self._runner = runner
        self._loads = 0
        self._checked_at = float("-inf")
        self.ids: set[int] = set()

    @property
    def is_outdated(self) -> bool:
        """True if the whole journal was read again since the last check."""
        return self._store.loads != self._loads

    def look(self, now: Moment) -> None:
        """Bring `ids` up to date with the jobs as they were read last. Raises OSError."""
        if not self.is_outdated and not (self.ids and now.boot >= self._checked_at + LOOK_AGAIN):
            return
        state = self._store.state
        if self.is_outdated:
            self.forgotten = [
                Ended(key, ending) for key, (trace, ending) in self._ended.items() if self._is_forgotten(trace, state)
            ]
        found = jobs_with_processes(self._store.path, self._store.uuid) | {key.job_id for key in self._runner.running()}
        self.ids = {number for number in found if (job := state.jobs.get(number)) is not None and waits(job)}
        self._loads, self._checked_at = self._store.loads, now.boot

    def recorded(self, traces: Iterable[tuple[Trace, Ending]]) -> None:
        """Remember these endings for when a backup of the store is restored that does not know them."""
        self.forgotten = []
        for trace, ending in traces:
            self._ended[trace.key] = trace, ending
        while len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def trace(self, key: Key) -> Trace | None:
        """Return what is known of an attempt whose ending is remembered."""
        return self._ended[key][0] if key in self._ended else None

    def _is_forgotten(self, trace: Trace, state: StoreState) -> bool:
        job = state.jobs.get(trace.key.job_id)
        if job is None or job.state.final:
            return False
        if job.state is State.RUNNING:
            attempt = job.attempts[-1]
            return (attempt.n, attempt.claimed_at) == (trace.attempt.n, trace.attempt.claimed_at)
        return trace.is_of(job)


def waits(job: Job) -> bool:
    """Return True if the job may be claimed, now or later."""
    return job.state in {State.QUEUED, State.HELD}
