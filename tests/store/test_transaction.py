"""A transaction: all or nothing, and never a change that nobody asked for."""

from __future__ import annotations

import pytest

from jobq.job import Spec
from jobq.moment import Moment
from jobq.queues import Pause, QueueSettings
from jobq.rules import lifecycle
from jobq.store import compaction
from jobq.store.format import BASE, QUEUES
from jobq.store.store import Store
from jobq.store.tables import SetQueue
from jobq.store.transaction import Add, FormatTooOld

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
PAUSE = SetQueue(QueueSettings("night", Pause(NOW.wall, "disk")))


def add(store: Store, *commands: str) -> list[int]:
    """Add jobs of one spec."""
    return list(store.append(Add(Spec("/", store.save_environment({})), commands), NOW.wall))


def test_each_change_shows_in_the_state_at_once_and_all_are_durable_together(store: Store) -> None:
    (one,) = add(store, "one")
    with store.transaction(NOW.wall) as changes:
        changes.put(lifecycle.hold(changes.state.jobs[one], NOW))
        (two,) = changes.add(Add(changes.state.jobs[one].spec, ["two"]))
        changes.put(lifecycle.cancel(changes.state.jobs[two], NOW))
        assert Store(store.path).read().jobs.keys() == {one}
    states = {job.id: str(job.state) for job in Store(store.path).read().jobs.values()}
    assert states == {one: "held", two: "cancelled"}


def test_a_body_that_raises_changes_nothing(store: Store) -> None:
    (one,) = add(store, "one")
    with pytest.raises(RuntimeError), store.transaction(NOW.wall) as changes:
        changes.remove(one)
        raise RuntimeError
    assert store.read().jobs.keys() == Store(store.path).read().jobs.keys() == {one}


def test_a_move_that_changes_what_was_asked_for_is_refused(store: Store) -> None:
    (one,) = add(store, "one")
    job = store.read().jobs[one]
    for changed in (job._replace(spec=job.spec._replace(priority=3)), job._replace(command="two")):
        with pytest.raises(ValueError, match="moved and edited"), store.transaction(NOW.wall) as changes:
            changes.put(changed)
    with store.transaction(NOW.wall) as changes:
        changes.edit(job._replace(spec=job.spec._replace(priority=3)))
    assert Store(store.path).read().jobs[one].spec.priority == 3


def test_an_operation_of_a_later_format_needs_a_store_of_that_format(store: Store) -> None:
    add(store, "one")
    with pytest.raises(FormatTooOld), store.transaction(NOW.wall) as changes:
        changes.record(PAUSE)
    assert compaction.compact(store.path, NOW, least_format=QUEUES)
    with store.transaction(NOW.wall) as changes:
        changes.record(PAUSE)
    assert store.header is not None
    assert (store.header.format, store.header.min_reader, store.header.min_writer) == (QUEUES, QUEUES, QUEUES)
    assert Store(store.path).read().pauses() == {"night": "disk"}
    assert compaction.compact(store.path, NOW)
    assert Store(store.path).read().pauses() == {"night": "disk"}


def test_a_store_that_needs_no_later_format_goes_back_to_the_base(store: Store) -> None:
    add(store, "one")
    compaction.compact(store.path, NOW, least_format=QUEUES)
    with store.transaction(NOW.wall) as changes:
        changes.record(PAUSE)
        changes.record(SetQueue(QueueSettings("night")))
    assert compaction.compact(store.path, NOW)
    store.read()
    assert store.header is not None
    assert (store.header.format, store.header.min_reader, store.header.min_writer) == (BASE, BASE, BASE)


def test_a_pause_behind_a_checkpoint_is_not_lost_by_its_compaction(store: Store) -> None:
    """A compaction that would go back to the base format while a queue is being paused comes to nothing."""
    add(store, "one")
    compaction.compact(store.path, NOW, least_format=QUEUES)
    store.read_settled()
    known = compaction.Checkpoint.by(store)
    with store.transaction(NOW.wall) as changes:
        changes.record(PAUSE)
    assert not compaction.compact(store.path, NOW, known=known)
    assert Store(store.path).read().pauses() == {"night": "disk"}
