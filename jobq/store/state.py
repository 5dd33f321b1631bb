"""What the journal says when read from the start: the jobs as they are now, and how changes become lines.

The operations of a transaction line:

    {"op":"add","first":7,"spec":{...},"commands":[...]}      jobs 7, 8, ... of one shared spec
    {"op":"move","id":7,"steps":[[event,at]],"job":{...},"attempts":[...]}
                                                              the whole changing part, and the attempts it touched
    {"op":"put","job":{...}}                                  a finished job that had left the journal is back
    {"op":"remove","id":7}                                    "failure":true: an open one, that had left the journal

The last line of a snapshot is {"snapshot_end":true,"seq":...,"next_id":...,"jobs":...,"failures":...}, see failures.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from jobq.command import BadRecord, Command, Record, from_record, stored_size, to_record, unknown_keys
from jobq.job import Attempt, Job, Spec, State, Step
from jobq.options.values import COUNT
from jobq.rules.lifecycle import Event
from jobq.rules.order import Waiting
from jobq.store.failures import Failures, Tally, was_open
from jobq.store.journal import encode_line
from jobq.store.records import (
    ID,
    MOST_ID,
    TIME,
    apply_changing,
    attempt_record,
    changing_record,
    job_record,
    read_attempt,
    read_history,
    read_job,
    read_spec,
    spec_record,
)

LINE_TARGET = 1 << 18  # bytes of commands or jobs on one line; the limit is 1 MiB
SNAPSHOT_JOBS = 100
IN_EVERY_LINE = frozenset({"crc"})
IN_ITS_END = frozenset({"crc", "failures"})
MANY_STEPS = 1000  # of one job's history


class Add(NamedTuple):
    """New jobs of one spec; their ids are given out in this order when it is stored."""

    spec: Spec
    commands: Sequence[Command]


class Remove(NamedTuple):
    """The job is to be forgotten. `open_failure`: whether it is one, if it has left the journal."""

    id: int
    open_failure: bool = False


Change = Add | Job | Remove
"""What an update may ask for; a Job stands for its new value."""


class Later(NamedTuple):
    """What a later version has put into the lines of the snapshot: one object a line, and one for its end mark."""

    lines: list[Record]
    end: Record


class Jobs:
    """All that is known of the jobs at one point of the journal. Only this module changes it."""

    def __init__(self) -> None:
        self.generation = 0
        self.seq = 0
        self.next_id = 1
        self.by_id: dict[int, Job] = {}  # unfinished, and finished since the snapshot
        self.removed: set[int] = set()  # since the snapshot
        self.waiting = Waiting()
        self.running: set[int] = set()
        self.finished = 0  # of by_id
        self.failures = Tally()
        self.moves = 0  # changes of jobs since the snapshot: so much of the journal is out of date
        self.later = Later([], {})
        self._specs: dict[Spec, Spec] = {}  # equal specs are one object

    def put(self, job: Job, seq: int, *, is_back: bool = False) -> None:
        """`job` is as it is from now on, by the line `seq`. `is_back`: it had left the journal."""
        before = self.by_id.get(job.id)
        was = before.is_open_failure if before is not None else is_back and was_open(job)
        self.failures.note(seq, job.is_open_failure - was)
        self.by_id[job.id] = job
        self.finished += job.state.final - (before is not None and before.state.final)
        self.waiting.note(before, job)
        self.moves += before is not None
        if job.state is State.RUNNING:
            self.running.add(job.id)
        elif before is not None:
            self.running.discard(job.id)

    def remove(self, job_id: int, seq: int, *, open_failure: bool) -> None:
        """The job is forgotten, by the line `seq`; `open_failure`: whether it was one, if it had left the journal."""
        before = self.by_id.get(job_id)
        self.failures.note(seq, -(open_failure if before is None else before.is_open_failure))
        self.drop(job_id)
        self.removed.add(job_id)

    def drop(self, job_id: int) -> None:
        """The job is here no longer."""
        before = self.by_id.pop(job_id, None)
        self.finished -= before is not None and before.state.final
        self.waiting.note(before, None)
        self.moves += 1
        self.running.discard(job_id)

    def leave_finished(self, still_there: Collection[object]) -> None:
        """Compaction has moved the finished jobs out of the journal, except those that changed meanwhile."""
        gone = [job.id for job in self.by_id.values() if job.state.final and job.id not in still_there]
        for job_id in gone:
            self.drop(job_id)
        self.removed &= set(still_there)
        self.moves = 0
        self._specs = {job.spec: job.spec for job in self.by_id.values() if job.spec.extra is None}

    def unfinished(self) -> Iterator[Job]:
        """The jobs that are not in a final state, by id."""
        return (job for job in self.by_id.values() if not job.state.final)

    def named(self, name: str) -> Job | None:
        """The unfinished job of that name, else the latest finished one known here."""
        latest = None
        for job in self.by_id.values():
            if job.spec.name == name:
                if not job.state.final:
                    return job
                latest = job if latest is None or job.id > latest.id else latest
        return latest

    def shared(self, spec: Spec) -> Spec:
        """The one object that stands for specs equal to this one."""
        if spec.extra is not None:
            return spec
        return self._specs.setdefault(spec, spec)

    # -- reading lines ---------------------------------------------------------------------------

    def apply(self, line: Record) -> None:
        """One transaction line. Raises BadRecord."""
        match line:
            case {"seq": seq, "at": at, "ops": list() as ops} if COUNT.allows(seq) and TIME.allows(at):
                for op in ops:
                    self._apply_op(op, at, seq)
                self.seq = seq
            case _:
                raise BadRecord("not a transaction")

    def _apply_op(self, op: Record, at: float, seq: int) -> None:
        match op:
            case {"op": "add", "first": first, "spec": spec, "commands": list() as commands} if ID.allows(first):
                self._add(first, self.shared(read_spec(spec)), [from_record(command) for command in commands], at)
            case {"op": "move", "id": job_id, "steps": steps, "job": changing} if ID.allows(job_id):
                job = self.by_id.get(job_id)
                if job is None:
                    raise BadRecord(f"job {job_id} moves, but there is none")
                attempts = _merged(job.attempts, op.get("attempts", ()))
                history = (*job.history, *read_history(steps))
                self.put(apply_changing(job, changing, attempts, history), seq)
            case {"op": "put", "job": record}:
                job = read_job(record)
                self._check_known(job.id)
                self.put(job, seq, is_back=True)
            case {"op": "remove", "id": job_id} if ID.allows(job_id):
                self.remove(job_id, seq, open_failure=op.get("failure") is True)
            case _:
                raise BadRecord(f"unknown operation {op!r:.60}")

    def _add(self, first: int, spec: Spec, commands: Sequence[Command], at: float) -> None:
        if first < self.next_id:
            raise BadRecord(f"id {first} was given out before")
        ids = range(first, first + len(commands))
        if ids.stop > MOST_ID:
            raise BadRecord(f"id {first} is beyond all that are given out")
        for job_id, command in zip(ids, commands, strict=True):
            self.by_id[job_id] = Job(job_id, spec, command, at)
        self.waiting.add(spec, ids)
        self.next_id = ids.stop

    def _check_known(self, job_id: int) -> None:
        if not 0 < job_id < self.next_id:
            raise BadRecord(f"id {job_id} was never given out")

    def apply_snapshot(self, line: Record) -> bool:
        """One snapshot line; True if it was the last. Raises BadRecord."""
        match line:
            case {"specs": list() as specs, "jobs": list() as jobs, **rest}:
                if later := unknown_keys(rest, IN_EVERY_LINE):
                    self.later.lines.append(later)
                read = [self.shared(read_spec(spec)) for spec in specs]
                for record in jobs:
                    spec_no = record.pop("spec", None) if isinstance(record, dict) else None
                    if type(spec_no) is not int or not 0 <= spec_no < len(read):
                        raise BadRecord(f"not a job of a snapshot: {record!r:.60}")
                    self.put(read_job(record, read[spec_no]), 0)
                return False
            case {"snapshot_end": True, "seq": seq, "next_id": next_id, "jobs": count, **rest} if COUNT.allows(
                seq
            ) and ID.allows(next_id):
                self.later.end.update(unknown_keys(rest, IN_ITS_END) or {})
                if count != len(self.by_id):
                    raise BadRecord(f"the snapshot says {count} jobs and holds {len(self.by_id)}")
                self.seq, self.next_id = seq, next_id
                self.failures.rebase(Failures.of_record(line.get("failures")), seq)
                if any(job_id >= next_id for job_id in self.by_id):
                    raise BadRecord(f"the snapshot holds an id beyond {next_id}")
                return True
        raise BadRecord("not a snapshot line")

    # -- writing lines ---------------------------------------------------------------------------

    def carry_out(self, changes: Iterable[Change], at: float) -> list[bytes]:
        """Make the changes here, one by one, and return the lines that say so. `at`: wall-clock time of new jobs."""
        ops: list[Record] = []
        next_seq = self.seq + 1
        for change in changes:
            match change:
                case Add(spec, commands):
                    spec = self.shared(spec)
                    ops.extend(add_ops(spec, commands, self.next_id))
                    self._add(self.next_id, spec, commands, at)
                case Remove(job_id, open_failure):
                    op: Record = {"op": "remove", "id": job_id}
                    if open_failure and job_id not in self.by_id:
                        op["failure"] = True
                    ops.append(op)
                    self.remove(job_id, next_seq, open_failure=open_failure)
                case Job():
                    before = self.by_id.get(change.id)
                    ops.append({"op": "put", "job": job_record(change)} if before is None else _move_op(before, change))
                    self.put(change, next_seq, is_back=before is None)
        lines = transaction(ops, self.seq, at) if ops else []
        self.seq += len(lines)
        return lines


def snapshot(jobs: Iterable[Job], seq: int, next_id: int, failures: Failures | None, later: Later) -> Iterator[bytes]:
    """Lines that hold all the unfinished ones of these jobs, and the end mark.

    `failures` None: not known; `later`: as it was read.
    """
    for extra in later.lines:
        yield encode_line({"specs": [], "jobs": [], **extra})
    count = 0
    batch: list[Record] = []
    specs: dict[int, int] = {}
    spec_records: list[Record] = []
    size = 0
    for job in jobs:
        if job.state.final:
            continue
        count += 1
        record = job_record(job._replace(history=thinned(job.history)))
        if id(job.spec) not in specs:
            specs[id(job.spec)] = len(spec_records)
            spec_records.append(record["spec"])
        record["spec"] = specs[id(job.spec)]
        batch.append(record)
        size += stored_size(job.command) + 300 * len(job.attempts)
        if len(batch) == SNAPSHOT_JOBS or size > LINE_TARGET:
            yield encode_line({"specs": spec_records, "jobs": batch})
            batch, specs, spec_records, size = [], {}, [], 0
    if batch:
        yield encode_line({"specs": spec_records, "jobs": batch})
    end: Record = {"snapshot_end": True, "seq": seq, "next_id": next_id, "jobs": count, **later.end}
    yield encode_line(end if failures is None else end | {"failures": failures.record()})


def thinned(history: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same story without old claims that came to nothing, where there are very many of them."""
    if len(history) <= MANY_STEPS:
        return history
    kept: list[Step] = []
    for step in history[: -MANY_STEPS // 2]:
        if step.event == Event.HAND_BACK and kept and kept[-1].event == Event.CLAIM:
            kept.pop()
        else:
            kept.append(step)
    return (*kept, *history[-MANY_STEPS // 2 :])


def _merged(attempts: tuple[Attempt, ...], records: Iterable[object]) -> tuple[Attempt, ...]:
    if not isinstance(records, (list, tuple)):
        raise BadRecord(f"attempts can't be {records!r:.60}")
    for attempt in map(read_attempt, records):
        if not 0 < attempt.n <= len(attempts) + 1:
            raise BadRecord(f"attempt {attempt.n} follows attempt {len(attempts)}")
        attempts = (*attempts[: attempt.n - 1], attempt, *attempts[attempt.n :])
    return attempts


def add_ops(spec: Spec, commands: Sequence[Command], first: int) -> Iterator[Record]:
    """The operations that add `commands` with ids from `first` on, each small enough for a line."""
    record = spec_record(spec)
    start, size = 0, 0
    for i, command in enumerate(commands):
        size += stored_size(command)
        if size > LINE_TARGET and i > start:
            yield {
                "op": "add",
                "first": first + start,
                "spec": record,
                "commands": [*map(to_record, commands[start:i])],
            }
            start, size = i, stored_size(command)
    if start < len(commands):
        yield {
            "op": "add",
            "first": first + start,
            "spec": record,
            "commands": [*map(to_record, commands[start:])],
        }


def _move_op(before: Job, after: Job) -> Record:
    op: Record = {
        "op": "move",
        "id": after.id,
        "steps": after.history[len(before.history) :],
        "job": changing_record(after),
    }
    known = before.attempts
    if touched := [a for i, a in enumerate(after.attempts) if i >= len(known) or a is not known[i]]:
        op["attempts"] = [attempt_record(attempt) for attempt in touched]
    return op


def transaction(ops: Sequence[Record], seq: int, at: float) -> list[bytes]:
    """The lines of one transaction that follows line `seq`: bulk operations get a line each, others share one."""
    groups: list[list[Record]] = []
    room = 0
    for op in ops:
        weight = LINE_TARGET if op["op"] in {"add", "put"} else 1 + 2 * len(op.get("attempts", ()))
        if weight > room:
            groups.append([])
            room = LINE_TARGET
        groups[-1].append(op)
        room -= weight if weight == LINE_TARGET else 1024 * weight
    lines = []
    for part, group in enumerate(groups):
        line: Record = {"seq": seq + 1 + part, "at": at, "ops": group}
        if part:
            line["part"] = part
        if part == len(groups) - 1:
            line["commit"] = True
        lines.append(encode_line(line))
    return lines
