"""What a person sets beside the jobs: queues and resources. Each change is one transaction."""

from __future__ import annotations

from jobq import clock
from jobq.errors import UsageError
from jobq.options.values import parse_name
from jobq.queues import Pause, QueueSettings
from jobq.rules.sharing import Shared
from jobq.store import pauses
from jobq.store.store import Store
from jobq.store.tables import SetQueue, SetResource
from jobq.store.upgrade import upgrading

MOST_REASON = 500  # characters: every list repeats it


class Queues:
    """The settings of the queues of one store. A queue needs none: it exists as soon as a job names it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pause(self, queue: str | None = None, reason: str = "") -> bool:
        """Start nothing of a queue (None: of any) until it is resumed; running jobs go on. Return False if it was so.

        Raises UsageError, NotSaved.
        """
        if len(reason) > MOST_REASON:
            raise UsageError(f"the reason has {len(reason)} characters; the limit is {MOST_REASON}", "shorten it")
        name = None if queue is None else parse_name(queue)
        return self._set_pause(name, Pause(clock.now().wall, reason))

    def resume(self, queue: str | None = None) -> bool:
        """Start jobs of the queue again; return False if it was not paused. Raises NotSaved."""
        return self._set_pause(queue, None)

    def pauses(self) -> dict[str, str]:
        """Return the reasons of the paused queues, by name; "*": all queues."""
        return self._store.read().pauses()

    def recorded_pauses(self) -> dict[str, str]:
        """Return the same from the note beside the journal, without reading that; it may be late or missing."""
        root = self._store.existing()
        return pauses.read_note(root) if root is not None else {}

    def _set_pause(self, queue: str | None, pause: Pause | None) -> bool:
        def set_it() -> bool:
            with self._store.transaction(clock.now().wall) as changes:
                before = changes.state.queues.get(queue, QueueSettings(queue))
                if before.pause == pause or (before.pause and pause and before.pause.reason == pause.reason):
                    pauses.write_note(self._store.root, changes.state.pauses())  # its last writer may have been killed
                    return False
                changes.record(SetQueue(before._replace(pause=pause)))
            return True

        return upgrading(self._store, set_it)


class Resources:
    """What the jobs of one store share: so much of each resource."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, name: str, count: int) -> None:
        """Set how much there is of a resource that jobs need (`needs`); 0: nothing. Raises UsageError, NotSaved."""
        name = parse_name(name)

        def set_it() -> None:
            with self._store.transaction(clock.now().wall) as changes:
                changes.record(SetResource(name, count))

        upgrading(self._store, set_it)

    def shared(self) -> Shared:
        """Return what there is of each resource, and which running jobs hold what of it and of locks."""
        return self._store.read().waiting.shared
