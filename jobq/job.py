"""The domain on one page: what a job is, what it can be, and how it is written down.

A job is a value. `Spec` is what was asked, shared by all jobs of one bulk add, and never changes; `Job` is what has
happened to one of them; an `Attempt` is one run of it; its `Ending` is why that run is over. State and outcome are
apart: *failed* is a state, *exit 3* is why.

Stored as JSON objects that leave out whatever has its default. To change the format:
- a new optional field: add it with a default; older versions carry it along in `extra`;
- anything that older versions would act wrongly on: raise MIN_WRITER or MIN_READER in `store/journal.py`, keep
  reading the old form, and add a store of the old version to `tests/data/`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

Record = dict[str, Any]


class Call(NamedTuple):
    """A Python function to be called with JSON arguments, by the interpreter `python`."""

    function: str  # "module:function"
    args: tuple[Any, ...]
    kwargs: Record
    python: str

    def __hash__(self) -> int:
        return hash(self.function)


Command = str | tuple[str, ...] | Call
"""A string is a line for /bin/sh -c; a tuple is an exact argv."""
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)


class State(StrEnum):
    """The stored states. Why a queued job waits is derived (`claim.why_waiting`), never stored."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in UNFINISHED


UNFINISHED = frozenset({State.QUEUED, State.HELD, State.RUNNING})


class Outcome(StrEnum):
    """Why one attempt is over."""

    EXIT = "exit"  # by itself; `status` is its exit status
    SIGNAL = "signal"  # killed by `signal`, not by jobq
    TIMEOUT = "timeout"  # jobq killed it at its time limit
    CANCELLED = "cancelled"  # jobq killed it because a person asked
    INTERRUPTED = "interrupted"  # jobq killed it because its worker was stopping, or never started it
    SPAWN_ERROR = "spawn_error"  # it could not be started; `error` says why
    LOST = "lost"  # its supervisor died: how it ended can't be known


class Moment(NamedTuple):
    """One reading of the clocks: `wall` since 1970, `boot` since this boot (counts suspend); seconds."""

    wall: float
    boot: float
    boot_id: str


class Due(NamedTuple):
    """A time to wait for, on both clocks: the wall clock may jump, the other one ends with the boot."""

    wall: float
    boot: float
    boot_id: str

    @classmethod
    def after(cls, now: Moment, seconds: float) -> Due:
        """The moment `seconds` from `now`."""
        return cls(now.wall + seconds, now.boot + seconds, now.boot_id)

    def wait(self, now: Moment) -> float:
        """Seconds from `now` until then; zero or less when it has come."""
        if self.boot_id and self.boot_id == now.boot_id:
            return self.boot - now.boot
        return self.wall - now.wall


class Spec(NamedTuple):
    """What was asked, apart from the command. Seconds where it is a time."""

    cwd: str
    env: str  # sha256 of the captured environment, a file of the store
    umask: int = 0o022
    queue: str = "default"
    priority: int = 0  # higher first
    retries: int = 3  # attempts after the first
    timeout: float | None = None
    grace: float = 10.0  # from TERM to KILL
    name: str | None = None
    runner: str | None = None  # token of the only worker that may run it (`jobq run`), as long as not `anyone`
    extra: Record | None = None  # keys of later versions


class Ending(NamedTuple):
    """How one attempt ended, as its supervisor saw it. Wall-clock seconds, CPU seconds, KiB, bytes."""

    outcome: Outcome
    status: int | None = None
    signal: int | None = None
    error: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_kib: int = 0
    log_bytes: int = 0
    counted: bool = True  # uses up a retry
    extra: Record | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the job did what was asked."""
        return self.outcome is Outcome.EXIT and self.status == 0

    @property
    def exit_code(self) -> int:
        """What a shell would have reported; 124 for a timeout as in timeout(1), 125 where jobq is the cause."""
        match self.outcome:
            case Outcome.EXIT | Outcome.SPAWN_ERROR:
                return self.status if self.status is not None else 125
            case Outcome.SIGNAL:
                return 128 + (self.signal or 0)
            case Outcome.TIMEOUT:
                return 124
            case _:
                return 125

    def __str__(self) -> str:
        match self.outcome:
            case Outcome.EXIT:
                return f"exit {self.status}"
            case Outcome.SIGNAL:
                return f"signal {self.signal}"
            case Outcome.SPAWN_ERROR:
                return f"could not start: {self.error}"
            case _:
                return f"{self.outcome}: {self.error}" if self.error else str(self.outcome)


class Attempt(NamedTuple):
    """One run. `owner` is the worker that answers for it, `supervisor` ("token/slot") the process that holds it."""

    n: int
    owner: str
    supervisor: str
    claimed_at: float
    boot_id: str = ""
    ending: Ending | None = None
    extra: Record | None = None


class Step(NamedTuple):
    """One line of a job's history."""

    event: str
    at: float


class Job(NamedTuple):
    """One job and what has happened to it. `history` starts behind the add, whose time is `added_at`."""

    id: int
    spec: Spec
    command: Command
    added_at: float
    state: State = State.QUEUED
    retries_used: int = 0
    lost: int = 0
    due: Due | None = None  # not before (backoff)
    cancel_asked_at: float | None = None  # a wish; only the owner of the process records the end
    finished_at: float | None = None
    anyone: bool = False  # requeued by hand: it belongs to no `jobq run` any more
    attempts: tuple[Attempt, ...] = ()
    history: tuple[Step, ...] = ()
    extra: Record | None = None

    @property
    def runner(self) -> str | None:
        """The token of the only worker that may run it; None for any."""
        return None if self.anyone else self.spec.runner

    @property
    def running(self) -> Attempt | None:
        """The attempt that is under way."""
        return self.attempts[-1] if self.state is State.RUNNING else None

    @property
    def ending(self) -> Ending | None:
        """How the latest finished attempt ended."""
        for attempt in reversed(self.attempts):
            if attempt.ending is not None:
                return attempt.ending
        return None

    @property
    def exit_code(self) -> int:
        """What `jobq run` and `jobq wait` of this one job exit with, once it is finished."""
        if self.state is State.SUCCEEDED:
            return 0
        if self.state is State.FAILED and self.ending is not None:
            return self.ending.exit_code or 125
        return 125


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
    "counted": (bool,),
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
                if FUNCTION.fullmatch(function):
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
    attempts = tuple(map(read_attempt, record.get("attempts", ())))
    return apply_changing(job, record.get("job", {}), attempts, read_history(record.get("history", [])))
