"""Schedules as they are stored, and the operations on them.

{"op":"schedule","schedule":{"name":"nightly","when":"0 3 * * *",...}}   the whole of one
{"op":"fired","name":"nightly","mark":...,"last":7,...}                 what changes when it fires
{"op":"unschedule","name":"nightly"}
"""

from __future__ import annotations

from jobq.command import BadRecord, Record, from_record, to_record, unknown_keys
from jobq.options.values import COUNT, TEXT, Rule
from jobq.schedules import MISSED, OVERLAP, Schedule
from jobq.store.format import LIMITS
from jobq.store.operations import Operation
from jobq.store.records import ID, TIME, format_of, read_spec, spec_record
from jobq.store.state import StoreState
from jobq.store.writer import LINE_BYTES

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self

CHANGING = {
    "mark": TIME,
    "last": ID.or_none,
    "fired": COUNT,
    "dropped": COUNT,
    "trouble": TEXT,
}
FIELDS = {
    "name": TEXT,
    "when": TEXT,
    "zone": TEXT,
    "start": TIME,
    "missed": Rule((str,), MISSED.__contains__),
    "overlap": Rule((str,), OVERLAP.__contains__),
    "paused": Rule((bool,)),
    **CHANGING,
}


def schedule_record(schedule: Schedule) -> Record:
    """Return a schedule as stored; what has its default is left out."""
    defaults = Schedule._field_defaults
    plain = {name: value for name in FIELDS if (value := getattr(schedule, name)) != defaults.get(name, ...)}
    record = plain | {"spec": spec_record(schedule.spec), "command": to_record(schedule.command)}
    return record | (schedule.extra or {})


def read_schedule(record: object) -> Schedule:
    """The inverse of `schedule_record`. Raises BadRecord."""
    if not isinstance(record, dict):
        raise BadRecord(f"a schedule can't be {record!r:.60}")
    fields = _checked(record, FIELDS)
    extra = unknown_keys(record, frozenset({*FIELDS, "spec", "command"}))
    try:
        return Schedule(**fields, spec=read_spec(record["spec"]), command=from_record(record["command"]), extra=extra)
    except (TypeError, KeyError) as e:
        raise BadRecord(f"a schedule lacks something: {e}") from None


def _checked(record: Record, rules: dict[str, Rule]) -> dict[str, Any]:
    for name, rule in rules.items():
        if name in record and not rule.allows(record[name]):
            raise BadRecord(f"{name} of a schedule can't be {record[name]!r:.60}")
    return {name: record[name] for name in rules if name in record}


class SetSchedule(Operation):
    """A new schedule, or what one is now."""

    KIND: ClassVar[str] = "schedule"

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord."""
        return cls(read_schedule(record["schedule"]))

    def encode(self) -> Record:
        """Return the record."""
        return {"op": self.KIND, "schedule": schedule_record(self.schedule)}

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Set it."""
        state.set_schedule(self.schedule)

    def weight(self) -> int:
        """Return that it gets a line of its own."""
        return LINE_BYTES

    def needs(self) -> int:
        """Return the least format that knows schedules, and the options of the job."""
        return max(LIMITS, format_of(self.schedule.spec))


class MarkSchedule(Operation):
    """The changing part of a schedule, as it is once that has fired."""

    KIND: ClassVar[str] = "fired"

    def __init__(self, name: str, changing: Record) -> None:
        self.name = name
        self.changing = changing

    @classmethod
    def of(cls, schedule: Schedule) -> Self:
        """Return the operation that makes one what it is now."""
        return cls(schedule.name, {name: getattr(schedule, name) for name in CHANGING})

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord."""
        if not isinstance(record.get("name"), str):
            raise BadRecord(f"a schedule can't be named {record.get('name')!r:.60}")
        return cls(record["name"], _checked(record, CHANGING))

    def encode(self) -> Record:
        """Return the record."""
        return {"op": self.KIND, "name": self.name, **self.changing}

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Change it. Raises BadRecord if there is none."""
        if self.name not in state.schedules:
            raise BadRecord(f"schedule {self.name!r:.60} fires, but there is none")
        state.set_schedule(state.schedules[self.name]._replace(**self.changing))

    def needs(self) -> int:
        """Return the least format that knows schedules."""
        return LIMITS


class RemoveSchedule(Operation):
    """The schedule is forgotten. Its jobs stay."""

    KIND: ClassVar[str] = "unschedule"

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord."""
        if not isinstance(record.get("name"), str):
            raise BadRecord(f"a schedule can't be named {record.get('name')!r:.60}")
        return cls(record["name"])

    def encode(self) -> Record:
        """Return the record."""
        return {"op": self.KIND, "name": self.name}

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Forget it."""
        state.schedules.pop(self.name, None)

    def needs(self) -> int:
        """Return the least format that knows schedules."""
        return LIMITS
