"""Keeping up with the store: the directory at its path, and what was written to it."""

from __future__ import annotations

import errno

from jobq.errors import StoreDamaged, StoreError
from jobq.exit_codes import TRY_AGAIN
from jobq.moment import Moment
from jobq.store.store import Store
from jobq.worker.context import Context
from jobq.worker.recovery import Recovery


class StoreReplaced(StoreError):
    """The store that this process has open is no longer the store at that path."""

    exit_code = TRY_AGAIN

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the store {path} was replaced by another one",
            "start the worker again; running jobs continue under their supervisors",
        )


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
        if follow(context.store):
            context.registration.root = context.store.root
            self._recovery.hurry()
        context.store.read()
        return float("inf")


def follow(store: Store) -> bool:
    """Open the directory anew if another one is at the path, as from a backup; return True if that was so.

    Raises StoreReplaced if that is another store, and OSError while there is none that can be read: it may come back,
    and nothing is made in its place.
    """
    if store.is_in_place():
        return False
    other = Store(store.path)
    try:
        other.read()
    except StoreDamaged as e:  # it is being written, perhaps
        raise OSError(errno.EIO, str(e), store.path) from None
    finally:
        uuid = other.uuid
        other.close()
    if not uuid:
        raise FileNotFoundError(errno.ENOENT, "it holds no journal", store.path)
    if uuid != store.uuid:
        raise StoreReplaced(store.path)
    store.close()
    store.read()
    return True
