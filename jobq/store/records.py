"""Jobs as they are stored: JSON objects that leave out whatever has its default, checked when they are read.

To change the format:
- a new optional field of the header, a snapshot line, a job, spec, command, attempt or ending: add it with a default;
  older versions carry it in `extra` and write it again (not so a field of an operation, or an item of a step or a due);
- anything that older versions would act wrongly on: a new number in `store/format.py`, which says the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from jobq.command import IN_WORDS, BadRecord, Record, from_record, to_record, unknown_keys
from jobq.job import Attempt, Ending, Job, Outcome, Spec, State, Step
from jobq.moment import Due, Moment
from jobq.options.table import OPTIONS, JobOption
from jobq.options.values import COUNT, MOST_STORED, SPAN, TEXT, WORD, Rule
from jobq.store.format import BASE

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any, TypeVar

    R = TypeVar("R", Spec, Ending, Attempt)
    M = TypeVar("M", State, Outcome)

MISFITS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""All that a record may end in that has a right checksum and the wrong things in it, BadRecord included."""


def why(e: Exception) -> str:
    """Return what is wrong with a record, by one of MISFITS."""
    return str(e) if isinstance(e, ValueError) else f"it does not fit ({type(e).__name__}: {e})"


def _between(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: low <= value <= high


def _is_given(given: Any) -> bool:
    match given:
        case [str(), list() | tuple() as indices]:
            return all(map(COUNT.allows, indices))
    return False


def _is_place(text: str) -> bool:
    engine, colon, place = text.rpartition(":")
    token, _, slot = place.partition("/")
    return IN_WORDS.issuperset(engine + token + slot) and bool(engine or not colon)


MOST_ID = MOST_STORED
NUMBER = (int, float)
PLACE = Rule((str,), _is_place)
TIME = Rule(NUMBER, _between(-3e10, 2.5e11))  # wall clock, years 1019 to 9892: all calendars of the system know those
CLOCK = Rule(NUMBER, _between(-1e12, 1e12))
BYTE = Rule((int,), _between(0, 255))
ID = Rule((int,), _between(1, MOST_ID))
EVENT = Rule((str,), lambda event: len(event) <= 200 and event.isprintable())
SPEC_RULES: dict[str, Rule | JobOption] = {option.name: option for option in OPTIONS} | {
    "cwd": TEXT,  # the full path, in every job
    "env": WORD,  # the digest
    "umask": Rule((int,), _between(0, 0o777)),
    "runner": WORD.or_none,
    "asked": Rule((list,)).or_none,
    "vars": Rule((dict,), lambda variables: all(isinstance(value, str) for value in variables.values())),
}
SPEC_FIELDS = {name: SPEC_RULES[name] for name in Spec._fields if name != "extra"}
ENDING_FIELDS = {
    "outcome": TEXT,
    "status": BYTE.or_none,
    "signal": BYTE.or_none,
    "error": TEXT.or_none,
    "started_at": TIME.or_none,
    "ended_at": TIME.or_none,
    "user_s": SPAN,
    "system_s": SPAN,
    "max_rss_kib": COUNT,
    "log_bytes": COUNT,
    "log_dropped": COUNT,
    "counted": Rule((bool,)),
    "permanent": Rule((bool,)),
    "wanted": Rule((bool,)),
    "after": SPAN.or_none,
    "result": TEXT.or_none,
    "replaced": TEXT.or_none,
}
ATTEMPT_FIELDS = {
    "n": ID,
    "owner": WORD,
    "supervisor": PLACE,
    "claimed_at": TIME,
    "boot_id": TEXT,
    "ending": Rule((dict,)).or_none,
    "given": Rule((list, tuple), lambda given: all(map(_is_given, given))),
}
CHANGING_FIELDS = {
    "state": TEXT,
    "retries_used": COUNT,
    "lost": COUNT,
    "due": Rule((list,)).or_none,
    "cancel_asked_at": TIME.or_none,
    "finished_at": TIME.or_none,
    "acknowledged": COUNT,
    "anyone": Rule((bool,)),
    "skipped_for": ID.or_none,
    "skips": Rule((bool,)),
    "place": Rule(NUMBER, _between(-1e18, 1e19)).or_none,
}
JOB_KEYS = frozenset({"id", "spec", "command", "added_at", "job", "attempts", "history"})
NEWER = [(option.name, option.default, option.since) for option in OPTIONS if option.in_spec and option.since > BASE]


def _fields(known: Mapping[str, Rule | JobOption], record: object) -> Record:
    """The checked fields of one stored object; what this version does not know goes to `extra`."""
    if not isinstance(record, dict):
        raise BadRecord(f"expected an object, found {record!r:.60}")
    fields: Record = {}
    for key, value in record.items():
        rule = known.get(key)
        if rule is not None:
            if not rule.allows(value):
                raise BadRecord(f"{key} can't be {value!r:.60}")
            fields[key] = value
    if len(fields) < len(record):
        fields["extra"] = unknown_keys(record, frozenset(known))
    return fields


def _build(kind: type[R], fields: Record) -> R:
    try:
        return kind(**fields)
    except TypeError as e:
        raise BadRecord(str(e)) from None


REQUIRED = object()  # differs from every value


def _plan(kind: type[Spec | Ending | Attempt | Job], names: Iterable[str]) -> list[tuple[int, str, Any]]:
    """Return for each stored field its place in the value, its name and its default."""
    return [(kind._fields.index(name), name, kind._field_defaults.get(name, REQUIRED)) for name in names]


SPEC_PLAN, ENDING_PLAN = _plan(Spec, SPEC_FIELDS), _plan(Ending, ENDING_FIELDS)
ATTEMPT_PLAN, CHANGING_PLAN = _plan(Attempt, ATTEMPT_FIELDS), _plan(Job, CHANGING_FIELDS)


def _record(value: Spec | Ending | Attempt | Job, plan: list[tuple[int, str, Any]]) -> Record:
    record: Record = {}
    for place, name, default in plan:
        field = value[place]
        if field is not default and field != default:
            record[name] = field
    if value.extra:
        record.update(value.extra)
    return record


def format_of(spec: Spec) -> int:
    """Return the least format of a store that holds a job with these options."""
    return max([BASE, *(since for name, default, since in NEWER if getattr(spec, name) != default)])


def spec_record(spec: Spec) -> Record:
    """`spec` as stored."""
    record = _record(spec, SPEC_PLAN)
    if spec.vars:
        record["vars"] = dict(spec.vars)
    return record


def read_spec(record: object) -> Spec:
    """The inverse of `spec_record`. Raises BadRecord."""
    fields = _fields(SPEC_FIELDS, record)
    if fields.get("asked") is not None:
        fields["asked"] = Moment(*read_due(fields["asked"]))
    for name in ("after", "after_any", "after_fail", "locks"):
        if name in fields:
            fields[name] = tuple(fields[name])
    for name in ("needs", "labels"):
        if name in fields:
            fields[name] = tuple((one, other) for one, other in fields[name])
    if "vars" in fields:
        fields["vars"] = tuple(fields["vars"].items())
    return _build(Spec, fields)


def attempt_record(attempt: Attempt) -> Record:
    """`attempt` as stored, with its ending."""
    record = _record(attempt, ATTEMPT_PLAN)
    if attempt.ending is not None:
        record["ending"] = _record(attempt.ending, ENDING_PLAN)
    return record


def read_attempt(record: object) -> Attempt:
    """The inverse of `attempt_record`. Raises BadRecord."""
    fields = _fields(ATTEMPT_FIELDS, record)
    if (ending := fields.get("ending")) is not None:
        fields["ending"] = read_ending(ending)
    if "given" in fields:
        fields["given"] = tuple((name, tuple(indices)) for name, indices in fields["given"])
    return _build(Attempt, fields)


def read_ending(record: object) -> Ending:
    """An ending, as a supervisor or the journal wrote it. Raises BadRecord."""
    fields = _fields(ENDING_FIELDS, record)
    fields["outcome"] = _member(Outcome, fields.get("outcome"))
    return _build(Ending, fields)


def _member(kind: type[M], value: Any) -> M:
    try:
        return kind(value)
    except ValueError:
        raise BadRecord(f"unknown {kind.__name__.lower()} {value!r:.60}") from None


def changing_record(job: Job) -> Record:
    """All of `job` that moves, except attempts and history, which only grow."""
    return _record(job, CHANGING_PLAN)


def apply_changing(job: Job, record: object, attempts: tuple[Attempt, ...], history: tuple[Step, ...]) -> Job:
    """`job` with its changing part replaced by a stored one. Raises BadRecord."""
    fields = _fields(CHANGING_FIELDS, record)
    if "state" in fields:
        fields["state"] = _member(State, fields["state"])
    if (due := fields.get("due")) is not None:
        fields["due"] = read_due(due)
    after = Job(
        job.id, job.spec, job.command, job.added_at, attempts=attempts, history=history, more=job.more, **fields
    )
    if after.state is State.RUNNING and (not attempts or attempts[-1].ending is not None):
        raise BadRecord(f"job {job.id} is running without an attempt under way")
    return after


def read_due(value: Any) -> Due:
    """Read a moment as stored: [wall, boot, boot id]. Raises BadRecord."""
    match value:
        case [wall, boot, str() as boot_id] if TIME.allows(wall) and CLOCK.allows(boot):
            return Due(wall, boot, boot_id)
    raise BadRecord(f"a moment can't be {value!r:.60}")


def read_history(record: object) -> tuple[Step, ...]:
    """Steps as stored: a list of [event, time]. Raises BadRecord."""
    steps = []
    for step in record if isinstance(record, list) else [record]:
        match step:
            case [str() as event, int() | float() as at] if EVENT.allows(event) and TIME.allows(at):
                steps.append(Step(event, at))
            case _:
                raise BadRecord(f"a step can't be {step!r:.60}")
    return tuple(steps)


def job_record(job: Job) -> Record:
    """The whole of `job` as one object: snapshots and finished jobs are written so."""
    record: Record = {"id": job.id, "spec": spec_record(job.spec)}
    record |= {"command": to_record(job.command), "added_at": job.added_at}
    if changing := changing_record(job):
        record["job"] = changing
    if job.attempts:
        record["attempts"] = [attempt_record(attempt) for attempt in job.attempts]
    if job.history:
        record["history"] = job.history
    return record | (job.more or {})


def read_job(record: object, spec: Spec | None = None) -> Job:
    """The inverse of `job_record`; `spec` is given where it is stored elsewhere. Raises BadRecord."""
    if not isinstance(record, dict):
        raise BadRecord(f"not a job: {record!r:.60}")
    match record:
        case {"id": job_id, "command": command, "added_at": added_at} if ID.allows(job_id) and TIME.allows(added_at):
            job = Job(job_id, spec or read_spec(record.get("spec")), from_record(command), added_at)
        case _:
            raise BadRecord(f"not a job: {record!r:.60}")
    if len(record) == 3:
        return job
    if not record.keys() <= JOB_KEYS:
        job = job._replace(more=unknown_keys(record, JOB_KEYS))
    recorded = record.get("attempts", [])
    if not isinstance(recorded, list):
        raise BadRecord(f"attempts can't be {recorded!r:.60}")
    attempts = tuple(map(read_attempt, recorded))
    if [attempt.n for attempt in attempts] != list(range(1, len(attempts) + 1)):
        raise BadRecord(f"the attempts of job {job.id} are not numbered 1, 2, ...")
    return apply_changing(job, record.get("job", {}), attempts, read_history(record.get("history", [])))
