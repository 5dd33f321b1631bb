"""The store: `read` (no lock, no write), `transaction` (exclusive, all or nothing), `append` (blind, O(1)).

A change is decided under the lock on the state as it is then, appended as one transaction, synced, and acknowledged by
returning. Readers see nothing that could be lost again: what a process wrote and did not live to sync, they make
durable before they show it, or leave out.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from jobq.errors import NotFound, StoreDamaged, StoreTooNew
from jobq.job import Job
from jobq.store import environment, finished, pauses, presence, tail
from jobq.store.folder import Folder
from jobq.store.format import CAPACITIES, FORMAT, JOURNAL
from jobq.store.hint import Hint
from jobq.store.journal import Header, Journal, encode_line
from jobq.store.lock import StoreLock
from jobq.store.logs import Logs
from jobq.store.operations import AddJobs
from jobq.store.place import make_store
from jobq.store.state import StoreState
from jobq.store.transaction import Add, Archive, MustLook, Transaction, check_format
from jobq.store.view import View
from jobq.store.writer import commit, transaction_lines


class Store:
    """One store directory. Not shared between threads; opening is lazy, and reading makes nothing."""

    def __init__(self, path: str, *, lock_timeout: float = 10.0) -> None:
        self.path = os.path.abspath(path)
        self.logs = Logs(self.path)
        self._lock_timeout = lock_timeout
        self._view = View()
        self._folder: Folder | None = None
        self._lock: StoreLock | None = None
        self._pid = os.getpid()
        self._uuid = ""
        self._in_a_hurry: Callable[[], bool] = bool  # says no

    # -- opening ---------------------------------------------------------------------------------

    @property
    def root(self) -> Folder:
        """The directory, made and initialized if need be, ready to be written to.

        Raises StoreForbidden, StoreTooNew, StoreDamaged, NotSaved.
        """
        folder = self.existing()
        if folder is None or self._lock is None:
            if self.uuid and (folder is None or not folder.has(JOURNAL)):
                raise FileNotFoundError(errno.ENOENT, "it is gone", f"{self.path}/{JOURNAL}")
            if folder is None or not folder.has(JOURNAL):
                folder = make_store(self.path, folder, self._lock_timeout)
            self._folder = folder
            self._check_writable(folder)
            self._lock = StoreLock(folder, self._lock_timeout, self._in_a_hurry)
        return folder

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

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the directory: they tell the store from its copies, and from others at its path."""
        status = os.fstat(self.root.fd)
        return status.st_dev, status.st_ino

    def is_in_place(self) -> bool:
        """Return False if another directory is at the path now, as from a backup. Raises OSError if there is none."""
        return self._folder is None or os.path.samestat(os.stat(self.path), os.fstat(self._folder.fd))

    def give_up_waiting_if(self, in_a_hurry: Callable[[], bool]) -> None:
        """Ask this while waiting for the lock, and wait no longer once it returns True."""
        self._in_a_hurry = self.lock.in_a_hurry = in_a_hurry

    @property
    def loads(self) -> int:
        """The number of times that the journal was read from its start, as after a backup was restored."""
        return self._view.loads

    def _check_writable(self, folder: Folder) -> None:
        journal = self._view.open(folder)
        if journal is None:
            raise StoreDamaged(f"{self.path}/{JOURNAL}", 0, "the journal is missing")
        if journal.header.min_writer > FORMAT:
            raise StoreTooNew(self.path, journal.header.min_writer, FORMAT, journal.header.version)

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

    # -- reading ---------------------------------------------------------------------------------

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
            tail.settle_if_unlocked(lambda: self.lock, lambda: self._take_in_settled(cut=False))
        return self.state

    def _take_in_settled(self, *, cut: bool) -> None:
        self._view.catch_up(self.root, locked=True, hint=self.settle_tail(cut=cut))

    @property
    def state(self) -> StoreState:
        """The state as last read."""
        return self._view.state

    @property
    def header(self) -> Header | None:
        """The header of the journal that was read last; None before there is a store."""
        return self._view.journal.header if self._view.journal is not None and self._view.offset else None

    @property
    def uuid(self) -> str:
        """The name that the store was given when it was made, which its copies have, too; "" before that is known."""
        if self.header is not None:
            self._uuid = self.header.uuid
        return self._uuid

    @property
    def journal_size(self) -> tuple[int, int]:
        """Bytes of the journal as far as it was read, and of its snapshot."""
        return self._view.offset, self._view.snapshot_end

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

    # -- writing -----------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, at: float, *, notify: bool = True, skipped: Sequence[Job] = ()) -> Iterator[Transaction]:
        """Hold the lock, and make all changes of the body durable at its end, together; `at`: wall clock.

        The body must be quick, and must not write. If it raises, nothing has changed. Raises NotSaved, LockTimeout,
        StoreDamaged. `notify`: wake the workers. `skipped`: from `skipped_for`, for jobs that are to be requeued.
        """
        root = self.root
        if self.header is None:
            self.read()  # the long part, before anybody has to wait for us
        with self.lock:
            hint = self.settle_tail()
            self._view.catch_up(root, locked=True, hint=hint)
            archive = Archive(partial(environment.require, root), self.find_all, skipped)
            changes = Transaction(self.state, at, self.journal.header.format, archive)
            queues = dict(self.state.queues)
            try:
                yield changes
                if not changes:
                    return
                lines = changes.lines()
                hint = commit(root, self.journal.fd, hint, lines, self.state.next_id)
                self.state.seq += len(lines)
            except BaseException:
                self._view.forget()  # memory may be ahead of the disk
                raise
            self._view.offset = hint.size
            if self.state.queues != queues:
                pauses.write_note(root, self.state.pauses())
        if notify:
            presence.notify(root)

    def append(self, new: Add, at: float) -> range:
        """Add jobs without reading the others: O(1) in what the store holds. Raises as `transaction`, and MustLook."""
        root = self.root
        with self.lock:
            try:
                hint = self.settle_tail()
                environment.require(root, new.spec.env)
                whole = AddJobs(hint.next_id, new.spec, new.commands)
                if self.journal.header.format >= CAPACITIES:
                    raise MustLook
                check_format(whole, self.journal.header.format)
                ops = [(part.encode(), part.weight()) for part in whole.parts()]
                lines = transaction_lines(ops, hint.seq, at, encode_line)
                commit(root, self.journal.fd, hint, lines, whole.next_id)
            except BaseException:
                self._view.forget()  # perhaps a descriptor that can't be written to
                raise
        presence.notify(root)
        return range(whole.first, whole.next_id)

    def read_settled(self) -> StoreState:
        """Read after the tail of the journal was settled. Raises as `transaction`."""
        with self.lock:
            self._take_in_settled(cut=True)
        return self.state

    @property
    def lock(self) -> StoreLock:
        """The write lock, for compaction and repair; `transaction`, `append` and `read_settled` take it themselves."""
        assert self.root
        assert self._lock is not None
        return self._lock

    @property
    def journal(self) -> Journal:
        """The open journal, after `read` or `settle_tail`."""
        assert self._view.journal is not None
        return self._view.journal

    def settle_tail(self, *, cut: bool = True) -> Hint:
        """Settle the tail of the current journal, under the lock. Raises as `tail.settle_tail`, and StoreTooNew."""
        if self._view.offset and not self.journal.is_current():
            self._view.catch_up(self.root, locked=True)
        self._check_writable(self.root)
        return tail.settle_tail(self.root, self._view, cut=cut)

    def save_environment(self, environ: dict[str, str]) -> str:
        """Return the digest that a Spec names. Raises NotSaved."""
        return environment.save(self.root, environ)

    def load_environment(self, digest: str) -> dict[str, str]:
        """Return the environment of a digest. Raises StoreDamaged."""
        return environment.load(self.existing() or self.root, digest)
