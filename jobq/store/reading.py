"""A store as readers see it. What only reads needs no more, and this loads in half the time of the whole store.

Readers see nothing that could be lost again: what a process wrote and did not live to sync is made durable before it is
shown, or left out. Nobody waits for a lock.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator

from jobq.errors import NotFound, StoreDamaged
from jobq.job import Job
from jobq.store import finished
from jobq.store.folder import Folder
from jobq.store.journal import Header, Journal
from jobq.store.logs import Logs
from jobq.store.state import StoreState
from jobq.store.view import View

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from jobq.store.lock import StoreLock


class StoreReader:
    """One store directory. Not shared between threads; opening is lazy, and makes nothing."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.logs = Logs(self.path)
        self._view = View()
        self._folder: Folder | None = None
        self._lock: StoreLock | None = None
        self._pid = os.getpid()

    def existing(self) -> Folder | None:
        """Return the directory, or None if there is none. Raises StoreForbidden."""
        if self._pid != os.getpid():
            self.close()  # forked: a lock taken through a shared descriptor would exclude nobody
            self._pid = os.getpid()
        if self._folder is None:
            folder = Folder.open(self.path)
            if folder is None:
                return None
            folder.check_private()
            self._folder = folder
        return self._folder

    def close(self) -> None:
        """Release all descriptors."""
        self._view.forget()
        if self._lock is not None:
            self._lock.close()
        if self._folder is not None:
            self._folder.close()
        self._folder = self._lock = None

    def __del__(self) -> None:
        """Release the descriptors of a store that nobody closed: `Queue().add(...)` in a loop must not use them up."""
        try:
            self.close()
        except (OSError, AttributeError):
            pass

    def read(self) -> StoreState:
        """Return the state as last acknowledged; an empty one where there is no store yet.

        Usually nothing is locked or written. Raises StoreDamaged, StoreTooNew, StoreForbidden.
        """
        folder = self.existing()
        if folder is None:
            return self.state
        try:
            is_all = self._view.catch_up(folder)
        except StoreDamaged:
            self._view.forget()  # a write under way may have been read halfway: read once more, from the start
            is_all = self._view.catch_up(folder)
        if not is_all and self.journal.writable:
            # Else it might be lost in a power cut after it was shown: its writer is dead, or could not write the hint.
            from jobq.store import tail  # noqa: PLC0415  # readers hardly ever need it

            tail.settle_if_unlocked(folder, self._view, self._lock_to_settle)
        return self.state

    def _lock_to_settle(self, folder: Folder) -> StoreLock:
        from jobq.store.lock import StoreLock  # noqa: PLC0415

        if self._lock is None:
            self._lock = StoreLock(folder)
        return self._lock

    @property
    def state(self) -> StoreState:
        """The state as last read."""
        return self._view.state

    @property
    def header(self) -> Header | None:
        """The header of the journal that was read last; None before there is a store."""
        return self._view.journal.header if self._view.journal is not None and self._view.offset else None

    @property
    def journal(self) -> Journal:
        """The open journal, after `read` or `settle_tail`."""
        assert self._view.journal is not None
        return self._view.journal

    @property
    def journal_size(self) -> tuple[int, int]:
        """Bytes of the journal as far as it was read, and of its snapshot."""
        return self._view.offset, self._view.snapshot_end

    @property
    def loads(self) -> int:
        """The number of times that the journal was read from its start, as after a backup was restored."""
        return self._view.loads

    # -- finished jobs -----------------------------------------------------------------------------

    def find_all(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Return those of these jobs that exist, in one pass over the old files if any is needed. Call `read` first."""
        found = {job_id: self.state.jobs[job_id] for job_id in job_ids if job_id in self.state.jobs}
        old = {job_id for job_id in job_ids if job_id < self.state.next_id} - found.keys() - self.state.removed
        header = None
        while old and header is not self.header:  # again, if compaction has joined or removed files meanwhile
            header = self.header
            found.update(self.archive().find(old))
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def get(self, job_id: int) -> Job:
        """Return the job of that id, finished long ago or not; call `read` first. Raises NotFound."""
        if (job := self.find_all([job_id]).get(job_id)) is None:
            raise NotFound(str(job_id))
        return job

    def finished_jobs(self) -> Iterator[Job]:
        """Yield all finished jobs, the last one first; reads no more than is asked for. Call `read` first."""
        recent = [job for job in self.state.jobs.values() if job.state.final]
        recent.sort(key=lambda job: (job.finished_at or 0.0, job.id), reverse=True)
        yield from recent
        for job in self.archive().newest_first():
            if job.id not in self.state.jobs and job.id not in self.state.removed:
                yield job

    def skipped_for(self, causes: Collection[int]) -> list[Job]:
        """Return the jobs that were skipped because of these; reads all finished ones. Call `read` first."""
        return [job for job in self.finished_jobs() if job.skipped_for in causes] if causes else []

    def archive(self) -> finished.Archive:
        """Return the finished jobs that have left the journal, as its header knows them."""
        return finished.Archive(self._folder, self.header.finished if self.header else {}, self._is_kept)

    def _is_kept(self, day: str) -> bool:
        """Return True if the file of that day ought to exist still; retention may have removed it since the read."""
        self.read()
        return self.header is not None and day in self.header.finished

    # -- environments ------------------------------------------------------------------------------

    def load_environment(self, digest: str) -> dict[str, str]:
        """Return the environment of a digest. Raises StoreDamaged, FileNotFoundError if the store is gone."""
        folder = self.existing()
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, "it is gone", self.path)
        from jobq.store import environment  # noqa: PLC0415  # few questions need it

        return environment.load(folder, digest)
