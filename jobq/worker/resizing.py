"""The duty to use as many slots as a person asks for meanwhile."""

from __future__ import annotations

from jobq.moment import Moment
from jobq.store import presence
from jobq.worker.claiming import Claiming
from jobq.worker.context import Context


class Resizing:
    """Changes the number of slots; jobs that run go on."""

    def __init__(self, context: Context, claiming: Claiming, slots: int) -> None:
        self.slots = slots
        self._context = context
        self._claiming = claiming

    def step(self, now: Moment) -> float:  # noqa: ARG002
        """Look whether a number was asked for. Raises OSError."""
        if not self._context.registration.was_woken:
            return float("inf")
        self._context.registration.was_woken = False
        wanted = presence.ordered_slots(self._context.store.root, self._context.token)
        if wanted is not None and wanted != self.slots:
            self._context.registration.record_slots(wanted)
            self._claiming.resize(wanted)
            self._context.runner.narrow(wanted)
            self.slots = wanted
        return float("inf")
