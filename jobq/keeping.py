"""The care for the store itself: made, examined, measured, repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobq import clock
from jobq.store.place import hide_from_git
from jobq.store.store import Store
from jobq.store.usage import Usage, usage_of

if TYPE_CHECKING:
    from jobq.store.check import Health
    from jobq.store.repair import Loss


class Keeping:
    """The part of a `Queue` that cares for its store."""

    @property
    def _store(self) -> Store:
        raise NotImplementedError

    def create(self) -> None:
        """Make the store, if there is none, in a directory that git ignores. Raises NotSaved, StoreForbidden."""
        hide_from_git(self._store.root)

    def health(self) -> Health:
        """Check everything that must hold of the store. Raises StoreDamaged where reading can't go on."""
        from jobq.store.check import examine  # noqa: PLC0415  # only `doctor` needs it

        return examine(self._store)

    def usage(self) -> Usage:
        """Return how much room the store takes on the disk, and what for."""
        return usage_of(self._store.path)

    def repair(self) -> Loss:
        """Put a store made of everything readable in the place of a damaged one. Raises as `repair.repair`."""
        from jobq.store.repair import repair  # noqa: PLC0415

        return repair(self._store, clock.now().wall)
