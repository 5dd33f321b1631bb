"""How jobs are written down: JSON objects that leave out whatever has its default, checked when they are read.

To change the format:
- a new optional field of a spec, job, attempt or ending: add it with a default; older versions carry it in `extra`;
- anything that older versions would act wrongly on: raise MIN_WRITER or MIN_READER in `store/journal.py`, keep
  reading the old form, and add a store of the old version to `tests/data/`.
"""

from __future__ import annotations

from typing import Any, TypeVar

from jobq.job import (
    FUNCTION,
    Attempt,
    Call,
    Command,
    Due,
    Ending,
    Job,
    Outcome,
    Record,
    Spec,
    State,
    Step,
    names_function,
)


class BadRecord(ValueError):
    """A stored object that is not what this version, or a compatible later one, writes."""


NUMBER = (int, float)
NONE = type(None)
SPEC_FIELDS: dict[str, tuple[type, ...]] = {
    "cwd": (str,),
    "env": (str,),
    "umask": (int,),
    "queue": (str,),
    "priority": (int,),
    "retries": (int,),
    "timeout": (*NUMBER, NONE),
    "grace": NUMBER,
    "log_max": (int,),
    "name": (str, NONE),
    "runner": (str, NONE),
}
ENDING_FIELDS: dict[str, tuple[type, ...]] = {
    "outcome": (str,),
    "status": (int, NONE),
    "signal": (int, NONE),
    "error": (str, NONE),
    "started_at": (*NUMBER, NONE),
    "ended_at": (*NUMBER, NONE),
    "user_s": NUMBER,
    "system_s": NUMBER,
    "max_rss_kib": (int,),
    "log_bytes": (int,),
    "log_dropped": (int,),
    "counted": (bool,),
    "permanent": (bool,),
}
ATTEMPT_FIELDS: dict[str, tuple[type, ...]] = {
    "n": (int,),
    "owner": (str,),
    "supervisor": (str,),
    "claimed_at": NUMBER,
    "boot_id": (str,),
    "ending": (dict, NONE),
}
CHANGING_FIELDS: dict[str, tuple[type, ...]] = {
    "state": (str,),
    "retries_used": (int,),
    "lost": (int,),
    "due": (list, NONE),
    "cancel_asked_at": (*NUMBER, NONE),
    "finished_at": (*NUMBER, NONE),
    "acknowledged": (int,),
    "anyone": (bool,),
}
R = TypeVar("R", Spec, Ending, Attempt)


def _fields(known: dict[str, tuple[type, ...]], record: object) -> Record:
    """The checked fields of one stored object; what this version does not know goes to `extra`."""
    if not isinstance(record, dict):
        raise BadRecord(f"expected an object, found {record!r:.60}")
    fields: Record = {}
    extra: Record = {}
    for key, value in record.items():
        types = known.get(key)
        if types is None:
            extra[key] = value
        elif isinstance(value, types) and (bool in types or not isinstance(value, bool)):
            fields[key] = value
        else:
            raise BadRecord(f"{key} can't be {value!r:.60}")
    if extra:
        fields["extra"] = extra
    return fields


def _build(kind: type[R], fields: Record) -> R:
    try:
        return kind(**fields)
    except TypeError as e:
        raise BadRecord(str(e)) from None


def _record(value: Spec | Ending | Attempt | Job, names: dict[str, tuple[type, ...]]) -> Record:
    defaults = value._field_defaults
    record = {}
    for name in names:
        field = getattr(value, name)
        if name not in defaults or field != defaults[name]:
            record[name] = field
    if value.extra:
        record.update(value.extra)
    return record


def spec_record(spec: Spec) -> Record:
    """`spec` as stored."""
    return _record(spec, SPEC_FIELDS)


def read_spec(record: object) -> Spec:
    """The inverse of `spec_record`. Raises BadRecord."""
    return _build(Spec, _fields(SPEC_FIELDS, record))


def attempt_record(attempt: Attempt) -> Record:
    """`attempt` as stored, with its ending."""
    record = _record(attempt, ATTEMPT_FIELDS)
    if attempt.ending is not None:
        record["ending"] = _record(attempt.ending, ENDING_FIELDS)
    return record


def read_attempt(record: object) -> Attempt:
    """The inverse of `attempt_record`. Raises BadRecord."""
    fields = _fields(ATTEMPT_FIELDS, record)
    if (ending := fields.get("ending")) is not None:
        fields["ending"] = read_ending(ending)
    return _build(Attempt, fields)


def read_ending(record: object) -> Ending:
    """An ending, as a supervisor or the journal wrote it. Raises BadRecord."""
    fields = _fields(ENDING_FIELDS, record)
    fields["outcome"] = _member(Outcome, fields.get("outcome"))
    return _build(Ending, fields)


M = TypeVar("M", State, Outcome)


def _member(kind: type[M], value: Any) -> M:
    try:
        return kind(value)
    except ValueError:
        raise BadRecord(f"unknown {kind.__name__.lower()} {value!r:.60}") from None


def changing_record(job: Job) -> Record:
    """All of `job` that moves, except attempts and history, which only grow."""
    return _record(job, CHANGING_FIELDS)


def apply_changing(job: Job, record: object, attempts: tuple[Attempt, ...], history: tuple[Step, ...]) -> Job:
    """`job` with its changing part replaced by a stored one. Raises BadRecord."""
    fields = _fields(CHANGING_FIELDS, record)
    if "state" in fields:
        fields["state"] = _member(State, fields["state"])
    if (due := fields.get("due")) is not None:
        fields["due"] = _read_due(due)
    return Job(job.id, job.spec, job.command, job.added_at, attempts=attempts, history=history, **fields)


def _read_due(value: list[Any]) -> Due:
    match value:
        case [int() | float() as wall, int() | float() as boot, str() as boot_id]:
            return Due(wall, boot, boot_id)
    raise BadRecord(f"due can't be {value!r:.60}")


def read_history(record: object) -> tuple[Step, ...]:
    """Steps as stored: a list of [event, time]. Raises BadRecord."""
    steps = []
    for step in record if isinstance(record, list) else [record]:
        match step:
            case [str() as event, int() | float() as at]:
                steps.append(Step(event, at))
            case _:
                raise BadRecord(f"a step can't be {step!r:.60}")
    return tuple(steps)


def command_record(command: Command) -> object:
    """A command as stored: a string, a list of strings, or an object for a call."""
    if isinstance(command, Call):
        record: Record = {"call": command.function, "python": command.python}
        if command.args:
            record["args"] = command.args
        if command.kwargs:
            record["kwargs"] = command.kwargs
        return record
    return command


def read_command(value: object) -> Command:
    """The inverse of `command_record`. Raises BadRecord."""
    if isinstance(value, dict):
        match {"args": [], "kwargs": {}, **value}:
            case {
                "call": str() as function,
                "python": str() as python,
                "args": list() as args,
                "kwargs": dict() as kwargs,
            }:
                if names_function(function) or FUNCTION.fullmatch(function):
                    return Call(function, tuple(args), kwargs, python)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise BadRecord(f"a command can't be {value!r:.60}")


def job_record(job: Job) -> Record:
    """The whole of `job` as one object: snapshots and finished jobs are written so."""
    record: Record = {"id": job.id, "spec": spec_record(job.spec)}
    record |= {"command": command_record(job.command), "added_at": job.added_at}
    if changing := changing_record(job):
        record["job"] = changing
    if job.attempts:
        record["attempts"] = [attempt_record(attempt) for attempt in job.attempts]
    if job.history:
        record["history"] = job.history
    return record


def read_job(record: object, spec: Spec | None = None) -> Job:
    """The inverse of `job_record`; `spec` is given where it is stored elsewhere. Raises BadRecord."""
    if not isinstance(record, dict):
        raise BadRecord(f"not a job: {record!r:.60}")
    match record:
        case {"id": int() as job_id, "command": command, "added_at": int() | float() as added_at}:
            job = Job(job_id, spec or read_spec(record.get("spec")), read_command(command), added_at)
        case _:
            raise BadRecord(f"not a job: {record!r:.60}")
    if len(record) == 3:
        return job
    noted = record.get("attempts", [])
    if not isinstance(noted, list):
        raise BadRecord(f"attempts can't be {noted!r:.60}")
    attempts = tuple(map(read_attempt, noted))
    return apply_changing(job, record.get("job", {}), attempts, read_history(record.get("history", [])))
