"""Changes that need a later format: the store is compacted into that format first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from jobq import clock
from jobq.errors import LockTimeout
from jobq.store import compaction
from jobq.store.store import Store
from jobq.store.transaction import FormatTooOld

COMPACTION_S = 10.0  # seconds to wait for the end of another compaction
T = TypeVar("T")


def upgrading(store: Store, change: Callable[[], T]) -> T:
    """Make the change; if the store is of too old a format, compact it and make the change again.

    Raises what `change` and `compaction.compact` do, and LockTimeout.
    """
    until = time.monotonic() + COMPACTION_S
    while True:
        try:
            return change()
        except FormatTooOld as e:
            if not compaction.compact(store.path, clock.now(), least_format=e.format):
                if time.monotonic() > until:
                    raise LockTimeout(f"{store.path}/{compaction.COMPACT_LOCK}", COMPACTION_S, "a compaction") from None
                time.sleep(0.05)
