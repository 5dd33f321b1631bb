"""Keeping up with the store: the directory at its path, and what was written to it."""

from __future__ import annotations

from jobq.job import Moment
from jobq.worker.context import Context
from jobq.worker.recovery import Recovery


class Housekeeping:
    """The first duty of each step: all others rely on what it has read."""

    def __init__(self, context: Context, recovery: Recovery) -> None:
        self._context = context
        self._recovery = recovery

    def step(self, now: Moment) -> float:
        """Follow a store that was replaced by its backup, and read it. Raises OSError, StoreError."""
        context = self._context
        if now.boot >= context.paused_until:
            context.hindrance = ""
        if context.store.stay_in_place():
            context.registration.root = context.store.root
            self._recovery.hurry()
        context.store.read()
        return float("inf")
