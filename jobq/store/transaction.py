"""One transaction: changes that are decided under the lock, and become durable together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jobq.command import Command, Record
from jobq.errors import JobqError
from jobq.job import Job, Spec
from jobq.rules.consequences import consequences
from jobq.store.journal import encode_line
from jobq.store.operations import AddJobs, Move, Operation, PutJob, RemoveJob
from jobq.store.state import StoreState
from jobq.store.writer import transaction_lines


class Add(NamedTuple):
    """New jobs of one spec; their ids are given out in this order when they are stored."""

    spec: Spec
    commands: Sequence[Command]


class FormatTooOld(JobqError):
    """The store has to be compacted into a later format before it can hold this operation."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(f"the store can't hold such a {operation.KIND} yet", "try again")
        self.format = operation.needs()


def check_format(operation: Operation, store_format: int) -> None:
    """Raise FormatTooOld if a store of this format can't hold the operation."""
    if store_format < operation.needs():
        raise FormatTooOld(operation)


class Transaction:
    """The changes so far. Each shows in `state` at once; whoever reads the store sees all of them, later, or none."""

    def __init__(
        self, state: StoreState, at: float, store_format: int, require_environment: Callable[[str], None]
    ) -> None:
        """`at`: wall clock of the changes; `require_environment` raises if the environment of this digest is gone."""
        self.state = state
        self._at = at
        self._format = store_format
        self._require_environment = require_environment
        self._seq = state.seq + 1
        self._ops: list[tuple[Record, int]] = []

    def __bool__(self) -> bool:
        """True once there is something to write."""
        return bool(self._ops)

    def put(self, job: Job) -> None:
        """Move a job to this value, with all that follows from it.

        Raises ValueError if what was asked for differs: that is for `edit`.
        """
        before = self.state.jobs.get(job.id)
        if before is None:
            self._require_environment(job.spec.env)
            self._note(PutJob(job))
        else:
            if job.command is not before.command or (job.spec is not before.spec and job.spec != before.spec):
                raise ValueError(f"job {job.id} can't be moved and edited at once")
            self._note(Move.of(before, job))
        self.state.put(job, self._seq, is_back=before is None)
        for more in consequences(self.state, before, job):
            self.put(more)

    def edit(self, job: Job) -> None:
        """Replace a job as a whole, with the options and the command that it has now."""
        before = self.state.jobs.get(job.id)
        if before is None or before.spec.env != job.spec.env:
            self._require_environment(job.spec.env)
        self.record(PutJob(job))

    def add(self, new: Add) -> range:
        """Add jobs; return their ids."""
        self._require_environment(new.spec.env)
        whole = AddJobs(self.state.next_id, self.state.shared(new.spec), new.commands)
        for part in whole.parts():
            self._note(part)
        return self.state.add(whole.first, whole.spec, whole.commands, self._at)

    def remove(self, job_id: int, *, open_failure: bool = False) -> None:
        """Forget a job; `open_failure`: it is one."""
        self.record(RemoveJob(job_id, open_failure=open_failure and job_id not in self.state.jobs))

    def record(self, operation: Operation) -> None:
        """Make any other change. Raises FormatTooOld."""
        self._note(operation)
        operation.apply(self.state, self._seq, self._at)

    def _note(self, operation: Operation) -> None:
        check_format(operation, self._format)
        self._ops.append((operation.encode(), operation.weight()))

    def lines(self) -> list[bytes]:
        """Return the lines of the journal that say it."""
        return transaction_lines(self._ops, self.state.seq, self._at, encode_line)
