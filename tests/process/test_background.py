"""Workers in the background: `worker --detach`, `list`, `stop`, `log`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobq.job import State
from jobq.store import worker_log
from jobq.supervisor.tree import read_stat
from tests.conftest import Cli, wait_until

WAIT = "while ! [ -e go ]; do sleep 0.02; done"


@pytest.fixture
def cli(cli: Cli) -> Iterator[Cli]:
    """The command, and no worker left in the background."""
    yield cli
    for worker in cli.queue.workers.all():
        os.kill(worker.pid, signal.SIGKILL)


def test_one_goes_on_in_the_background_and_is_stopped(cli: Cli) -> None:
    done = cli("worker", "--detach", "-j", "3", "-q", "night")
    pid = int(done.stdout)
    assert "the worker runs in the background" in done.stderr
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").resolve() == Path("/") or not Path("/proc/self").exists()
    (worker,) = json.loads(cli("worker", "list", "--json").stdout)["workers"]
    assert (worker["pid"], worker["slots"], worker["queues"]) == (pid, 3, ["night"])
    assert f"pid {pid}: 3 slots, night, since " in cli("worker", "list").stdout
    job_id = cli.id("-q", "night", "echo done")
    cli.queue.wait(job_id, timeout=30)
    wait_until(lambda: "succeeded" in cli("worker", "log").stdout)
    assert len(cli("worker", "log", "--tail", "1").stdout.splitlines()) == 1
    assert f"the worker with pid {pid} has stopped" in cli("worker", "stop", "--wait").stderr
    assert cli.queue.workers.all() == []
    assert "no worker is running" in cli("worker", "stop", code=1).stderr
    assert "healthy" in cli("doctor").stdout


def test_its_jobs_outlive_it_and_are_adopted(cli: Cli) -> None:
    cli("worker", "--detach", "--stop-after", "100ms")
    job_id = cli.id(WAIT)
    wait_until(lambda: cli.queue.job(job_id).state is State.RUNNING)
    cli("worker", "stop", "--wait")
    assert cli.queue.job(job_id).state is State.RUNNING
    cli("worker", "--detach")
    (cli.cwd / "go").touch()
    assert cli.queue.wait(job_id, timeout=30).state is State.SUCCEEDED
    assert len(cli.queue.job(job_id).attempts) == 1


def test_hand_back_stops_them(cli: Cli) -> None:
    cli("worker", "--detach", "--stop-after", "100ms")
    job_id = cli.id(WAIT)
    wait_until(lambda: cli.queue.job(job_id).state is State.RUNNING)
    cli("worker", "stop", "--hand-back", "--wait")
    assert cli.queue.job(job_id).state is State.QUEUED


def test_it_obeys_two_orders_at_once(cli: Cli) -> None:
    pid = int(cli("worker", "--detach", "-j", "1", "--stop-after", "100ms").stdout)
    cli("add", WAIT, ":::", "1", "2")
    wait_until(lambda: cli.queue.job(1).state is State.RUNNING)
    (worker,) = cli.queue.workers.all()
    os.kill(pid, signal.SIGSTOP)
    cli.queue.workers.set_slots(worker, 2)
    cli.queue.workers.stop(worker, hand_back=True)
    os.kill(pid, signal.SIGCONT)
    cli("worker", "stop", "--wait", code=None)
    assert cli.queue.job(1).state is State.QUEUED
    assert "healthy" in cli("doctor").stdout


def test_its_log_stays_short(cli: Cli) -> None:
    """A worker may run for years."""
    cli("worker", "--detach")
    log, older = Path(cli.queue.workers.log_path()), Path(cli.queue.workers.log_path(older=True))
    os.truncate(log, worker_log.MOST + 1)
    cli.queue.wait(cli.id("true"), timeout=30)
    wait_until(older.exists)
    cli.queue.wait(cli.id("true"), timeout=30)
    wait_until(lambda: "job 2" in log.read_text())
    assert log.stat().st_size < 10_000


def test_a_parent_that_was_killed_does_no_harm(tmp_path: Path) -> None:
    """The worker has started, and tells a process that is gone."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    words = (
        "import os; from jobq.worker.background import Parting; parting = Parting(os.dup(1))\n"
        "if parting.pid: os._exit(9)\n"
        f"while not os.path.exists('{tmp_path}/gone'): pass\n"
        "parting.tell_ready(); print('ready', flush=True)"
    )
    done = subprocess.Popen([sys.executable, "-c", words], stdout=log, cwd=tmp_path)
    assert done.wait(30) == 9
    (tmp_path / "gone").touch()
    wait_until(lambda: (tmp_path / "log").read_text() == "ready\n")
    os.close(log)


def test_several_have_to_be_named(cli: Cli) -> None:
    pids = [int(cli("worker", "--detach").stdout) for _ in range(2)]
    told = cli("worker", "stop", code=1).stderr
    assert all(f"--pid {pid}" in told for pid in pids)
    cli("worker", "stop", "--pid", str(pids[0]), "--wait")
    assert [worker.pid for worker in cli.queue.workers.all()] == [pids[1]]


def test_one_that_can_not_start_says_why(cli: Cli) -> None:
    told = cli("worker", "--detach", "--on-stop", "nonsense", code=2).stderr
    assert "use leave or hand-back" in told
    assert cli.queue.workers.all() == []


def test_a_killed_one_leaves_nothing_that_stop_would_signal(cli: Cli) -> None:
    pid = int(cli("worker", "--detach").stdout)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: (stat := read_stat(pid)) is None or stat[2])
    assert "no worker is running" in cli("worker", "stop", code=1).stderr


def test_a_second_stop_hurts_nothing(cli: Cli) -> None:
    cli("worker", "--detach")
    job_id = cli.id("--retries", "0", f"{WAIT}; echo finished")
    wait_until(lambda: cli.queue.job(job_id).state is State.RUNNING)
    assert "is asked to stop" in cli("worker", "stop").stderr
    wait_until(lambda: cli.queue.workers.all()[0].stopping)
    assert "was asked before" in cli("worker", "stop").stderr
    (cli.cwd / "go").touch()
    cli("worker", "stop", "--wait", code=None)
    assert cli.queue.wait(job_id, timeout=30).state is State.SUCCEEDED


def test_one_that_a_script_has_started_can_be_stopped(cli: Cli) -> None:
    words = f"{sys.executable} -m jobq worker --detach >/dev/null 2>&1 & wait"
    subprocess.run(["sh", "-c", words], env=cli.env, check=True)
    cli("worker", "stop", "--wait")
    assert cli.queue.workers.all() == []


def test_it_keeps_no_lock_and_no_pipe_of_its_caller(cli: Cli) -> None:
    words = f"({sys.executable} -m jobq worker --detach 3>&1 >/dev/null 2>&1) | cat"
    subprocess.run(["bash", "-c", words], env=cli.env, check=True, timeout=30)
    assert len(cli.queue.workers.all()) == 1


def test_its_log_is_followed_into_the_next_file(cli: Cli) -> None:
    cli("worker", "--detach", "-j", "1")
    follower = cli.start("worker", "log", "-f")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(follower.stdout or []), daemon=True)
    reader.start()
    cli.queue.wait(cli.id("true"), timeout=30)
    wait_until(lambda: any("job 1 succeeded" in line for line in list(lines)))
    path = cli.store / worker_log.NAME
    path.rename(cli.store / worker_log.OLDER)
    path.write_text("the next file\n")
    path.chmod(0o600)
    wait_until(lambda: "the next file\n" in list(lines))
    follower.send_signal(signal.SIGINT)
    assert follower.wait(30) == -signal.SIGINT
    reader.join(30)
