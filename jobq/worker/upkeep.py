"""Compaction beside a worker's loop, in a thread: when it is due, or when the worker is idle.

The age of finished jobs is checked when the worker starts and exits, after it was busy, and every ten minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobq import clock
from jobq.errors import JobqError
from jobq.moment import Moment
from jobq.store import compaction, retention
from jobq.store.store import Store

PAUSE = 30.0  # seconds from a failed compaction to the next try
CHECK_AGES_EVERY = 600.0  # seconds between two checks of the age of finished jobs, unless something has changed


class Upkeep:
    """The compactions of one worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread: threading.Thread | None = None
        self._not_before = float("-inf")
        self._ages_checked_at = float("-inf")
        self._seq = -1  # of the journal at that check

    def look(self, now: Moment, *, idle: bool) -> None:
        """Begin a compaction if it is time. Raises NotSaved, LockTimeout, SyncFailed as `Store.read_settled` does."""
        if (self._thread is not None and self._thread.is_alive()) or now.boot < self._not_before:
            return
        due = compaction.is_due(self._store) or self._is_due_by_age(now, idle=idle)
        if due or (idle and compaction.is_worthwhile(self._store)):
            self._store.read_settled()
            known = compaction.Checkpoint.by(self._store)
            # A daemon: a worker that is in a hurry exits in the middle of it. For the files, that is like kill -9.
            thread = threading.Thread(target=self._compact, args=(now, known), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no room for a thread
                self._not_before = now.boot + PAUSE
            else:
                self._thread = thread

    def _is_due_by_age(self, now: Moment, *, idle: bool) -> bool:
        something_new = idle and self._store.state.seq != self._seq
        if not something_new and abs(now.boot - self._ages_checked_at) < CHECK_AGES_EVERY:
            return False
        due = retention.look(self._store, now)
        self._ages_checked_at, self._seq = now.boot, self._store.state.seq
        return due

    def _compact(self, now: Moment, known: compaction.Checkpoint | None) -> None:
        done = False
        try:
            done = compaction.compact(self._store.path, now, known=known)
        except (JobqError, OSError):
            pass  # the journal is unchanged
        finally:
            if not done:
                self._not_before = clock.now().boot + PAUSE

    def finish(self, in_a_hurry: Callable[[], bool]) -> None:
        """Wait for a running compaction, unless `in_a_hurry` returns True; then record the age of finished jobs."""
        while self._thread is not None and self._thread.is_alive():
            if in_a_hurry():
                return
            self._thread.join(0.1)
        try:
            retention.look(self._store, clock.now())  # the next worker goes on from here
        except (JobqError, OSError):
            pass
