"""Compaction of the journal: it moves finished jobs to the file of their day, and unfinished ones into a snapshot.

The long part (reading, verifying, writing the snapshot) runs without the store's lock, up to an offset X. Then, under
the lock, only the lines written since X are copied behind the snapshot, and the new file replaces the old one. A crash
at any point leaves either the old journal or the new one. Bytes that an interrupted compaction has appended to
`finished/` do not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

from jobq.command import Record
from jobq.errors import NotSaved
from jobq.job import Job
from jobq.moment import Moment
from jobq.rules.uniqueness import to_keep
from jobq.store import cleaning, filing, finished, presence
from jobq.store.contents import Tables
from jobq.store.failures import LAST, Failures, Place
from jobq.store.folder import PRIVATE_FILE, Folder, write_all
from jobq.store.format import BASE, HOOKS, JOB_OPTIONS, JOURNAL
from jobq.store.hint import Hint, write_hint
from jobq.store.journal import Header, parse_lines
from jobq.store.lock import try_lock
from jobq.store.records import MISFITS, format_of
from jobq.store.replay import operations_of
from jobq.store.retention import KEEP, Ages, ends_in
from jobq.store.snapshot import snapshot_lines
from jobq.store.state import Later
from jobq.store.store import Store
from jobq.system import sync
from jobq.typed import NamedTuple

NEXT = "journal.next"
COMPACT_LOCK = "compact.lock"
SLACK = 4 << 20  # bytes
MOST_FINISHED = 2000  # jobs in the journal, which every reader has to read past


def is_due(store: Store) -> bool:
    """Return True if the journal has outgrown its snapshot, or most of its jobs are finished."""
    size, snapshot = store.journal_size
    state = store.state
    is_long = size > SLACK + 2 * snapshot and 10 * state.moves > len(state.jobs)  # else it would hardly shrink
    return is_long or state.finished > MOST_FINISHED + 2 * (len(state.jobs) - state.finished)


def is_worthwhile(store: Store) -> bool:
    """Return True if an idle worker should compact: readers gain, and it takes no longer than the work before."""
    if store.state.removed and len(store.state.jobs) < 5 * MOST_FINISHED:
        return True  # the environments of removed jobs may hold secrets
    finished = store.state.finished
    return 20 * finished > MOST_FINISHED + 2 * (len(store.state.jobs) - finished)


class Checkpoint(NamedTuple):
    """A copy of the jobs at one point of the journal; a thread can use it while the store changes."""

    header: Header
    upto: int  # bytes
    seq: int
    next_id: int
    jobs: list[Job]
    removed: frozenset[int]
    failures: Failures | None  # all open ones, and the places of the last that have left the journal
    later: Later
    tables: Tables

    @classmethod
    def by(cls, store: Store) -> Checkpoint | None:
        """Copy what `store` has read, by `transaction` or `read_settled`. None if there is no journal yet."""
        state, header = store.state, store.header
        if header is None:
            return None
        return cls(
            header,
            store.journal_size[0],
            state.seq,
            state.next_id,
            list(state.jobs.values()),
            frozenset(state.removed),
            state.failures.now,
            state.later,
            Tables.of(state),
        )


def compact(
    path: str,
    now: Moment,
    *,
    known: Checkpoint | None = None,
    keep: float = KEEP,
    lock_timeout: float = 10.0,
    least_format: int = BASE,
) -> bool:
    """Write the next generation of the journal of the store at `path`; return True if it replaced the old one.

    It does not if there is no store yet, or if another process is compacting or has changed what was to be moved.
    `known`: from a caller that has the jobs in memory; a worker calls this from a thread. `keep`: for how many seconds
    finished jobs stay. Raises as `Store.update`.
    """
    store = Store(path, lock_timeout=lock_timeout)
    try:
        if known is None:
            store.read()
            if store.header is None:
                return False
        with compacting(store.root) as alone:
            if not alone:
                return False
            if known is None:
                store.read_settled()
                known = Checkpoint.by(store)
                assert known is not None
            else:
                with store.lock:
                    store.settle_tail()
                if store.journal.header != known.header:
                    return False
                store.journal.check_intact(known.upto)
            try:
                header = _compact(store, known, now, keep, least_format)
            finally:
                _clear_away(store.root, known.header)
            if header is not None and (cleaning.forget_old_days(store, header) or known.removed):
                cleaning.clean_environments(store, now.wall)
            return header is not None
    finally:
        store.close()


@contextmanager
def compacting(root: Folder) -> Iterator[bool]:
    """Lock out other compactions and repairs; yield False if one is already running. Raises NotSaved.

    As in `StoreLock`, other versions know only the lock of the file; the directory's lock holds if the file is deleted.
    """
    folder = root.sub(finished.FINISHED)
    try:
        fd = root.file(COMPACT_LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as e:
        folder.close()
        raise NotSaved(f"{root.path}/{COMPACT_LOCK}", e) from None
    try:
        yield try_lock(fd) and try_lock(folder.fd)
    finally:
        os.close(fd)
        folder.close()


def _compact(store: Store, known: Checkpoint, now: Moment, keep: float, least_format: int) -> Header | None:
    """Write the new generation and return its header; None if `known` is out of date."""
    root, old = store.root, known.header
    leaving = [job for job in known.jobs if job.state.final]
    leaving.sort(key=lambda job: (job.finished_at or 0.0, job.id))
    with store.lock:
        recorded = Ages.read(root)
    files = filing.Filing(finished.Archive(root, old.finished, lambda _day: True))
    sizes = files.append(leaving, known.removed, now.wall)
    ages = recorded.at(now, old.finished, ends_in(leaving))
    ages = ages.filed(sizes, filing.day_of(now.wall)).kept(keep)
    kept = {day: sizes[day] for day in ages.files}
    keys = [*(one for one in known.tables.keys if now.wall < one.until), *to_keep(leaving, now.wall)]
    tables = known.tables._replace(keys=keys)
    needs = max(least_format, least_format_of(known.jobs, tables), staying(old))
    header = old.followed_by(old.generation + 1, kept, needs)
    all_kept = kept.keys() == sizes.keys() >= old.finished.keys()  # no day was dropped or joined to another
    failures = _open_failures(root, known, files.new_failures, kept, all_kept=all_kept)
    lines = snapshot_lines(known.jobs, tables, known.seq, known.next_id, failures, known.later)
    fd, snapshot_end = write_generation(root, header, lines)
    try:
        with store.lock:
            end = store.settle_tail()
            if store.journal.header.generation != old.generation:
                return None
            tail = store.journal.read(known.upto, end.size)
            parsed = parse_lines(tail, known.upto, known.seq)
            moved = {job.id for job in leaving}
            if parsed.end != end.size or not _can_follow(parsed.lines, header, moved):
                return None
            try:
                write_all(fd, tail, snapshot_end)
                sync(fd)
                if not root.holds(NEXT, fd) or not store.journal.is_current():
                    return None  # another process has replaced one of these files
                os.rename(NEXT, JOURNAL, src_dir_fd=root.fd, dst_dir_fd=root.fd)
                os.fsync(root.fd)
            except OSError as e:
                raise NotSaved(f"{root.path}/{NEXT}", e) from None
            size = snapshot_end + len(tail)
            write_hint(root, Hint(header.generation, size, end.seq, end.next_id, snapshot_end))
            ages.write(root)
    finally:
        os.close(fd)
    presence.notify(root)
    return header


def least_format_of(jobs: Iterable[Job], tables: Tables) -> int:
    """Return the least format of a store that holds these, finished jobs aside."""
    specs = {id(job.spec): job.spec for job in jobs if not job.state.final}
    return max([tables.needs(), *map(format_of, specs.values())])


def staying(header: Header) -> int:
    """Return the least format that a store can't leave: its finished jobs may be requeued, with all they ask for."""
    return min(header.min_writer, HOOKS) if header.min_writer >= JOB_OPTIONS else BASE


def _can_follow(tail: list[Record], header: Header, moved: set[int]) -> bool:
    """Return True if these lines may stand behind a snapshot from which the `moved` jobs are gone.

    If a finished job was requeued or removed meanwhile, or an operation needs a later format, the next try sees that.
    """
    try:
        ops = [op for line in tail for op in operations_of(line)]
    except MISFITS:
        return False  # the next reader reports the damage
    return all(header.format >= op.needs() and moved.isdisjoint(op.job_ids()) for op in ops)


def _open_failures(
    root: Folder, known: Checkpoint, new: list[Place], kept: dict[str, int], *, all_kept: bool
) -> Failures:
    """Return the open failures among the finished jobs of the next generation; count them anew only if needed."""
    if known.failures is not None and all_kept:
        moved = known.removed | {job.id for job in known.jobs}
        last = (*(place for place in known.failures.last if place.id not in moved), *new)[-LAST:]
        if len(last) >= min(LAST, known.failures.number):
            return Failures(known.failures.number, last)
    waiting = {job.id for job in known.jobs if not job.state.final}  # requeued: their records there are out of date
    return finished.Archive(root, kept, lambda _day: True).open_failures(waiting)


def _clear_away(root: Folder, counted: Header) -> None:
    """Remove what a failed compaction has written: it must not keep a full disk full."""
    try:
        os.unlink(NEXT, dir_fd=root.fd)  # if it is there, it has not become the journal
    except OSError:
        return
    on_disk = filing.days_on_disk(root)
    days = [day for day, size in on_disk.items() if size > counted.finished.get(day, 0)]
    newest = max(counted.finished, default="")
    files = filing.Filing(finished.Archive(root, counted.finished, lambda _day: True))
    files.cut_back(day for day in days if day in counted.finished or day > newest)


def put_in_place(root: Folder, hint: Hint) -> None:
    """Let the new file replace the journal, under the store's lock. Raises NotSaved."""
    try:
        os.rename(NEXT, JOURNAL, src_dir_fd=root.fd, dst_dir_fd=root.fd)
        os.fsync(root.fd)
    except OSError as e:
        raise NotSaved(f"{root.path}/{JOURNAL}", e) from None
    write_hint(root, hint)


def write_generation(root: Folder, header: Header, lines: Iterable[bytes]) -> tuple[int, int]:
    """Write and sync the new file; return its descriptor and size. The caller holds `compacting`. Raises NotSaved."""
    try:
        try:
            os.unlink(NEXT, dir_fd=root.fd)
        except FileNotFoundError:
            pass
        fd = root.file(NEXT, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            os.fchmod(fd, PRIVATE_FILE)
            size = 0
            for line in chain([header.encode()], lines):
                write_all(fd, line, size)
                size += len(line)
            sync(fd)
        except BaseException:
            os.close(fd)
            raise
    except OSError as e:
        raise NotSaved(f"{root.path}/{NEXT}", e) from None
    return fd, size
