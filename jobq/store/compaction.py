"""Giving the journal a fresh start: finished jobs out to their day's file, unfinished ones into a snapshot.

The long part (reading, verifying, writing the snapshot) happens without the store's lock, up to an offset X; under the
lock only what was written since then is copied behind it, and the new file takes the place of the old. A crash at any
point leaves either the old journal or the new one; what was appended to `finished/` by a compaction that did not come
to its end does not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from jobq.errors import NotSaved
from jobq.job import Record
from jobq.store import environment, finished, workers
from jobq.store.folder import PRIVATE_FILE, Folder, write_all
from jobq.store.journal import JOURNAL, Header, parse_lines, write_hint
from jobq.store.lock import try_lock
from jobq.store.store import Store
from jobq.system import sync
from jobq.version import VERSION

NEXT = "journal.next"
COMPACT_LOCK = "compact.lock"
SLACK = 4 << 20  # bytes
KEEP_DAYS = 7


def is_due(store: Store) -> bool:
    """Whether the journal has outgrown its snapshot."""
    size, snapshot = store.journal_size
    return size > SLACK + 2 * snapshot


def is_day_over(store: Store, wall: float, keep_days: int = KEEP_DAYS) -> bool:
    """Whether a day of finished jobs has reached the end of its retention."""
    header = store.header
    return header is not None and any(day < _first_kept(wall, keep_days) for day in header.finished)


def _first_kept(wall: float, keep_days: int) -> str:
    return finished.day_of(wall - keep_days * 86400)


def compact(path: str, wall: float, *, keep_days: int = KEEP_DAYS, lock_timeout: float = 10.0) -> bool:
    """Write the next generation of the journal of the store at `path`; False if somebody else is at it, or in the way.

    Uses a view of its own: a worker may call it from a thread. Raises as `Store.update` does.
    """
    store = Store(path, lock_timeout=lock_timeout)
    try:
        store.read()
        if store.header is None:
            return False
        fd = store.root.file(COMPACT_LOCK, os.O_RDWR | os.O_CREAT)
        try:
            if not try_lock(fd):
                return False
            store.read()
            return _compact(store, wall, keep_days)
        finally:
            os.close(fd)
    finally:
        store.close()


def _compact(store: Store, wall: float, keep_days: int) -> bool:
    root, jobs, old = store.root, store.jobs, store.header
    assert old is not None
    upto, seq = store.journal_size[0], jobs.seq
    leaving = [job for job in jobs.by_id.values() if job.state.final]
    leaving.sort(key=lambda job: (job.finished_at or 0.0, job.id))
    sizes = finished.append(root, old.finished, leaving, jobs.removed, finished.day_of(wall))
    first_kept = _first_kept(wall, keep_days)
    kept = {day: size for day, size in sizes.items() if day >= first_kept}
    over = {day: size for day, size in sizes.items() if day < first_kept}
    header = Header(old.generation + 1, old.uuid, old.host, VERSION, kept)
    fd, snapshot_end = write_generation(root, header, jobs.snapshot())
    try:
        with store.lock:
            end = store.recover()
            tail = store.journal.read(upto, end.size)
            parsed = parse_lines(tail, upto, seq)
            if parsed.end != end.size or _touches(parsed.lines, {job.id for job in leaving}):
                return False  # a finished job was requeued or removed meanwhile: the next try will see it so
            try:
                write_all(fd, tail)
                sync(fd)
                os.rename(NEXT, JOURNAL, src_dir_fd=root.fd, dst_dir_fd=root.fd)
                os.fsync(root.fd)
            except OSError as e:
                raise NotSaved(f"{root.path}/{NEXT}", e) from None
            size = snapshot_end + len(tail)
            write_hint(root, end._replace(generation=header.generation, size=size, snapshot_end=snapshot_end))
    finally:
        os.close(fd)
    workers.ring(root)
    _forget_days(store, over)
    return True


def _touches(lines: Iterable[Record], ids: set[int]) -> bool:
    return any(op.get("id") in ids for line in lines for op in line["ops"])


def write_generation(root: Folder, header: Header, lines: Iterable[bytes]) -> tuple[int, int]:
    """A descriptor of the new file, synced, and its size. The caller holds the compaction lock."""
    try:
        try:
            os.unlink(NEXT, dir_fd=root.fd)
        except FileNotFoundError:
            pass
        fd = root.file(NEXT, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            os.fchmod(fd, PRIVATE_FILE)
            write_all(fd, header.encode())
            for line in lines:
                write_all(fd, line)
            sync(fd)
            return fd, os.fstat(fd).st_size
        except BaseException:
            os.close(fd)
            raise
    except OSError as e:
        raise NotSaved(f"{root.path}/{NEXT}", e) from None


def _forget_days(store: Store, days: dict[str, int]) -> None:
    """The retention of these days is over: their jobs, logs, and environments that nobody names any more."""
    if not days:
        return
    root = store.root
    store.read()
    for day, size in days.items():
        # Requeued since, or finished again on a later day: then they are still wanted.
        store.remove_logs({job_id for job_id in finished.ids(root, day, size) if store.find(job_id) is None})
        finished.forget(root, day)
    clean_environments(store)


def clean_environments(store: Store) -> None:
    """Remove the captured environments that no job names. Adders look again under the lock, so none is pulled away."""
    root = store.root
    header = store.header
    if header is None:
        return
    old = finished.environments(root, header.finished)
    with store.lock:
        store.recover()
        store.read()
        folder = root.existing(environment.ENV)
        if folder is None:
            return
        named = old | {job.spec.env for job in store.jobs.by_id.values()}
        for name in folder.names():
            if name.endswith(".json") and name[:-5] not in named:
                os.unlink(name, dir_fd=folder.fd)
        folder.close()
