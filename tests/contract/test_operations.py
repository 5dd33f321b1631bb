"""Every kind of operation keeps the contract of `store.operations.Operation`; a kind without a sample fails here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobq.command import BadRecord
from jobq.job import Job, Spec, State
from jobq.moment import Due, Moment
from jobq.queues import Pause, QueueSettings
from jobq.rules import lifecycle
from jobq.rules.uniqueness import Kept
from jobq.schedules import Schedule
from jobq.store.contents import Tables
from jobq.store.format import BASE, FORMAT
from jobq.store.journal import decode_line
from jobq.store.operations import AddJobs, Move, Operation, PutJob, RemoveJob
from jobq.store.records import MISFITS
from jobq.store.replay import OPERATIONS, apply_line, decode
from jobq.store.schedules import MarkSchedule, RemoveSchedule, SetSchedule
from jobq.store.snapshot import apply_snapshot_line, snapshot_lines
from jobq.store.state import StoreState
from jobq.store.tables import SetQueue, SetResource
from jobq.store.writer import LINE_BYTES

KEPT = Kept("key:x", 2, 5.0, "digest")
NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
SPEC = Spec("/", "0" * 64, name="kept")
RUNNING = lifecycle.claim(Job(1, SPEC, "true", 1.0), NOW, owner="w1", supervisor="w1/0")
NIGHTLY = Schedule("nightly", "0 3 * * *", "UTC", 1.0, SPEC._replace(name=None), "true", paused=True, mark=2.0)
SAMPLES: dict[str, Operation] = {
    "add": AddJobs(2, SPEC._replace(name=None), ["true", ("echo", "a b")]),
    "move": Move.of(Job(1, SPEC, "true", 1.0), RUNNING),
    "put": PutJob(Job(1, SPEC._replace(priority=9), "other", 1.0)),
    "remove": RemoveJob(1, open_failure=True),
    "queue": SetQueue(QueueSettings("night", Pause(1.0, "disk is full"))),
    "resource": SetResource("gpu", 4),
    "schedule": SetSchedule(NIGHTLY),
    "fired": MarkSchedule.of(NIGHTLY._replace(mark=9.0, last=1, fired=1)),
    "unschedule": RemoveSchedule("nightly"),
}
kinds = pytest.mark.parametrize("kind", OPERATIONS, ids=str)


def state() -> StoreState:
    """A store with one job."""
    made = StoreState()
    made.add(1, SPEC, ["true"], 1.0)
    made.schedules["nightly"] = NIGHTLY._replace(paused=False)
    return made


def seen(known: StoreState) -> Any:
    """All that an operation may change."""
    tables = known.queues, known.resources, known.keys.kept(), known.schedules
    return known.jobs, known.removed, tables, known.next_id, known.running, known.names, known.failures.count


def test_every_kind_has_a_sample_of_its_kind() -> None:
    assert OPERATIONS.keys() == SAMPLES.keys()
    assert all(kind == operation.KIND for kind, operation in SAMPLES.items())


@kinds
def test_what_is_read_back_does_the_same(kind: str) -> None:
    operation = SAMPLES[kind]
    once, again = state(), state()
    operation.apply(once, 1, NOW.wall)
    again_operation = decode(json.loads(json.dumps(operation.encode())))
    again_operation.apply(again, 1, NOW.wall)
    assert seen(once) == seen(again)
    assert seen(once) != seen(state())
    assert list(once.check_indexes()) == []


@kinds
def test_it_names_the_jobs_that_it_changes_and_no_others(kind: str) -> None:
    operation, after = SAMPLES[kind], state()
    operation.apply(after, 1, NOW.wall)
    changed = {n for n in (1,) if after.jobs.get(n) != state().jobs[n]}
    assert set(operation.job_ids()) == changed


@kinds
def test_it_fits_on_a_line_and_needs_a_format_that_this_version_knows(kind: str) -> None:
    operation = SAMPLES[kind]
    assert 0 < operation.weight() <= LINE_BYTES
    assert BASE <= operation.needs() <= FORMAT


@kinds
@pytest.mark.parametrize("spoiled", [None, 7, [], {}, {"id": "x"}, {"job": 1, "id": -1, "first": -1, "queue": []}])
def test_a_record_that_does_not_fit_is_refused(kind: str, spoiled: object) -> None:
    record = {**spoiled, "op": kind} if isinstance(spoiled, dict) else spoiled
    with pytest.raises(MISFITS):
        decode(record).apply(state(), 1, 1.0)


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(BadRecord, match="unknown operation"):
        apply_line(state(), {"seq": 1, "at": 1.0, "ops": [{"op": "dance"}]})


def test_the_settings_of_queues_survive_a_snapshot() -> None:
    before, after = state(), StoreState()
    for settings in (
        QueueSettings("night", Pause(2.0, "why", Due(3.0, 4.0, "boot"), running=True)),
        QueueSettings(None, Pause(3.0)),
        QueueSettings("x", None, 2, 9, extra={"colour": 3}),
    ):
        before.set_queue(settings)
    before.set_resource("gpu", 4)
    before.keys.keep([KEPT])
    lines = snapshot_lines(
        before.jobs.values(),
        Tables.of(before),
        5,
        before.next_id,
        before.failures.now,
        before.later,
    )
    ends = [apply_snapshot_line(after, decode_line(line[:-1])) for line in lines]
    assert ends == [False] * (len(ends) - 1) + [True]
    assert seen(before) == seen(after)
    assert after.pauses().keys() == {"night", "*"}
    assert after.limits == {"x": 2}
    assert after.keys.kept() == [KEPT]
    assert after.resources == {"gpu": 4}
    assert all(job.state is State.QUEUED for job in after.jobs.values())
