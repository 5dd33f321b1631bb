"""Notes for people: which queues are paused, and which no worker serves."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jobq.api import Queue
from jobq.errors import StoreError
from jobq.rules.serving import paused_note, unserved_note
from jobq.views.console import advise


def warn_unserved(queue: Queue, names: Iterable[str], known: Collection[str] = ()) -> set[str]:
    """Print why no worker will run the waiting jobs of these queues, without the `known` reasons. Return all reasons.

    The change itself is done by now, so this never fails.
    """
    try:
        workers, pauses = queue.workers.all(), queue.queues.recorded_pauses()
    except (OSError, StoreError):
        return set(known)
    reasons = {why for name in names for why in (paused_note(name, pauses), unserved_note(name, workers)) if why}
    for why in sorted(reasons - set(known)):
        advise(why)
    return reasons


def tell_pauses(queue: Queue) -> set[str]:
    """Print which queues are paused, and return that. The jobs were read just now."""
    pauses = queue.queues.pauses()
    notes = [paused_note(name, pauses) for name in pauses]
    for note in notes:
        advise(note)
    return set(notes)
