"""Changes that have to be made again: in a later format, or with an environment that is captured anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from jobq import clock
from jobq.errors import LockTimeout
from jobq.store import compaction
from jobq.store.environment import EnvironmentGone
from jobq.store.store import Store
from jobq.store.transaction import FormatTooOld

COMPACTION_S = 10.0  # seconds to wait for the end of another compaction
TRIES = 10  # of a change whose environment another process removes meanwhile
T = TypeVar("T")


def recapturing(change: Callable[[], T]) -> T:
    """Make a change that captures an environment; again, if that is removed before a job names it.

    Raises what `change` does.
    """
    for _ in range(TRIES):
        try:
            return change()
        except EnvironmentGone:
            continue
    return change()


def upgrading(store: Store, change: Callable[[], T]) -> T:
    """Make the change; if the store is of too old a format, compact it and make the change again.

    Raises what `change` and `compaction.compact` do, and LockTimeout.
    """
    until = time.monotonic() + COMPACTION_S
    while True:
        try:
            return change()
        except FormatTooOld as e:
            if not compaction.compact(store.path, clock.now(), least_format=e.format, keep=float("inf")):
                if time.monotonic() > until:
                    raise LockTimeout(f"{store.path}/{compaction.COMPACT_LOCK}", COMPACTION_S, "a compaction") from None
                time.sleep(0.05)
