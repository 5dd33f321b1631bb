"""The failures that nobody has dealt with, counted one change at a time: looking costs the same whatever the history.

A failure is open until its job is requeued, removed or acknowledged. How many there are among the finished jobs, and
where the last of them lie, stands at the end of each snapshot; what has happened since is in the journal behind it.
A snapshot of an older version says nothing of it: until the next one is written, the finished jobs are counted.
"""

from __future__ import annotations

from typing import NamedTuple

from jobq.command import Record
from jobq.job import Job, State
from jobq.rules.lifecycle import Event

LAST = 20  # failures whose place is known


class Place(NamedTuple):
    """Where the record of a finished job lies in `finished/`."""

    id: int
    day: str
    offset: int


class Failures(NamedTuple):
    """Those among the finished jobs that have left the journal: how many, and the last of them, the newest last."""

    number: int
    last: tuple[Place, ...] = ()

    def record(self) -> Record:
        """As it stands in the snapshot."""
        return {"count": self.number, "last": self.last}

    @classmethod
    def of_record(cls, record: object) -> Failures | None:
        """The inverse; None for what is not there, or not understood."""
        match record:
            case {"count": int() as count, "last": list() as places} if count >= 0:
                read = [Place(*place) for place in places if isinstance(place, list) and len(place) == 3]
                if all((type(p.id), type(p.day), type(p.offset)) == (int, str, int) and p.offset >= 0 for p in read):
                    return cls(count, tuple(read[-LAST:]))
        return None


class Tally:
    """How many open failures there are: `base`, as of the snapshot (None: not known), and the changes behind it."""

    def __init__(self) -> None:
        self.base: Failures | None = Failures(0)
        self._changes: list[tuple[int, int]] = []  # seq of the line, how many more or less

    def note(self, seq: int, more: int) -> None:
        """The line `seq` has made so many failures more."""
        if more:
            self._changes.append((seq, more))

    def rebase(self, base: Failures | None, seq: int) -> None:
        """A snapshot, as of the line `seq`, says how many there were then."""
        self.base = base
        self._changes = [change for change in self._changes if change[0] > seq]

    @property
    def count(self) -> int | None:
        """How many there are now; None if the snapshot does not say."""
        if self.base is None:
            return None
        return max(0, self.base.number + sum(more for _, more in self._changes))

    @property
    def now(self) -> Failures | None:
        """All of them, with the places that the snapshot knows of; None if it does not say."""
        count = self.count
        return None if self.base is None or count is None else Failures(count, self.base.last)


def was_open(put_back: Job) -> bool:
    """Tell whether the job was an open failure until the one move for which it has come back from the finished ones."""
    steps = put_back.history
    if put_back.state is State.FAILED:
        return not put_back.is_open_failure  # just now: nothing else moves a failed job and leaves it failed
    if len(steps) < 2 or steps[-1].event != Event.REQUEUE:
        return False
    failed = steps[-2].event in {Event.FAIL, f"repaired as {State.FAILED}"}
    return failed and put_back.acknowledged < len(put_back.attempts)
