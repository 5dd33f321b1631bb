"""The one door to the files: `read` (no lock, no write), `update` (exclusive, all or nothing), `enqueue` (blind, O(1)).

A change is decided under the lock on the state as it is then, appended as one transaction, synced, and acknowledged by
returning. Readers see nothing that could be lost again: what somebody wrote and did not live to sync, they make durable
before they show it, or leave out.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from jobq.command import Command
from jobq.errors import (
    JobqError,
    LockTimeout,
    NotFound,
    NotSaved,
    StoreDamaged,
    StoreForbidden,
    StoreReplaced,
    StoreTooNew,
)
from jobq.job import Job, Spec
from jobq.store import environment, finished, presence
from jobq.store.failures import Failures
from jobq.store.folder import Folder, sync_parents
from jobq.store.format import FORMAT, JOURNAL
from jobq.store.hint import HINT, Hint, read_hint, write_hint
from jobq.store.journal import Header, Journal, parse_lines
from jobq.store.lock import StoreLock
from jobq.store.logs import Logs
from jobq.store.records import MISFITS, why
from jobq.store.state import Add, Change, Jobs, Later, add_ops, snapshot, transaction
from jobq.store.view import View
from jobq.system import NETWORK_FILESYSTEMS, filesystem
from jobq.version import VERSION


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
        self.in_a_hurry: Callable[[], bool] = lambda: False  # whether not to wait for the lock any longer

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
                folder = self._make(folder, set(folder.names()) if folder is not None else set())
            self._folder = folder
            self._check_writable(folder)
            self._lock = StoreLock(folder, self._lock_timeout, lambda: self.in_a_hurry())  # noqa: PLW0108  # set later
        return folder

    def existing(self) -> Folder | None:
        """The directory, or None if there is none. Raises StoreForbidden."""
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

    def stay_in_place(self) -> bool:
        """Open the directory anew if another one is at the path, as from a backup; whether that was so.

        Raises StoreReplaced if that is another store, and OSError while there is none that can be read: it may come
        back, and nothing is made in its place.
        """
        if self._folder is None or os.path.samestat(os.stat(self.path), os.fstat(self._folder.fd)):
            return False
        other = Store(self.path)
        try:
            other.read()
        except StoreDamaged as e:  # it is being written, perhaps
            raise OSError(errno.EIO, str(e), self.path) from None
        finally:
            uuid = other.uuid
            other.close()
        if not uuid:
            raise FileNotFoundError(errno.ENOENT, "it holds no journal", self.path)
        if uuid != self.uuid:
            raise StoreReplaced(self.path)
        self.close()
        self.read()
        return True

    @property
    def loads(self) -> int:
        """How often the journal was read from its start, as is done again if a backup was restored."""
        return self._view.loads

    def _make(self, folder: Folder | None, names: set[str]) -> Folder:
        if names & {HINT, finished.FINISHED, Logs.NAME}:
            raise StoreDamaged(f"{self.path}/{JOURNAL}", 0, "the journal is missing")
        if strangers := {name for name in names - {StoreLock.NAME} if not _may_precede_journal(folder, name)}:
            raise StoreForbidden(
                f"{self.path} is not a jobq store, and not empty (it holds {min(strangers)})",
                "name a missing or empty directory with --store or JOBQ_STORE",
            )
        if folder is None:
            folder = Folder.create(self.path)
            folder.check_private()
        sync_parents(self.path)
        with StoreLock(folder, self._lock_timeout) as lock:
            if JOURNAL not in folder.names():
                header = Header(1, uuid.uuid4().hex, os.uname().nodename, VERSION, {})
                folder.write_new(JOURNAL, b"".join([header.encode(), *snapshot([], 0, 1, Failures(0), Later([], {}))]))
        lock.close()
        return folder

    def _check_writable(self, folder: Folder) -> Journal:
        journal = self._view.open(folder)
        if journal is None:
            raise StoreDamaged(f"{self.path}/{JOURNAL}", 0, "the journal is missing")
        if journal.header.min_writer > FORMAT:
            raise StoreTooNew(self.path, journal.header.min_writer, FORMAT, journal.header.version)
        return journal

    def close(self) -> None:
        """Release all descriptors."""
        self._view.forget()
        if self._lock is not None:
            self._lock.close()
        if self._folder is not None:
            self._folder.close()
        self._folder = self._lock = None

    # -- reading ---------------------------------------------------------------------------------

    def read(self) -> Jobs:
        """The jobs as last acknowledged; empty where there is no store yet.

        Usually that is all there is, and nothing is locked or written.
        Raises StoreDamaged, StoreTooNew, StoreForbidden.
        """
        folder = self.existing()
        if folder is None:
            return self.jobs
        try:
            is_all = self._view.catch_up(folder)
        except StoreDamaged:
            self._view.forget()  # perhaps a write under way was caught: look once more, from the start
            is_all = self._view.catch_up(folder)
        if not is_all and self.journal.writable:
            self._settle_tail_if_unlocked()
        return self.jobs

    def _settle_tail_if_unlocked(self) -> None:
        """Take in what lies behind the hint, if nobody is writing and the disk takes it; else do without it.

        Its writer is dead, or could not write the hint. Shown as it is, it might be lost in a power cut. Nobody is
        waited for, and where nothing can be written nothing is tried: there the hint is the end.
        """
        try:
            lock = self.lock
            if lock.held:
                return  # by ourselves: we are asked in the middle of a change
            lock.acquire(0.0)
            try:
                self._view.catch_up(self.root, locked=True, hint=self.settle_tail(cut=False))
            finally:
                lock.release()
        except (LockTimeout, NotSaved, StoreTooNew):
            pass

    @property
    def jobs(self) -> Jobs:
        """The jobs as last read."""
        return self._view.jobs

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
    def may_write(self) -> bool:
        """Whether this version may change the store that was read last; a later one may only let us read it."""
        return self.header is None or self.header.min_writer <= FORMAT

    def check_workers_place(self) -> str:
        """The type of the network filesystem that holds the store, "" for a local one.

        Raises StoreForbidden for a worker on another machine than the one that made it: locks may not hold there, and
        nobody can see from one machine what runs on another.
        """
        kind = filesystem(os.path.realpath(self.path))
        if kind not in NETWORK_FILESYSTEMS:
            return ""
        self.read()
        host = os.uname().nodename
        if self.header is not None and self.header.host != host:
            raise StoreForbidden(
                f"the store {self.path} is on a network filesystem ({kind}) and was made on {self.header.host}",
                f"start workers on {self.header.host}, or use a store of your own on a local disk of {host}",
            )
        return kind

    @property
    def journal_size(self) -> tuple[int, int]:
        """Bytes of the journal as far as it was read, and of its snapshot."""
        return self._view.offset, self._view.snapshot_end

    # -- finished jobs -----------------------------------------------------------------------------

    def find(self, job_id: int) -> Job | None:
        """The job of that id, finished long ago or not; call `read` first."""
        return self.find_all([job_id]).get(job_id)

    def find_all(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Those of these jobs that there are; one pass over the old files, if any is needed at all."""
        found = {job_id: self.jobs.by_id[job_id] for job_id in job_ids if job_id in self.jobs.by_id}
        old = {job_id for job_id in job_ids if job_id < self.jobs.next_id} - found.keys() - self.jobs.removed
        header = None
        while old and header is not self.header:  # again, if compaction has joined or removed files meanwhile
            header = self.header
            found.update(self.archive().find(old))
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def get(self, job_id: int) -> Job:
        """Like `find`. Raises NotFound."""
        job = self.find(job_id)
        if job is None:
            raise NotFound(str(job_id))
        return job

    def finished_jobs(self) -> Iterator[Job]:
        """All finished jobs, the last one first; reads no more than is asked for. Call `read` first."""
        recent = [job for job in self.jobs.by_id.values() if job.state.final]
        recent.sort(key=lambda job: (job.finished_at or 0.0, job.id), reverse=True)
        yield from recent
        for job in self.archive().newest_first():
            if job.id not in self.jobs.by_id and job.id not in self.jobs.removed:
                yield job

    def open_failures(self, most: int) -> tuple[int, list[Job]]:
        """How many failures nobody has dealt with, and the last of them, the newest first. Call `read` first."""
        jobs, archive = self.jobs, self.archive()
        here = sorted((job for job in jobs.by_id.values() if job.is_open_failure), key=_by_end, reverse=True)
        elsewhere = jobs.by_id.keys() | jobs.removed
        count, base = jobs.failures.count, jobs.failures.base
        if count is not None and base is not None:
            places = [place for place in reversed(base.last) if place.id not in elsewhere][: max(0, most - len(here))]
            found = [job for place in places if (job := archive.at(place)) is not None]
            if len(here) + len(found) >= min(most, count):
                return count, (here + found)[:most]
        base = archive.open_failures(elsewhere)  # the places that are known were dealt with: look for the others
        found = [job for place in reversed(base.last) if (job := archive.at(place)) is not None]
        return base.number + len(here), (here + found)[:most]

    def archive(self) -> finished.Archive:
        """The finished jobs that have left the journal, as its header knows them."""
        return finished.Archive(self._folder, self.header.finished if self.header else {}, self._is_kept)

    def _is_kept(self, day: str) -> bool:
        """Whether the file of that day ought to be there still: its retention may have ended since the last read."""
        self.read()
        return self.header is not None and day in self.header.finished

    # -- writing -----------------------------------------------------------------------------------

    def update(self, decide: Callable[[Jobs], Iterable[Change]], at: float, *, notify: bool = True) -> list[int]:
        """Carry out what `decide` returns, as one durable transaction; returns the ids of new jobs.

        `decide` is called under the lock with the jobs as they are: it must be quick, and must not write. If it is a
        generator, each change shows in the jobs before it is asked for the next.
        Raises NotSaved, LockTimeout, StoreDamaged, and whatever `decide` raises; then nothing has changed.
        """
        root = self.root
        if self.header is None:
            self.read()  # the long part, before anybody has to wait for us
        with self.lock:
            hint = self.settle_tail()
            self._view.catch_up(root, locked=True, hint=hint)
            first_id = self.jobs.next_id
            try:
                lines = self.jobs.carry_out(self._checked(root, decide(self.jobs)), at)
                if not lines:
                    return []
                data = b"".join(lines)
                self._append(hint, data, self.jobs.seq, self.jobs.next_id)
            except BaseException:
                self._view.forget()  # memory is ahead of the disk
                raise
            self._view.offset = hint.size + len(data)
            new_ids = list(range(first_id, self.jobs.next_id))
        if notify:
            presence.notify(root)
        return new_ids

    def enqueue(self, spec: Spec, commands: Sequence[Command], at: float) -> range:
        """New jobs, without reading the others: O(1) in what the store holds. Raises as `update`."""
        root = self.root
        with self.lock:
            try:
                hint = self.settle_tail()
                self._check_environment(root, spec)
                first = hint.next_id
                lines = transaction(list(add_ops(spec, commands, first)), hint.seq, at)
                self._append(hint, b"".join(lines), hint.seq + len(lines), first + len(commands))
            except BaseException:
                self._view.forget()  # perhaps a descriptor that can't be written to
                raise
        presence.notify(root)
        return range(first, first + len(commands))

    def read_settled(self) -> Jobs:
        """Like `read`, but beyond doubt: the tail of the journal is put in order first. Raises as `update`."""
        with self.lock:
            self._view.catch_up(self.root, locked=True, hint=self.settle_tail())
        return self.jobs

    @property
    def lock(self) -> StoreLock:
        """The write lock, for compaction and repair; `update`, `enqueue` and `read_settled` take it themselves."""
        assert self.root
        assert self._lock is not None
        return self._lock

    @property
    def journal(self) -> Journal:
        """The open journal, after `read` or `settle_tail`."""
        assert self._view.journal is not None
        return self._view.journal

    def _checked(self, root: Folder, changes: Iterable[Change]) -> Iterator[Change]:
        for change in changes:
            if isinstance(change, Add) or (isinstance(change, Job) and change.id not in self.jobs.by_id):
                self._check_environment(root, change.spec)
            yield change

    def _check_environment(self, root: Folder, spec: Spec) -> None:
        if not environment.make_durable(root, spec.env):
            raise EnvironmentGone(spec.env)

    def _append(self, hint: Hint, data: bytes, seq: int, next_id: int) -> None:
        self.journal.append(data, hint.size)
        write_hint(self.root, hint.after(hint.size + len(data), seq, next_id))

    def settle_tail(self, *, cut: bool = True) -> Hint:
        """Under the lock: make the journal end with its last acknowledged or whole transaction; a hint that says so.

        Without `cut`, what is torn behind that stays. Raises StoreDamaged, NotSaved, JournalMoved.
        """
        root = self.root
        if self._view.offset and not self.journal.is_current():
            self._view.catch_up(root, locked=True)
        journal = self._check_writable(root)
        hint = read_hint(root)
        if hint is not None and hint.generation == journal.header.generation:
            size = journal.size()
            if hint.size <= size and journal.read(hint.size - 1, hint.size) != b"\n":
                raise StoreDamaged(journal.path, hint.size - 1, "the last acknowledged line does not end")
            if hint.size == size:
                return hint
            if hint.size > size:
                raise StoreDamaged(journal.path, size, f"{hint.size - size} acknowledged bytes are missing")
            return self._settle_tail_behind(root, journal, hint, hint.size, cut=cut)
        try:
            # Whoever gave the journal its name may have died before he did this, or have been told that it failed.
            # Unlike bytes, a name that was not saved stays on the list of what is to be saved, or the disk has failed.
            os.fsync(root.fd)
        except OSError as e:
            raise NotSaved(journal.path, e) from None
        self._view.catch_up(root, locked=True)
        journal, jobs, snapshot_end = self.journal, self.jobs, self._view.snapshot_end
        hint = Hint(journal.header.generation, self._view.offset, jobs.seq, jobs.next_id, snapshot_end)
        return self._settle_tail_behind(root, journal, hint, snapshot_end, cut=cut)

    def _settle_tail_behind(self, root: Folder, journal: Journal, hint: Hint, synced: int, *, cut: bool) -> Hint:
        """Make whole transactions behind the hint durable, `cut` off the rest: nobody was told that it is saved.

        Up to `synced` they are durable already. If this fails, the hint stays as it is, and the next writer begins
        with it again; nobody builds on it before. What is whole is not cut off even then: after a power cut the hint
        may be late, and these the only traces of what was acknowledged.
        """
        size = journal.size()
        parsed = parse_lines(journal.read(hint.size, size), hint.size, hint.seq)
        if parsed.damage is not None:
            raise StoreDamaged(journal.path, *parsed.damage)
        try:
            ops = [op for line in parsed.lines for op in line["ops"]]
            next_id = max([hint.next_id, *(op["first"] + len(op["commands"]) for op in ops if op["op"] == "add")])
        except MISFITS as e:
            raise StoreDamaged(journal.path, hint.size, why(e)) from None
        if cut and parsed.end < size:
            try:
                os.ftruncate(journal.fd, parsed.end)
            except OSError as e:
                raise NotSaved(journal.path, e) from None
        if cut or parsed.end > synced:
            journal.renew(synced, parsed.end)
        hint = hint.after(parsed.end, parsed.seq, next_id)
        write_hint(root, hint)
        return hint

    # -- captured environments -------------------------------------------------------------------------

    def save_environment(self, environ: dict[str, str]) -> str:
        """The digest that a Spec names. Raises NotSaved."""
        return environment.save(self.root, environ)

    def load_environment(self, digest: str) -> dict[str, str]:
        """The inverse of `save_environment`. Raises StoreDamaged."""
        return environment.load(self.existing() or self.root, digest)

    def environment_path(self, digest: str) -> str:
        """The file that holds it."""
        return f"{self.path}/{environment.ENV}/{digest}.json"


def _may_precede_journal(folder: Folder | None, name: str) -> bool:
    """Return True for what a power cut in the first `jobq add` may have left without a journal.

    Directories reach some disks in any order: a captured environment may be there before the journal is.
    """
    if name.startswith(f".{JOURNAL}."):
        return True
    if name != environment.ENV or folder is None or (env := folder.existing(name)) is None:
        return False
    try:
        return all(environment.digest_in(entry) for entry in env.names())
    finally:
        env.close()


def _by_end(job: Job) -> tuple[float, int]:
    return (job.finished_at or 0.0, job.id)


class EnvironmentGone(JobqError):
    """The captured environment was cleaned away between its capture and the add: capture it again."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"the captured environment {digest[:12]} is gone", "repeat the command")
