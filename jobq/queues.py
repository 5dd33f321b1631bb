"""The settings of queues."""

from __future__ import annotations

from typing import NamedTuple

from jobq.command import Record


class Pause(NamedTuple):
    """Nothing of a queue is started since `at` (wall clock), until it is resumed."""

    at: float
    reason: str = ""


class QueueSettings(NamedTuple):
    """The settings of a queue; `name` None: for all queues."""

    name: str | None
    pause: Pause | None = None
    extra: Record | None = None  # keys of later versions
