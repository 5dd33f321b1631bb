"""The operations of a transaction line: one small class each, which reads, writes and applies it.

    {"op":"add","first":7,"spec":{...},"commands":[...]}      jobs 7, 8, ... of one shared spec
    {"op":"move","id":7,"steps":[[event,at]],"job":{...},"attempts":[...]}
                                                              the whole changing part, and the attempts it touched
    {"op":"put","job":{...}}                                  the whole job: one that had left the journal is back, or
                                                              what was asked for was edited
    {"op":"remove","id":7}                                    "failure":true: an open one that had left the journal

Others are in tables.py. To add one: a class, with a row in `replay.OPERATIONS`. If older versions must not ignore it,
say so in `needs` (format.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jobq.command import BadRecord, Command, Record, from_record, stored_size, to_record
from jobq.job import Attempt, Job, Spec, Step
from jobq.store.format import BASE
from jobq.store.records import (
    ID,
    apply_changing,
    attempt_record,
    changing_record,
    format_of,
    job_record,
    read_attempt,
    read_history,
    read_job,
    read_spec,
    spec_record,
)
from jobq.store.state import StoreState
from jobq.store.writer import LINE_BYTES
from jobq.typed import Protocol

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import ClassVar, Self


class Operation(Protocol):
    """One change, as a line of the journal holds it."""

    KIND: ClassVar[str]

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord, or one of records.MISFITS."""

    def encode(self) -> Record:
        """Return the record."""

    def apply(self, state: StoreState, seq: int, at: float) -> None:
        """Make the change, as of the line `seq`, written at `at` (wall clock). Raises BadRecord."""

    def job_ids(self) -> Iterable[int]:
        """Return the ids of the jobs that it changes, new ones aside."""
        return ()

    def weight(self) -> int:
        """Return about how many bytes it takes on a line; LINE_BYTES: it gets a line of its own."""
        return 1024

    def needs(self) -> int:
        """Return the least format of a store that holds it."""
        return BASE


class AddJobs(Operation):
    """New jobs of one spec, with ids from `first` on."""

    KIND: ClassVar[str] = "add"

    def __init__(self, first: int, spec: Spec, commands: Sequence[Command]) -> None:
        self.first = first
        self.spec = spec
        self.commands = commands

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord."""
        match record:
            case {"first": first, "spec": spec, "commands": list() as commands} if ID.allows(first):
                return cls(first, read_spec(spec), [from_record(command) for command in commands])
        raise BadRecord(f"an add can't be {record!r:.60}")

    def encode(self) -> Record:
        """Return the record."""
        spec, commands = spec_record(self.spec), [*map(to_record, self.commands)]
        return {"op": self.KIND, "first": self.first, "spec": spec, "commands": commands}

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Add the jobs. Raises BadRecord if their ids were given out before."""
        state.add(self.first, state.shared(self.spec), self.commands, at)

    def weight(self) -> int:
        """Return that it gets a line of its own."""
        return LINE_BYTES

    def needs(self) -> int:
        """Return the least format that its options need."""
        return format_of(self.spec)

    @property
    def next_id(self) -> int:
        """The id behind the last one."""
        return self.first + len(self.commands)

    def parts(self) -> Iterator[AddJobs]:
        """Yield the same in parts, each small enough for a line."""
        start, size = 0, 0
        for i, command in enumerate(self.commands):
            size += stored_size(command)
            if size > LINE_BYTES and i > start:
                yield AddJobs(self.first + start, self.spec, self.commands[start:i])
                start, size = i, stored_size(command)
        if start < len(self.commands):
            yield AddJobs(self.first + start, self.spec, self.commands[start:])


class Move(Operation):
    """The changing part of a job as it is now, and what is new of its history and its attempts; as records."""

    KIND: ClassVar[str] = "move"

    def __init__(self, job_id: int, steps: object, changing: object, attempts: Sequence[object] = ()) -> None:
        self.id = job_id
        self.steps = steps
        self.changing = changing
        self.attempts = attempts

    @classmethod
    def of(cls, before: Job, after: Job) -> Self:
        """Return the move from one value of a job to another. Raises ValueError if it does not build on the first."""
        if after.state is not before.state and len(after.history) <= len(before.history):
            raise ValueError(f"job {before.id} is {before.state} by now: it can't become {after.state} like this")
        known = before.attempts
        touched = [a for i, a in enumerate(after.attempts) if i >= len(known) or a is not known[i]]
        attempts = [attempt_record(attempt) for attempt in touched]
        return cls(after.id, list(after.history[len(before.history) :]), changing_record(after), attempts)

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record; its parts are read when it is applied. Raises BadRecord."""
        match record:
            case {"id": job_id, "steps": steps, "job": changing} if ID.allows(job_id):
                attempts = record.get("attempts", ())
                if not isinstance(attempts, (list, tuple)):
                    raise BadRecord(f"attempts can't be {attempts!r:.60}")
                return cls(job_id, steps, changing, attempts)
        raise BadRecord(f"a move can't be {record!r:.60}")

    def encode(self) -> Record:
        """Return the record."""
        record: Record = {"op": self.KIND, "id": self.id, "steps": self.steps, "job": self.changing}
        if self.attempts:
            record["attempts"] = self.attempts
        return record

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Move the job. Raises BadRecord if there is none."""
        job = state.jobs.get(self.id)
        if job is None:
            raise BadRecord(f"job {self.id} moves, but there is none")
        attempts = merged(job.attempts, self.attempts)
        history: tuple[Step, ...] = (*job.history, *read_history(self.steps))
        state.put(apply_changing(job, self.changing, attempts, history), seq)

    def job_ids(self) -> Iterable[int]:
        """Return the id."""
        return (self.id,)

    def weight(self) -> int:
        """Return about how many bytes it takes."""
        return 1024 * (1 + 2 * len(self.attempts))


class PutJob(Operation):
    """A whole job: one that had left the journal, or one whose options were edited."""

    KIND: ClassVar[str] = "put"

    def __init__(self, job: Job) -> None:
        self.job = job

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord."""
        return cls(read_job(record["job"]))

    def encode(self) -> Record:
        """Return the record."""
        return {"op": self.KIND, "job": job_record(self.job)}

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Put the job. Raises BadRecord if its id was never given out."""
        if not 0 < self.job.id < state.next_id:
            raise BadRecord(f"id {self.job.id} was never given out")
        job = self.job._replace(spec=state.shared(self.job.spec))
        state.put(job, seq, is_back=job.id not in state.jobs)

    def job_ids(self) -> Iterable[int]:
        """Return the id."""
        return (self.job.id,)

    def weight(self) -> int:
        """Return that it gets a line of its own."""
        return LINE_BYTES

    def needs(self) -> int:
        """Return the least format that its options need."""
        return format_of(self.job.spec)


class RemoveJob(Operation):
    """The job is forgotten. `open_failure`: it was one, though it had left the journal."""

    KIND: ClassVar[str] = "remove"

    def __init__(self, job_id: int, *, open_failure: bool = False) -> None:
        self.id = job_id
        self.open_failure = open_failure

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord."""
        match record:
            case {"id": int() as job_id} if ID.allows(job_id):
                return cls(job_id, open_failure=record.get("failure") is True)
        raise BadRecord(f"a removal can't be {record!r:.60}")

    def encode(self) -> Record:
        """Return the record."""
        return {"op": self.KIND, "id": self.id} | ({"failure": True} if self.open_failure else {})

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Remove the job."""
        state.remove(self.id, seq, open_failure=self.open_failure)

    def job_ids(self) -> Iterable[int]:
        """Return the id."""
        return (self.id,)


def merged(attempts: tuple[Attempt, ...], records: Iterable[object]) -> tuple[Attempt, ...]:
    """Return the attempts with those of the records in their places. Raises BadRecord."""
    for attempt in map(read_attempt, records):
        if not 0 < attempt.n <= len(attempts) + 1:
            raise BadRecord(f"attempt {attempt.n} follows attempt {len(attempts)}")
        attempts = (*attempts[: attempt.n - 1], attempt, *attempts[attempt.n :])
    return attempts
