"""Every engine keeps the contract of `engine.Runner`: the one of this machine, and the fake that other tests rely on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobq import clock
from jobq.engine import Runner
from jobq.engine.local.engine import LocalEngine
from jobq.engine.task import Key, Task, Trace
from jobq.job import Attempt, Ending, Outcome
from jobq.store.environment import save
from jobq.store.folder import Folder
from jobq.supervisor import tree
from jobq.supervisor.mark import mark_of
from tests.conftest import wait_until
from tests.helpers.fake_runner import FakeRunner


class Rig:
    """One runner, with tasks whose end the test decides."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self.runner = runner
        self.folder = folder
        root = Folder.create(str(folder / "state"))
        self.env_file = f"{root.path}/env/{save(root, {'PATH': os.environ['PATH']})}.json"

    def task(self, handle: str, job_id: int, n: int = 1, *, deaf: bool = False) -> Task:
        """A task that runs until `end`, and hears TERM unless it is `deaf`."""
        attempt = Attempt(n, "w000000000000", handle, 1.0)
        trap = "trap : TERM;" if deaf else ""
        return Task(
            Trace(Key(job_id, n), attempt, mark_of((1, 2), handle, job_id, n, 1.0), str(self.folder / f"{job_id}.log")),
            f"{trap} while ! [ -e {self.folder}/end{job_id} ]; do sleep 0.02; done",
            "/", 0o022, self.env_file, {}, None, None, False, None, None, 5.0, 1 << 20, clock.now().boot_id, False, None, None, False,
        )  # fmt: skip

    def reserve(self, count: int) -> list[str]:
        """Places, once there are so many."""
        return wait_until(lambda: len(self.look().reserve(count)) == count and self.runner.reserve(count))

    def look(self) -> Runner:
        """The runner, after it has heard what there is to hear."""
        self.runner.wait(0.01)
        return self.runner

    def end(self, job_id: int, n: int = 1) -> None:
        """Let a task end with success."""
        if isinstance(self.runner, FakeRunner):
            self.runner.end(job_id, n)
        else:
            (self.folder / f"end{job_id}").touch()

    def ended(self, *keys: Key) -> dict[Key, Ending]:
        """The endings, once exactly these attempts are over."""

        def found() -> dict[Key, Ending] | None:
            endings = {end.key: end.ending for end in self.look().ended()}
            return endings if endings.keys() == set(keys) else None

        return wait_until(found) or {}


RUNNERS: dict[str, Callable[[str], Runner]] = {"local": LocalEngine, "fake": FakeRunner}


@pytest.fixture(params=RUNNERS)
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    # The process of the tests is no worker's own: it must not adopt and reap the processes of other tests.
    monkeypatch.setattr(tree, "become_subreaper", lambda: None)
    monkeypatch.setattr(tree, "reap_orphans", lambda _spared: None)
    folder = tmp_path / "workers" / "w000000000000"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "lock").touch(0o600)  # of the worker
    rig = Rig(RUNNERS[request.param](str(folder)), tmp_path)
    yield rig
    for key in rig.runner.running():
        rig.runner.stop(key, 0.0)
    wait_until(lambda: not rig.look().running())
    rig.runner.close()


def test_an_attempt_runs_ends_and_is_returned_until_it_is_recorded(rig: Rig) -> None:
    (handle,) = rig.reserve(1)
    assert rig.runner.busy == 0
    rig.runner.submit(handle, [rig.task(handle, 1)])
    key = Key(1, 1)
    assert (rig.runner.busy, rig.runner.running(), rig.runner.ended()) == (1, [key], [])
    trace = rig.runner.trace(key)
    assert trace is not None
    assert trace.attempt.supervisor == handle
    rig.end(1)
    assert rig.ended(key)[key].status == 0
    assert (rig.runner.busy, rig.runner.running()) == (0, [])
    ended = rig.runner.ended()
    assert [end.key for end in ended] == [key]
    rig.runner.recorded(ended)
    assert (rig.runner.ended(), rig.runner.trace(key)) == ([], None)


def test_places_are_free_until_something_is_submitted_there(rig: Rig) -> None:
    first = rig.reserve(2)
    assert len(set(first)) == 2
    assert rig.reserve(2) == first
    rig.runner.submit(first[0], [rig.task(first[0], 1)])
    assert first[0] not in rig.reserve(2)


def test_jobs_at_one_place_run_one_after_the_other(rig: Rig) -> None:
    (handle,) = rig.reserve(1)
    rig.runner.submit(handle, [rig.task(handle, 1), rig.task(handle, 2)])
    assert rig.runner.busy == 1
    assert rig.runner.running() == [Key(1, 1), Key(2, 1)]
    rig.end(1)
    rig.ended(Key(1, 1))
    rig.end(2)
    assert rig.ended(Key(1, 1), Key(2, 1))[Key(2, 1)].status == 0


def test_a_suspended_attempt_goes_on_and_ends(rig: Rig) -> None:
    (handle,) = rig.reserve(1)
    rig.runner.submit(handle, [rig.task(handle, 1)])
    key = Key(1, 1)
    assert rig.runner.suspend(key, suspend=True)
    assert rig.runner.suspend(key, suspend=True)
    assert rig.runner.running() == [key]
    assert rig.runner.suspend(key, suspend=False)
    rig.end(1)
    assert rig.ended(key)[key].status == 0
    rig.runner.recorded(rig.runner.ended())
    assert not rig.runner.suspend(key, suspend=True)


def test_a_cancel_ends_it_as_cancelled(rig: Rig) -> None:
    (handle,) = rig.reserve(1)
    rig.runner.submit(handle, [rig.task(handle, 1)])
    key = Key(1, 1)
    assert rig.runner.cancel(key)
    assert rig.ended(key)[key].outcome is Outcome.CANCELLED


def test_a_stop_ends_it_as_interrupted_and_costs_no_retry(rig: Rig) -> None:
    (handle,) = rig.reserve(1)
    rig.runner.submit(handle, [rig.task(handle, 1, deaf=True)])
    key = Key(1, 1)
    assert rig.runner.stop(key, 0.1)
    ending = rig.ended(key)[key]
    assert (ending.outcome, ending.counted) == (Outcome.INTERRUPTED, False)


def test_orders_for_what_does_not_run_are_not_taken(rig: Rig) -> None:
    assert not rig.runner.cancel(Key(9, 1))
    assert not rig.runner.stop(Key(9, 1), 1.0)
    rig.runner.mark_read(Key(9, 1), 5)


def test_what_is_withdrawn_was_never_started(rig: Rig) -> None:
    rig.runner.withdraw(Key(3, 1))
    assert rig.ended(Key(3, 1))[Key(3, 1)].never_started


def test_what_waits_behind_another_can_be_recalled(rig: Rig) -> None:
    (handle,) = rig.reserve(1)
    rig.runner.submit(handle, [rig.task(handle, 1), rig.task(handle, 2)])
    assert rig.runner.recall()
    assert rig.ended(Key(2, 1))[Key(2, 1)].never_started
    assert rig.runner.running() == [Key(1, 1)]


def test_wait_returns_the_watched_descriptors_that_are_readable(rig: Rig) -> None:
    if isinstance(rig.runner, FakeRunner):
        pytest.skip("it waits for nothing")
    read, write = os.pipe()
    rig.runner.watch(read)
    assert rig.runner.wait(0.0) == []
    os.write(write, b"!")
    assert rig.runner.wait(5.0) == [read]
    rig.runner.unwatch(read)
    assert rig.runner.wait(0.0) == []
    os.close(read)
    os.close(write)


def test_tend_says_when_to_come_again(rig: Rig) -> None:
    assert rig.runner.tend(clock.now()) >= 0
