"""The tail of the journal: what lies behind the hint when its writer has died, or could not write the hint.

Nobody builds on it before it is settled: whole transactions are made durable, a torn rest, of which nobody was told
that it is saved, is cut off.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from jobq.errors import LockTimeout, NotSaved, StoreDamaged, StoreTooNew
from jobq.store.folder import Folder
from jobq.store.format import FORMAT, JOURNAL
from jobq.store.hint import Hint, read_hint, write_hint
from jobq.store.journal import Journal, parse_lines
from jobq.store.lock import StoreLock
from jobq.store.operations import AddJobs
from jobq.store.records import MISFITS, why
from jobq.store.replay import operations_of
from jobq.store.view import View


def settle_tail(root: Folder, view: View, *, cut: bool = True) -> Hint:
    """Make the journal end with its last acknowledged or whole transaction; return a hint that says so.

    The caller holds the store's lock. Without `cut`, a torn rest stays. Raises StoreDamaged, NotSaved, JournalMoved,
    StoreTooNew.
    """
    if view.journal is not None and view.offset and not view.journal.is_current():
        view.catch_up(root, locked=True)
    journal = check_writable(root, view)
    hint = read_hint(root)
    if hint is not None and hint.generation == journal.header.generation:
        size = journal.size()
        if hint.size <= size and journal.read(hint.size - 1, hint.size) != b"\n":
            raise StoreDamaged(journal.path, hint.size - 1, "the last acknowledged line does not end")
        if hint.size == size:
            return hint
        if hint.size > size:
            raise StoreDamaged(journal.path, size, f"{hint.size - size} acknowledged bytes are missing")
        return _settle(root, journal, hint, hint.size, cut=cut)
    try:
        # The process that gave the journal its name may have died before this sync, or its sync may have failed.
        # Unlike bytes, a name that was not saved stays on the kernel's list, or the disk has failed.
        os.fsync(root.fd)
    except OSError as e:
        raise NotSaved(journal.path, e) from None
    view.catch_up(root, locked=True)
    state, snapshot_end = view.state, view.snapshot_end
    assert view.journal is not None
    hint = Hint(view.journal.header.generation, view.offset, state.seq, state.next_id, snapshot_end)
    return _settle(root, view.journal, hint, snapshot_end, cut=cut)


def take_in_settled(root: Folder, view: View, *, cut: bool) -> None:
    """Settle the tail, and let the view take in what it is then. Raises as `settle_tail`."""
    view.catch_up(root, locked=True, hint=settle_tail(root, view, cut=cut))


def check_writable(root: Folder, view: View) -> Journal:
    """Return the current journal, which this version may write to. Raises StoreDamaged, StoreTooNew."""
    journal = view.open(root)
    if journal is None:
        raise StoreDamaged(f"{root.path}/{JOURNAL}", 0, "the journal is missing")
    if journal.header.min_writer > FORMAT:
        raise StoreTooNew(root.path, journal.header.min_writer, FORMAT, journal.header.version)
    return journal


def settle_if_unlocked(root: Folder, view: View, lock_of: Callable[[Folder], StoreLock]) -> None:
    """Settle the tail, if no process is writing and the disk takes it; else do without what lies behind the hint.

    Nobody is waited for, and where nothing can be written nothing is tried: there the hint is the end.
    """
    try:
        check_writable(root, view)
        lock = lock_of(root)
        if lock.held:
            return  # by this process, in the middle of a change
        lock.acquire(0.0)
        try:
            take_in_settled(root, view, cut=False)
        finally:
            lock.release()
    except (LockTimeout, NotSaved, StoreTooNew):
        pass


def _settle(root: Folder, journal: Journal, hint: Hint, synced: int, *, cut: bool) -> Hint:
    """Make whole transactions behind the hint durable, and `cut` off the rest; return the new hint.

    Up to `synced` they are durable already. If this fails, the hint stays as it is, and the next writer begins with it
    again. A whole transaction is not cut off even then: after a power cut the hint may be late, and these lines the
    only traces of what was acknowledged.
    """
    size = journal.size()
    parsed = parse_lines(journal.read(hint.size, size), hint.size, hint.seq)
    if parsed.damage is not None:
        raise StoreDamaged(journal.path, *parsed.damage)
    try:
        ops = [op for line in parsed.lines for op in operations_of(line)]
    except MISFITS as e:
        raise StoreDamaged(journal.path, hint.size, why(e)) from None
    next_id = max([hint.next_id, *(op.next_id for op in ops if isinstance(op, AddJobs))])
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
