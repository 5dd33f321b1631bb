"""What jobq gives to the tests of its users."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from jobq import Fail, JobHandle, Queue, Retry, Snooze, current_job, handler
from jobq.errors import CallFailed, UsageError
from jobq.job import State
from jobq.testing import FrozenClock, assert_enqueued, call, drain, enqueued, frozen_clock, jobq_queue
from tests.conftest import wait_until

__all__ = ["frozen_clock", "jobq_queue"]


@dataclasses.dataclass
class Order:
    number: int
    day: datetime.date


@handler(retries=2, backoff="const:1h")
def send(order: Order, copies: int = 1) -> list[Order]:
    current_job().progress(0.5)
    return [order] * copies


@handler(retries=2, backoff="const:1h")
def flaky(n: int) -> int:
    if current_job().attempt < n:
        raise Retry("not yet")
    return current_job().attempt


@handler
def broken() -> int:
    raise Fail("no")


@handler
def sleepy() -> int:
    if current_job().attempt == 1:
        raise Snooze(3600)
    return 2


@handler
def odd() -> object:
    return object()


ORDER = Order(7, datetime.date(2026, 12, 24))


def test_a_handler_is_called_through_json() -> None:
    assert call(send, ORDER, copies=2) == [ORDER, ORDER]
    with pytest.raises(UsageError, match="does not take these arguments"):
        call(send, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not JSON"):
        call(odd)
    with pytest.raises(Fail):
        call(broken)


def test_a_queue_is_drained_here_and_now(jobq_queue: Queue) -> None:
    sent = send.enqueue(ORDER)
    command = jobq_queue.add("echo hello; exit 3", success_codes="3")
    assert threading.active_count() == 1
    assert [job.id for job in drain(jobq_queue)] == [sent.id, command.id]
    assert sent.refresh().result == [ORDER]
    assert "hello" in Path(jobq_queue.log_path(command.id, 1)).read_text()
    assert drain(jobq_queue) == []


def test_no_time_passes_on_a_frozen_clock(jobq_queue: Queue, frozen_clock: FrozenClock) -> None:
    began = frozen_clock.now().wall
    later = send.using(delay="2h").enqueue(ORDER)
    jobs: list[JobHandle[Any]] = [flaky.enqueue(3), sleepy.enqueue(), later]
    drain(jobq_queue)
    assert [job.refresh().state for job in jobs] == [State.SUCCEEDED] * 3
    assert (jobs[0].result, len(jobs[0].attempts)) == (3, 3)
    assert 2 * 3600 <= frozen_clock.now().wall - began < 4 * 3600


def test_the_clock_shows_what_it_is_set_to(jobq_queue: Queue) -> None:
    noon = datetime.datetime(2026, 12, 24, 12, tzinfo=datetime.UTC)
    with FrozenClock(noon) as clock:
        job = send.using(at="2026-12-24T18:00+00:00").enqueue(ORDER)
        assert job.job.added_at == noon.timestamp()
        assert drain(jobq_queue) == []
        clock.tick(6 * 3600)
        assert drain(jobq_queue) == [job]
        assert job.refresh().job.finished_at == pytest.approx(noon.timestamp() + 6 * 3600, abs=60)


def test_a_failing_call_fails_its_job(jobq_queue: Queue, capfd: pytest.CaptureFixture[str]) -> None:
    job = broken.enqueue()
    drain(jobq_queue)
    assert (job.refresh().state, len(job.attempts)) == (State.FAILED, 1)
    with pytest.raises(CallFailed, match="no"):
        _ = job.result
    assert "Fail: no" in capfd.readouterr().err
    jobq_queue.acknowledge([job.id])


def test_what_was_enqueued_is_asserted(jobq_queue: Queue) -> None:
    job = send.enqueue(ORDER, copies=2)
    assert assert_enqueued(jobq_queue, send, ORDER, copies=2) == job
    assert enqueued(jobq_queue, send, ORDER) == []
    with pytest.raises(AssertionError, match=r"0 such jobs, not 1; there are: 1: tests.python.test_testing:send\("):
        assert_enqueued(jobq_queue, send, ORDER)
    drain(jobq_queue)
    assert assert_enqueued(jobq_queue, send, ORDER, copies=2).result == [ORDER, ORDER]


def test_a_test_that_leaves_jobs_behind_fails(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from jobq import Queue\nfrom jobq.testing import drain, jobq_queue\n"
        "def test_left(jobq_queue): Queue().add('true')\n"
        "def test_failed(jobq_queue): Queue().add('false', retries=0); drain(jobq_queue)\n"
        "def test_fine(jobq_queue): Queue().add('true'); drain(jobq_queue)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "3 passed, 2 errors" in done.stdout
    assert "jobs left over: job 1 (queued)" in done.stdout
    assert "jobs left over: job 1 (failed)" in done.stdout


# -- a worker beside the application ---------------------------------------------------------------


def test_a_worker_runs_beside_the_application(jobq_queue: Queue) -> None:
    with jobq_queue.working(slots=2):
        assert [worker.slots for worker in jobq_queue.workers.all()] == [2]
        assert send.enqueue(ORDER).wait(timeout=30).result == [ORDER]
    assert jobq_queue.workers.all() == []
    assert "succeeded" in (Path(jobq_queue.path) / "worker.log").read_text()


def test_a_worker_finishes_what_runs_before_it_stops(jobq_queue: Queue, tmp_path: Path) -> None:
    with jobq_queue.working():
        job = jobq_queue.add(f"touch {tmp_path}/began; sleep 0.3")
        wait_until((tmp_path / "began").exists)
    assert job.refresh().state is State.SUCCEEDED


def test_a_worker_does_not_outlive_an_application_that_is_killed(jobq_queue: Queue) -> None:
    code = "import time\nfrom jobq import Queue\nwith Queue().working():\n    print('there', flush=True)\n    time.sleep(600)"
    application = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert application.stdout is not None
    assert application.stdout.readline() == "there\n"
    assert len(jobq_queue.workers.all()) == 1
    application.kill()
    application.communicate()
    wait_until(lambda: jobq_queue.workers.all() == [])


def test_the_worker_is_jobq_whatever_the_directory_holds(
    jobq_queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobq.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "types.py").write_text("raise SystemExit('nor that')")
    monkeypatch.chdir(tmp_path)
    with jobq_queue.working():
        assert len(jobq_queue.workers.all()) == 1
