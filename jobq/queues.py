"""The settings of queues."""

from __future__ import annotations

import time

from jobq.command import Record
from jobq.moment import Due
from jobq.typed import NamedTuple

DAY = 72_000.0  # seconds, a little less: what ends so much later is shown with its date


class Pause(NamedTuple):
    """Nothing of a queue is started since `at` (wall clock), until it is resumed, or until then."""

    at: float
    reason: str = ""
    until: Due | None = None
    running: bool = False  # what runs is stopped meanwhile (SIGSTOP)

    def __str__(self) -> str:
        """Return the reason, and the time when it ends."""
        if self.until is None:
            return self.reason
        form = "%H:%M" if self.until.wall - self.at < DAY else "%Y-%m-%d %H:%M"
        ends = time.strftime(f"until {form}", time.localtime(self.until.wall))
        return f"{self.reason}, {ends}" if self.reason else ends


class QueueSettings(NamedTuple):
    """The settings of a queue; `name` None: for all queues."""

    name: str | None
    pause: Pause | None = None
    limit: int | None = None  # jobs that may run at once, over all workers
    capacity: int | None = None  # jobs that may wait
    extra: Record | None = None  # keys of later versions
