"""Everything that callers rely on of `Store` and `Transaction`, whichever way a job is added, and whoever reads it.

`tests/store/test_model.py` holds the same on random operations, with torn tails, lost hints and compaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from jobq.errors import NotFound
from jobq.job import Spec, State
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.store import compaction
from jobq.store.store import Store
from jobq.store.transaction import Add

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")


def appended(store: Store, new: Add) -> range:
    return store.append(new, NOW.wall)


def in_a_transaction(store: Store, new: Add) -> range:
    with store.transaction(NOW.wall) as changes:
        return changes.add(new)


def same(store: Store) -> Store:
    store.read()
    return store


def fresh(store: Store) -> Store:
    opened = Store(store.path)
    opened.read()
    return opened


def compacted(store: Store) -> Store:
    assert compaction.compact(store.path, NOW)
    return fresh(store)


WAYS = pytest.mark.parametrize("way", [appended, in_a_transaction])
READERS = pytest.mark.parametrize("reader", [same, fresh, compacted])


@pytest.fixture
def spec(store: Store) -> Spec:
    return Spec("/", store.save_environment({"A": "1"}), priority=3)


@pytest.fixture
def staying(store: Store, spec: Spec) -> Iterator[Store]:
    """A reader that was there before."""
    opened = Store(store.path)
    opened.read()
    yield opened
    opened.close()


@WAYS
@READERS
def test_ids_are_given_out_in_order_and_never_again(
    store: Store, spec: Spec, way: Callable[[Store, Add], range], reader: Callable[[Store], Store]
) -> None:
    assert way(store, Add(spec, ["one", "two"])) == range(1, 3)
    with store.transaction(NOW.wall) as changes:
        changes.remove(2)
    seen = reader(store)
    assert way(seen, Add(spec, ["three"])) == range(3, 4)
    assert {job.id: (job.command, job.spec, job.state) for job in seen.read().unfinished()} == {
        1: ("one", spec, State.QUEUED),
        3: ("three", spec, State.QUEUED),
    }
    with pytest.raises(NotFound):
        seen.get(2)


@WAYS
def test_a_reader_that_stays_sees_what_was_acknowledged(
    store: Store, staying: Store, spec: Spec, way: Callable[[Store, Add], range]
) -> None:
    (job_id,) = way(store, Add(spec, ["one"]))
    assert job_id in staying.read().jobs


@READERS
def test_a_transaction_is_seen_whole(store: Store, spec: Spec, reader: Callable[[Store], Store]) -> None:
    store.append(Add(spec, ["one", "two"]), NOW.wall)
    with store.transaction(NOW.wall) as changes:
        changes.put(lifecycle.cancel(changes.state.jobs[1], NOW))
        assert changes.state.jobs[1].state is State.CANCELLED  # what comes after builds on it
        changes.add(Add(spec, ["three"]))
    seen = reader(store)
    assert {job.id: job.state for job in seen.find_all([1, 2, 3]).values()} == {
        1: State.CANCELLED,
        2: State.QUEUED,
        3: State.QUEUED,
    }
    assert [job.id for job in seen.finished_jobs()] == [1]


@READERS
def test_a_transaction_that_raises_has_changed_nothing(
    store: Store, spec: Spec, reader: Callable[[Store], Store]
) -> None:
    store.append(Add(spec, ["one"]), NOW.wall)
    with pytest.raises(ZeroDivisionError), store.transaction(NOW.wall) as changes:
        changes.put(lifecycle.cancel(changes.state.jobs[1], NOW))
        changes.add(Add(spec, ["two"]))
        raise ZeroDivisionError
    assert {job.id: job.state for job in reader(store).read().jobs.values()} == {1: State.QUEUED}
    assert list(store.append(Add(spec, ["two"]), NOW.wall)) == [2]


def test_what_a_job_asks_for_changes_by_edit_only(store: Store, spec: Spec) -> None:
    store.append(Add(spec, ["one"]), NOW.wall)
    other = store.read().jobs[1]._replace(spec=spec._replace(priority=9))
    with pytest.raises(ValueError, match="edited"), store.transaction(NOW.wall) as changes:
        changes.put(other)
    with store.transaction(NOW.wall) as changes:
        changes.edit(other)
    assert fresh(store).state.jobs[1].spec.priority == 9
