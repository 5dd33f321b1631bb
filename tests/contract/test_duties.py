"""Every duty keeps what the loop of a worker relies on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobq.job import Spec
from jobq.moment import Moment
from jobq.store.format import JOURNAL
from jobq.store.store import Store
from jobq.store.transaction import Add
from jobq.tables import Queues
from jobq.worker.duty import Duty
from jobq.worker.loop import Worker
from jobq.worker.signals import StopSignals
from tests.helpers.fake_runner import FakeRunner

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")


@pytest.fixture
def worker(store: Store) -> Iterator[Worker]:
    """A worker with one job running, one waiting behind it, and one in a paused queue."""
    spec = Spec("/", store.save_environment({}))
    store.append(Add(spec, ["one", "two"]), NOW.wall)
    store.append(Add(spec._replace(queue="night"), ["three"]), NOW.wall)
    Queues(store).pause("night")
    worker = Worker(store, slots=1, make_runner=lambda folder, _bound: FakeRunner(folder))
    worker._context.signals = StopSignals()
    worker.step(NOW)
    yield worker
    worker._context.registration.leave(remove=True)


def duties() -> list[str]:
    """The names of the duties in their order."""
    return [
        "Housekeeping",
        "Orders",
        "Recovery",
        "Stopping",
        "Cancels",
        "Expiry",
        "Resuming",
        "Suspending",
        "Schedules",
        "Turn",
        "IdleHook",
    ]


def duty(worker: Worker, name: str) -> Duty:
    (found,) = [duty for duty in worker._duties if type(duty).__name__ == name]
    return found


def test_every_duty_is_tested_here(worker: Worker) -> None:
    assert [type(duty).__name__ for duty in worker._duties] == duties()


@pytest.mark.parametrize("name", duties())
def test_a_step_that_has_nothing_to_do_writes_nothing_and_may_be_taken_at_any_time(worker: Worker, name: str) -> None:
    before = Path(worker.store.path, JOURNAL).read_bytes()
    sleeps = [duty(worker, name).step(NOW) for _ in range(3)]
    assert Path(worker.store.path, JOURNAL).read_bytes() == before
    assert all(sleep > 0 for sleep in sleeps)


@pytest.mark.parametrize("name", duties())
def test_a_clock_that_was_set_back_does_not_stop_a_duty(worker: Worker, name: str) -> None:
    back = Moment(NOW.wall - 1e6, NOW.boot, NOW.boot_id)
    assert duty(worker, name).step(back) >= 0
