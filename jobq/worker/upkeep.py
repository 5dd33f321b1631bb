"""Compaction beside a worker's loop, in a thread: when it is due, or when the worker is idle.

The retention of finished jobs is checked when the worker starts and exits, after it was busy, and every ten minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobq import clock
from jobq.errors import JobqError, SyncFailed
from jobq.moment import Moment
from jobq.store import cleaning, compaction, retention
from jobq.store.retention import Retention
from jobq.store.store import Store

PAUSE = 30.0  # seconds from a failed compaction to the next try
CHECK_EVERY = 600.0  # seconds between two checks of the retention, unless something has changed


class Upkeep:
    """The compactions of one worker."""

    def __init__(self, store: Store, keep: Callable[[], Retention] = Retention) -> None:
        """`keep` returns what is kept of finished jobs, as the settings say now."""
        self._store = store
        self._read_retention = keep
        self._keep = Retention(seconds=float("inf"))  # nothing is removed as long as the settings can't be read
        self._thinned_at = float("-inf")
        self._sync_failed: SyncFailed | None = None
        self._thread: threading.Thread | None = None
        self._not_before = float("-inf")
        self._checked_at = float("-inf")
        self._seq = -1  # of the journal at that check

    def look(self, now: Moment, *, idle: bool) -> None:
        """Begin a compaction if it is time. Raises NotSaved, LockTimeout, SyncFailed as `Store.read_settled` does."""
        if self._sync_failed is not None:
            raise self._sync_failed  # of the thread: the worker ends, as after one of its own
        if (self._thread is not None and self._thread.is_alive()) or now.boot < self._not_before:
            return
        by_age = self._is_check_due(now, idle=idle) and self._is_due_by_age(now)
        if by_age or compaction.is_due(self._store) or (idle and compaction.is_worthwhile(self._store)):
            self._store.read_settled()
            known = compaction.Checkpoint.by(self._store)
            self._start(now, lambda: self._compact(now, known))
        elif self._keep.has_limits and now.boot >= self._thinned_at + CHECK_EVERY:
            self._start(now, lambda: self._thin_out(now))

    def _start(self, now: Moment, work: Callable[[], None]) -> None:
        # A daemon: a worker that is in a hurry exits in the middle of it. For the files, that is like kill -9.
        thread = threading.Thread(target=work, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no room for a thread
            self._not_before = now.boot + PAUSE
        else:
            self._thread = thread

    def _is_check_due(self, now: Moment, *, idle: bool) -> bool:
        something_new = idle and self._store.state.seq != self._seq
        return something_new or abs(now.boot - self._checked_at) >= CHECK_EVERY

    def _is_due_by_age(self, now: Moment) -> bool:
        due = self._record_ages(now)
        self._checked_at, self._seq = now.boot, self._store.state.seq
        return due

    def _record_ages(self, now: Moment) -> bool:
        try:
            self._keep = self._read_retention()
        except JobqError:
            pass  # the settings are being edited, perhaps: what they said before holds
        return retention.look(self._store, now, self._keep.seconds)

    def _compact(self, now: Moment, known: compaction.Checkpoint | None) -> None:
        done = False
        try:
            done = compaction.compact(self._store.path, now, known=known, keep=self._keep.seconds)
        except (JobqError, OSError):
            pass  # the journal is unchanged
        finally:
            if not done:
                self._not_before = clock.now().boot + PAUSE
        if self._keep.has_limits and now.boot >= self._thinned_at + CHECK_EVERY:
            self._thin_out(now)

    def _thin_out(self, now: Moment, store: Store | None = None) -> None:
        """Remove the oldest finished jobs, and the oldest output, of which there is more than the settings keep.

        `store`: of this thread; None: it opens one, which takes long if there are many jobs.
        """
        self._thinned_at = now.boot
        try:
            cleaning.thin_out(store or Store(self._store.path), self._keep, now.wall)
        except SyncFailed as e:
            self._sync_failed = e
        except (JobqError, OSError):
            pass  # the next check tries again

    def finish(self, in_a_hurry: Callable[[], bool]) -> None:
        """Wait for a running compaction, unless `in_a_hurry` returns True; then check the retention."""
        while self._thread is not None and self._thread.is_alive():
            if in_a_hurry():
                return
            self._thread.join(0.1)
        now = clock.now()
        try:
            self._record_ages(now)  # the next worker goes on from here
        except (JobqError, OSError):
            return
        if self._keep.has_limits:
            self._thin_out(now, self._store)
