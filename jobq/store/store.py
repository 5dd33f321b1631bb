"""The store, written to: `transaction` (exclusive, all or nothing), `append` (blind, O(1)); reading.py has the rest.

A change is decided under the lock on the state as it is then, appended as one transaction, synced, and acknowledged by
returning.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from jobq.job import Job
from jobq.options import groups, kinds, policies  # noqa: F401  # now: a worker reads jobs after an upgrade, too
from jobq.store import environment, pauses, presence, tail
from jobq.store.folder import Folder
from jobq.store.format import CAPACITIES, JOURNAL
from jobq.store.hint import Hint
from jobq.store.journal import encode_line
from jobq.store.lock import StoreLock
from jobq.store.operations import AddJobs
from jobq.store.place import make_store
from jobq.store.reading import StoreReader
from jobq.store.state import StoreState
from jobq.store.transaction import Add, Archive, MustLook, Transaction, check_format
from jobq.store.writer import commit, transaction_lines


class Store(StoreReader):
    """One store directory, to read and to change."""

    def __init__(self, path: str, *, lock_timeout: float = 10.0) -> None:
        super().__init__(path)
        self._lock_timeout = lock_timeout
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
            tail.check_writable(folder, self._view)
            self._lock = StoreLock(folder, self._lock_timeout, self._in_a_hurry)
        return folder

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

    def _lock_to_settle(self, folder: Folder) -> StoreLock:  # noqa: ARG002
        return self.lock

    @property
    def uuid(self) -> str:
        """The name that the store was given when it was made, which its copies have, too; "" before that is known."""
        if self.header is not None:
            self._uuid = self.header.uuid
        return self._uuid

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
            tail.take_in_settled(self.root, self._view, cut=True)
        return self.state

    @property
    def lock(self) -> StoreLock:
        """The write lock, for compaction and repair; `transaction`, `append` and `read_settled` take it themselves."""
        assert self.root
        assert self._lock is not None
        return self._lock

    def settle_tail(self) -> Hint:
        """Settle the tail of the current journal, under the lock. Raises as `tail.settle_tail`."""
        return tail.settle_tail(self.root, self._view)

    def save_environment(self, environ: dict[str, str]) -> str:
        """Return the digest that a Spec names. Raises NotSaved."""
        return environment.save(self.root, environ)
