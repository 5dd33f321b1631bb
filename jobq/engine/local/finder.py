"""Finding the attempts of dead workers on this machine, by the files and processes that their supervisors left."""

from __future__ import annotations

import os

from jobq.engine.local.evidence import STUCK_AFTER, SupervisorFiles, determine_ending, recorded_ending
from jobq.engine.task import Found, Trace
from jobq.supervisor.messages import cancel_order


class LocalFinder:
    """It holds the locks of dead supervisors until it is closed, so that no other process records the same endings."""

    def __init__(self, workers: str) -> None:
        """`workers` is the folder of all worker folders."""
        self._workers = workers
        self._locks: dict[SupervisorFiles, int | None] = {}

    def _files(self, trace: Trace) -> SupervisorFiles:
        return SupervisorFiles.named(self._workers, trace.attempt.supervisor)

    def find(self, trace: Trace, cancelled_for: float | None) -> Found:
        """Return what became of the attempt; kill what its dead supervisor left. Raises OSError.

        If a person has cancelled it, what can't be ended from here, or not for STUCK_AFTER seconds, is given up.
        """
        files = self._files(trace)
        if files not in self._locks:
            self._locks[files] = files.lock_if_dead()
        lock = self._locks[files]
        if lock is None:
            ending = recorded_ending(files.events(trace.key), trace.attempt)
            return Found(runs=ending is None, ending=ending)
        given_up = cancelled_for is not None and (lock < 0 or cancelled_for > STUCK_AFTER)
        return Found(ending=determine_ending(files, trace, lock, given_up=given_up))

    def cancel(self, trace: Trace) -> None:
        """Forward a cancel to the supervisor of a running attempt."""
        self._files(trace).order(cancel_order(*trace.key))

    def close(self) -> None:
        """Release the locks."""
        for lock in self._locks.values():
            if lock is not None and lock >= 0:
                os.close(lock)
        self._locks.clear()
