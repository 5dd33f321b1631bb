"""The duty to obey the orders of other processes: to use so many slots, or to stop."""

from __future__ import annotations

from jobq.moment import Moment
from jobq.store import presence
from jobq.worker.claiming import Claiming
from jobq.worker.context import Context


class Orders:
    """Obeys what stands in the worker's folder; whoever writes there wakes the worker."""

    def __init__(self, context: Context, claiming: Claiming, slots: int) -> None:
        self.slots = slots
        self._context = context
        self._claiming = claiming

    def step(self, now: Moment) -> float:  # noqa: ARG002
        """Look for orders. Raises OSError."""
        context = self._context
        if not context.registration.was_woken:
            return float("inf")
        root, token = context.store.root, context.token
        slots = presence.ordered(root, token, presence.SLOTS)
        if isinstance(slots, int) and slots > 0 and slots != self.slots:
            context.registration.record_slots(slots)
            self._claiming.resize(slots)
            context.runner.narrow(slots)
            self.slots = slots
        stop = presence.ordered(root, token, presence.STOP)
        if stop is not None and context.signals is not None and not context.signals.count:
            context.signals.ask(hand_back=stop == presence.HAND_BACK)
        context.registration.was_woken = False
        return float("inf")
