"""Notes for people: which queues are paused, and which no worker serves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from jobq.errors import StoreError
from jobq.rules.serving import LiveWorker, paused_note, unserved_note
from jobq.views.console import advise

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from jobq.api import Queue


def warn_unserved(queue: Queue, names: Iterable[str], known: Collection[str] = ()) -> set[str]:
    """Print why no worker will run the waiting jobs of these queues, without the `known` reasons. Return all reasons.

    The change itself is done by now, so this never fails.
    """
    try:
        workers, pauses = queue.workers.all(), queue.queues.recorded_pauses()
    except (OSError, StoreError):
        return set(known)
    return advise_unserved(names, workers, pauses, known)


def advise_unserved(
    names: Iterable[str], workers: Sequence[LiveWorker], pauses: Mapping[str, str], known: Collection[str] = ()
) -> set[str]:
    """Print why none of these workers will run the waiting jobs of these queues, but for the `known` reasons."""
    reasons = {why for name in names for why in (paused_note(name, pauses), unserved_note(name, workers)) if why}
    for why in sorted(reasons - set(known)):
        advise(why)
    return reasons


def tell_pauses(pauses: Mapping[str, str]) -> set[str]:
    """Print which queues are paused, and return that."""
    notes = [paused_note(name, pauses) for name in pauses]
    for note in notes:
        advise(note)
    return set(notes)
