"""Replay: the operations of a transaction line of the journal, read and applied."""

from __future__ import annotations

from collections.abc import Iterator

from jobq.command import BadRecord, Record
from jobq.options.values import COUNT
from jobq.store.operations import AddJobs, Move, Operation, PutJob, RemoveJob
from jobq.store.records import TIME
from jobq.store.schedules import MarkSchedule, RemoveSchedule, SetSchedule
from jobq.store.state import StoreState
from jobq.store.tables import SetQueue, SetResource

OPERATIONS: dict[object, type[Operation]] = {
    kind.KIND: kind
    for kind in (AddJobs, Move, PutJob, RemoveJob, SetQueue, SetResource, SetSchedule, MarkSchedule, RemoveSchedule)
}


def decode(record: object) -> Operation:
    """Read an operation of a transaction line. Raises BadRecord, or one of records.MISFITS."""
    kind = OPERATIONS.get(record.get("op")) if isinstance(record, dict) else None
    if kind is None or not isinstance(record, dict):
        raise BadRecord(f"unknown operation {record!r:.60}")
    return kind.decode(record)


def operations_of(line: Record) -> Iterator[Operation]:
    """Read the operations of a transaction line, one by one. Raises BadRecord, or one of records.MISFITS."""
    ops = line["ops"]
    if not isinstance(ops, list):
        raise BadRecord("not a transaction")
    return map(decode, ops)


def apply_line(state: StoreState, line: Record) -> None:
    """Apply one transaction line. Raises BadRecord, or one of records.MISFITS."""
    seq, at = line.get("seq"), line.get("at")
    if not COUNT.allows(seq) or not TIME.allows(at):
        raise BadRecord("not a transaction")
    for op in operations_of(line):  # one behind the other: the next may build on it
        op.apply(state, seq, at)  # type: ignore[arg-type]
    state.seq = seq  # type: ignore[assignment]


def touched(line: Record) -> set[int]:
    """Return the jobs that a transaction line changes, new ones aside. Raises BadRecord, or one of records.MISFITS."""
    return {job_id for op in operations_of(line) for job_id in op.job_ids()}
