"""The duty to end the pauses whose time is over."""

from __future__ import annotations

from jobq.moment import Moment
from jobq.queues import QueueSettings
from jobq.store.tables import SetQueue
from jobq.worker.context import Context


class Resuming:
    """Ends pauses, for every worker."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self, now: Moment) -> float:
        """Resume the queues whose pause is over. Raises OSError, StoreError."""
        store = self._context.store
        left = [wait for settings in store.state.queues.values() if (wait := _left(settings, now)) is not None]
        if any(wait <= 0 for wait in left):
            with store.transaction(now.wall) as changes:
                for settings in list(changes.state.queues.values()):
                    wait = _left(settings, now)
                    if wait is not None and wait <= 0:
                        changes.record(SetQueue(settings._replace(pause=None)))
        return min((wait for wait in left if wait > 0), default=float("inf"))


def _left(settings: QueueSettings, now: Moment) -> float | None:
    """Return the seconds until the pause ends by itself, None if it does not."""
    if settings.pause is None or settings.pause.until is None:
        return None
    return settings.pause.until.wait(now, settings.pause.until.wall - settings.pause.at)
