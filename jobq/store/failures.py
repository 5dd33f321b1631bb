"""The number of open failures, updated with each change, so that reading it costs the same for any history.

A failure is open until its job is requeued, removed or acknowledged. The end of each snapshot records the number of
open failures among the finished jobs, and the places of the last ones. Later changes are in the journal behind it.
Snapshots of older versions lack this record: until the next snapshot is written, the finished jobs are counted.
"""

from __future__ import annotations

from jobq.command import Record
from jobq.job import Job, State
from jobq.typed import NamedTuple

LAST = 20  # failures whose places are recorded


class Place(NamedTuple):
    """The place of a finished job's record in `finished/`."""

    id: int
    day: str
    offset: int  # bytes


class Failures(NamedTuple):
    """A number of open failures, and the places of the last ones that have left the journal, the newest last."""

    number: int
    last: tuple[Place, ...] = ()

    def record(self) -> Record:
        """Return the record for the end of a snapshot."""
        return {"count": self.number, "last": self.last}

    @classmethod
    def of_record(cls, record: object) -> Failures | None:
        """Read such a record; return None if it is missing or not understood."""
        match record:
            case {"count": int() as count, "last": list() as places} if count >= 0:
                read = [Place(*place) for place in places if isinstance(place, list) and len(place) == 3]
                if all((type(p.id), type(p.day), type(p.offset)) == (int, str, int) and p.offset >= 0 for p in read):
                    return cls(count, tuple(read[-LAST:]))
        return None


class Tally:
    """A counter of open failures: `base`, as of the snapshot (None: not known), and the changes since then."""

    def __init__(self) -> None:
        self.base: Failures | None = Failures(0)
        self._changes: list[tuple[int, int]] = []  # seq of the line, change of the number

    def note(self, seq: int, more: int) -> None:
        """Record that the line `seq` changed the number of open failures by `more`."""
        if more:
            self._changes.append((seq, more))

    def rebase(self, base: Failures | None, seq: int) -> None:
        """Start again from `base`, which a snapshot records as of the line `seq`."""
        self.base = base
        self._changes = [change for change in self._changes if change[0] > seq]

    @property
    def count(self) -> int | None:
        """The number of open failures now; None if the snapshot does not record it."""
        if self.base is None:
            return None
        return max(0, self.base.number + sum(more for _, more in self._changes))

    @property
    def now(self) -> Failures | None:
        """The number now, with the places that the snapshot records; None if it does not record them."""
        count = self.count
        return None if self.base is None or count is None else Failures(count, self.base.last)


def was_open(put_back: Job) -> bool:
    """Tell whether a job that is put back into the journal was an open failure before the move that put it back."""
    steps = put_back.history
    if put_back.state is State.FAILED:
        return not put_back.is_open_failure  # acknowledged by this move: no other leaves it failed
    from jobq.rules.lifecycle import Event  # noqa: PLC0415  # a list does without the rules of moves

    if len(steps) < 2 or steps[-1].event != Event.REQUEUE:
        return False
    failed = steps[-2].event in {Event.FAIL, f"repaired as {State.FAILED}"}
    return failed and put_back.acknowledged < len(put_back.attempts)
