"""A snapshot: the unfinished jobs and the settings of queues, in the first lines of a journal.

{"specs":[...],"jobs":[{"id":7,"spec":0,...}, ...]}     some jobs; `spec` is a place in `specs`
{"specs":[],"jobs":[],"queues":[...]}                   the settings of queues, where there are any
{"specs":[],"jobs":[],"resources":{"gpu":4}}            how much there is to share
{"specs":[],"jobs":[],"schedules":[...]}                the schedules
{"specs":[],"jobs":[],"keys":[[identity,7,until,payload], ...]}   jobs that have succeeded once for all
{"snapshot_end":true,"seq":...,"next_id":...,"jobs":...,"failures":...}     the last line; see failures.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobq.command import BadRecord, Record, stored_size, unknown_keys
from jobq.job import Job, Spec, Step
from jobq.options.values import COUNT
from jobq.store.contents import Tables
from jobq.store.failures import Failures
from jobq.store.journal import encode_line
from jobq.store.records import ID, job_record, read_job, read_spec
from jobq.store.schedules import read_schedule, schedule_record
from jobq.store.state import Later, StoreState
from jobq.store.tables import queue_record, read_kept, read_queue, read_resources
from jobq.store.writer import LINE_BYTES

SNAPSHOT_JOBS = 100  # on one line
IN_EVERY_LINE = frozenset({"crc", "queues", "keys", "resources", "schedules"})
IN_ITS_END = frozenset({"crc", "failures"})
MANY_STEPS = 1000  # of one job's history


def snapshot_lines(  # noqa: PLR0917  # all that a snapshot holds
    jobs: Iterable[Job],
    tables: Tables,
    seq: int,
    next_id: int,
    failures: Failures | None,
    later: Later,
) -> Iterator[bytes]:
    """Yield lines that hold the unfinished ones of these jobs, the tables, and the end mark.

    `failures` None: not known; `later`: as it was read.
    """
    for extra in later.lines:
        yield encode_line({"specs": [], "jobs": [], **extra})
    if records := [queue_record(settings) for settings in tables.queues]:
        yield encode_line({"specs": [], "jobs": [], "queues": records})
    if tables.resources:
        yield encode_line({"specs": [], "jobs": [], "resources": tables.resources})
    for schedule in tables.schedules:
        yield encode_line({"specs": [], "jobs": [], "schedules": [schedule_record(schedule)]})
    for at in range(0, len(tables.keys), SNAPSHOT_JOBS):
        yield encode_line({"specs": [], "jobs": [], "keys": tables.keys[at : at + SNAPSHOT_JOBS]})
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
            size += stored_size(sum(job.spec.vars, ()))
        record["spec"] = specs[id(job.spec)]
        batch.append(record)
        size += stored_size(job.command) + 300 * len(job.attempts)
        if len(batch) == SNAPSHOT_JOBS or size > LINE_BYTES:
            yield encode_line({"specs": spec_records, "jobs": batch})
            batch, specs, spec_records, size = [], {}, [], 0
    if batch:
        yield encode_line({"specs": spec_records, "jobs": batch})
    end: Record = {"snapshot_end": True, "seq": seq, "next_id": next_id, "jobs": count, **later.end}
    yield encode_line(end if failures is None else end | {"failures": failures.record()})


def apply_snapshot_line(state: StoreState, line: Record) -> bool:
    """Apply one line of a snapshot; return True if it was the last. Raises BadRecord."""
    match line:
        case {"specs": list() as specs, "jobs": list() as jobs, **rest}:
            if later := unknown_keys(rest, IN_EVERY_LINE):
                state.later.lines.append(later)
            for record in rest.get("queues", []):
                state.set_queue(read_queue(record))
            for name, number in read_resources(rest.get("resources", {})).items():
                state.set_resource(name, number)
            for schedule in map(read_schedule, rest.get("schedules", [])):
                state.set_schedule(schedule)
            state.keys.keep(map(read_kept, rest.get("keys", [])))
            _apply_jobs(state, jobs, [state.shared(read_spec(spec)) for spec in specs])
            return False
        case {"snapshot_end": True, "seq": seq, "next_id": next_id, "jobs": count, **rest}:
            if COUNT.allows(seq) and ID.allows(next_id):
                _apply_end(state, seq, next_id, count, rest)
                return True
    raise BadRecord("not a snapshot line")


def _apply_jobs(state: StoreState, records: list[object], specs: list[Spec]) -> None:
    for record in records:
        spec_no = record.pop("spec", None) if isinstance(record, dict) else None
        if type(spec_no) is not int or not 0 <= spec_no < len(specs):
            raise BadRecord(f"not a job of a snapshot: {record!r:.60}")
        state.put(read_job(record, specs[spec_no]), 0)


def _apply_end(state: StoreState, seq: int, next_id: int, count: object, rest: Record) -> None:
    state.later.end.update(unknown_keys(rest, IN_ITS_END) or {})
    if count != len(state.jobs):
        raise BadRecord(f"the snapshot says {count} jobs and holds {len(state.jobs)}")
    state.seq, state.next_id = seq, next_id
    state.failures.rebase(Failures.of_record(rest.get("failures")), seq)
    if any(job_id >= next_id for job_id in state.jobs):
        raise BadRecord(f"the snapshot holds an id beyond {next_id}")


def thinned(history: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the same story without old claims that came to nothing, where there are very many of them."""
    if len(history) <= MANY_STEPS:
        return history
    from jobq.rules.lifecycle import Event  # noqa: PLC0415  # a list does without the rules of moves

    kept: list[Step] = []
    for step in history[: -MANY_STEPS // 2]:
        if step.event == Event.HAND_BACK and kept and kept[-1].event == Event.CLAIM:
            kept.pop()
        else:
            kept.append(step)
    return (*kept, *history[-MANY_STEPS // 2 :])
