"""Stores of every format there has been, as they were left by the version that wrote them (`tests/data/format-N`).

Each holds a finished day, a job of every state, a call, a bulk add, a requeued old job, and the folder of a worker that
was killed while a job ran and then ended by itself.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobq.job import Outcome, State
from tests.conftest import Cli

DATA = Path(__file__).parent.parent / "data"
STATES = {
    2: "failed", 3: "succeeded", 4: "succeeded", 5: "failed", 6: "succeeded", 7: "cancelled",
    8: "queued", 9: "running", 10: "queued", 11: "queued",
}  # fmt: skip


@pytest.fixture(params=sorted(path.name for path in DATA.glob("format-*")))
def old(request: pytest.FixtureRequest, cli: Cli) -> Cli:
    """A copy of an old store, as private as it was."""
    shutil.copytree(DATA / request.param, cli.store)
    for path in [cli.store, *cli.store.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return cli


def test_an_old_store_is_read_in_full(old: Cli) -> None:
    queue = old.queue
    jobs = {job.id: job for job in [*queue.jobs(), *queue.finished()]}
    assert {job_id: str(job.state) for job_id, job in sorted(jobs.items())} == STATES
    night = jobs[6]
    assert night.command == ("printf", "%s\\n", "a b", "café")
    assert (night.spec.queue, night.spec.priority, night.spec.timeout) == ("other", 10, 600.0)
    assert (night.spec.name, night.spec.log_max) == ("night", 1 << 20)
    assert queue.store.load_environment(night.spec.env)["A"] == "1"
    assert queue.result(4) == '"[1]"'
    assert [attempt.ending.status for attempt in jobs[3].attempts if attempt.ending] == [1, 0]
    assert jobs[5].ending is not None
    assert (jobs[5].ending.outcome, jobs[5].ending.signal) == (Outcome.SIGNAL, 9)
    assert old("log", "6").stdout == "a b\ncafé\n"


def test_an_old_store_is_worked_on(old: Cli) -> None:
    """The ends that its dead worker never recorded are taken; what waits is run; numbers go on."""
    assert old.id("true") == 12
    old("cancel", "10")
    old("worker", "--drain", code=1)
    ninth = old.queue.job(9)
    assert ninth.state is State.SUCCEEDED
    assert len(ninth.attempts) == 1
    assert {n: str(old.queue.job(n).state) for n in (8, 10, 11, 12)} == {
        8: "failed", 10: "cancelled", 11: "succeeded", 12: "succeeded",
    }  # fmt: skip
