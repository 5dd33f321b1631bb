"""The tables beside the jobs: settings of queues, counts of resources, keys of work that is done.

{"op":"queue","queue":{"name":"night","pause":[at,reason],"until":[wall,boot,boot id],"running":true,"limit":2,...}}
                                            all settings of a queue; "name":null: of all queues
{"op":"resource","name":"gpu","count":4}
"""

from __future__ import annotations

from jobq.command import BadRecord, Record, unknown_keys
from jobq.options.values import COUNT, SPAN
from jobq.queues import Pause, QueueSettings
from jobq.rules.uniqueness import Kept
from jobq.store.format import CAPACITIES, HOOKS, JOB_OPTIONS, LIMITS, QUEUES
from jobq.store.operations import Operation
from jobq.store.records import ID, TIME, read_due
from jobq.store.state import StoreState

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import ClassVar, Self

NUMBERS = ("limit", "capacity")


class SetQueue(Operation):
    """The settings of a queue, or of all queues, in the place of those before."""

    KIND: ClassVar[str] = "queue"

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord."""
        return cls(read_queue(record["queue"]))

    def encode(self) -> Record:
        """Return the record."""
        return {"op": self.KIND, "queue": queue_record(self.settings)}

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Replace the settings."""
        state.set_queue(self.settings)

    def needs(self) -> int:
        """Return the least format that knows these settings."""
        return format_of_queue(self.settings)


class SetResource(Operation):
    """Sets the count of a resource."""

    KIND: ClassVar[str] = "resource"

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.count = count

    @classmethod
    def decode(cls, record: Record) -> Self:
        """Read the record. Raises BadRecord."""
        match record:
            case {"name": str() as name, "count": int() as count} if COUNT.allows(count):
                return cls(name, count)
        raise BadRecord(f"a resource can't be {record!r:.60}")

    def encode(self) -> Record:
        """Return the record."""
        return {"op": self.KIND, "name": self.name, "count": self.count}

    def apply(self, state: StoreState, seq: int, at: float) -> None:  # noqa: ARG002
        """Set it."""
        state.set_resource(self.name, self.count)

    def needs(self) -> int:
        """Return the least format that knows resources."""
        return JOB_OPTIONS


def format_of_queue(settings: QueueSettings) -> int:
    """Return the least format of a store that holds these settings."""
    if settings.capacity is not None:
        return CAPACITIES
    if settings.pause is not None and settings.pause.running:
        return HOOKS
    ends = settings.pause is not None and settings.pause.until is not None
    return LIMITS if ends or settings.limit is not None else QUEUES


def queue_record(settings: QueueSettings) -> Record:
    """Return the settings of a queue as stored."""
    record: Record = {"name": settings.name}
    if settings.pause is not None:
        record["pause"] = [settings.pause.at, settings.pause.reason]
        if settings.pause.until is not None:
            record["until"] = settings.pause.until
        if settings.pause.running:
            record["running"] = True
    numbers = {name: getattr(settings, name) for name in NUMBERS if getattr(settings, name) is not None}
    return record | numbers | (settings.extra or {})


def read_resources(record: object) -> dict[str, int]:
    """Return how much there is of each resource. Raises BadRecord."""
    if not isinstance(record, dict) or not all(map(COUNT.allows, record.values())):
        raise BadRecord(f"resources can't be {record!r:.60}")
    return record


def read_kept(record: object) -> Kept:
    """Return what is kept of a job that has succeeded once for all. Raises BadRecord."""
    match record:
        case [str() as identity, int() as job_id, int() | float() as until, str() as payload] if ID.allows(
            job_id
        ) and SPAN.allows(until):
            return Kept(identity, job_id, until, payload)
    raise BadRecord(f"a key can't be {record!r:.60}")


def read_queue(record: object) -> QueueSettings:
    """The inverse of `queue_record`. Raises BadRecord."""
    if not isinstance(record, dict) or not isinstance(record.get("name", 0), (str, type(None))):
        raise BadRecord(f"the settings of a queue can't be {record!r:.60}")
    pause = None
    match record.get("pause"):
        case None:
            pass
        case [int() | float() as at, str() as reason] if TIME.allows(at):
            until = record.get("until")
            running = record.get("running") is True
            pause = Pause(at, reason, None if until is None else read_due(until), running)
        case other:
            raise BadRecord(f"a pause can't be {other!r:.60}")
    for name in NUMBERS:
        if name in record and not ID.allows(record[name]):
            raise BadRecord(f"the {name} of a queue can't be {record[name]!r:.60}")
    extra = unknown_keys(record, frozenset({"name", "pause", "until", "running", *NUMBERS}))
    return QueueSettings(record["name"], pause, record.get("limit"), record.get("capacity"), extra)
