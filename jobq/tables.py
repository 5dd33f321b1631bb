"""Queues and resources as a person sets them. Each change is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack

from jobq import clock
from jobq.errors import UsageError
from jobq.moment import Due
from jobq.options.values import parse_name
from jobq.queues import Pause, QueueSettings
from jobq.rules.sharing import Shared, variable_of
from jobq.settings.keys import ROWS
from jobq.store import pauses
from jobq.store.store import Store
from jobq.store.tables import SetQueue, SetResource
from jobq.store.upgrade import upgrading

MOST_REASON = 500  # characters: every list repeats it


class Numbers(TypedDict, total=False):
    """The numbers of a queue; None: no limit."""

    limit: int | None
    capacity: int | None


class Queues:
    """The settings of the queues of one store. A queue needs none: it exists as soon as a job names it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, QueueSettings]:
        """Return the settings of the queues that have some, by name."""
        return {name: settings for name, settings in self._store.read().queues.items() if name is not None}

    def set(self, queue: str, **numbers: Unpack[Numbers]) -> QueueSettings:
        """Set `limit`, the jobs that may run at once, or `capacity`, those that may wait; None: as many as there are.

        Return all settings of the queue. Raises UsageError, NotSaved.
        """
        name = parse_name(queue)
        return self._change(name, lambda before: before._replace(**numbers))[1]

    def remove(self, queue: str) -> bool:
        """Forget all settings of a queue; its jobs stay. Return False if there were none. Raises NotSaved."""
        before, after = self._change(queue, lambda before: QueueSettings(before.name))
        return before != after

    def pause(
        self, queue: str | None = None, reason: str = "", seconds: float | None = None, *, running: bool = False
    ) -> bool:
        """Start nothing of a queue (None: of any) until it is resumed, or for so long; running jobs go on.

        `running`: they are stopped meanwhile. Return False if it was so. Raises UsageError, NotSaved.
        """
        if len(reason) > MOST_REASON:
            raise UsageError(f"the reason has {len(reason)} characters; the limit is {MOST_REASON}", "shorten it")
        name = None if queue is None else parse_name(queue)
        now = clock.now()
        until = None if seconds is None else Due.after(now, seconds)
        return self._set_pause(name, Pause(now.wall, reason, until, running))

    def stopped(self) -> frozenset[str]:
        """Return the paused queues of which the running jobs are stopped meanwhile ("*": all)."""
        return self._store.read().stopped()

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
        def paused(before: QueueSettings) -> QueueSettings:
            is_same = before.pause is not None and pause is not None and before.pause[1:] == pause[1:]
            return before if is_same else before._replace(pause=pause)

        before, after = self._change(queue, paused)
        return before != after

    def _change(
        self, queue: str | None, change: Callable[[QueueSettings], QueueSettings]
    ) -> tuple[QueueSettings, QueueSettings]:
        """Change the settings of a queue; return those before and after."""

        def set_it() -> tuple[QueueSettings, QueueSettings]:
            with self._store.transaction(clock.now().wall) as changes:
                before = changes.state.queues.get(queue, QueueSettings(queue))
                after = change(before)
                if after == before:
                    pauses.write_note(self._store.root, changes.state.pauses())  # its last writer may have been killed
                else:
                    changes.record(SetQueue(after))
            return before, after

        return upgrading(self._store, set_it)


class Resources:
    """The resources that the jobs of one store share: so much of each."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, name: str, count: int) -> None:
        """Set how much there is of a resource that jobs need (`needs`); 0: nothing. Raises UsageError, NotSaved."""
        name = parse_name(name)
        variable = variable_of(name)
        if count and variable in {"JOBQ_CONFIG", "JOBQ_DEBUG", "JOBQ_TRACE_FRAMES", *(row.variable for row in ROWS)}:
            raise UsageError(f"no resource can be named {name}: {variable} is a setting of jobq", "choose another name")

        def set_it() -> None:
            with self._store.transaction(clock.now().wall) as changes:
                changes.record(SetResource(name, count))

        upgrading(self._store, set_it)

    def shared(self) -> Shared:
        """Return what there is of each resource, and which running jobs hold what of it and of locks."""
        return self._store.read().waiting.shared
