"""Jobs that have processes although they wait in the store: a backup of it was restored while they ran."""

from __future__ import annotations

from jobq.engine.local.engine import LocalEngine
from jobq.engine.local.evidence import jobs_with_processes
from jobq.job import Job, Moment, State
from jobq.store.store import Store

LOOK_AGAIN = 1.5  # seconds between two checks while there are any


class Started:
    """The jobs that a worker must not claim, or they would run twice. Checked after each full read of the journal."""

    def __init__(self, store: Store, engine: LocalEngine) -> None:
        self._store = store
        self._engine = engine
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
        jobs = self._store.jobs
        found = jobs_with_processes(self._store.path, self._store.uuid) | {key.job_id for key in self._engine.running()}
        self.ids = {number for number in found if (job := jobs.by_id.get(number)) is not None and waits(job)}
        self._loads, self._checked_at = self._store.loads, now.boot


def waits(job: Job) -> bool:
    """Return True if the job may be claimed, now or later."""
    return job.state in {State.QUEUED, State.HELD}
