"""`pause --running`: what runs is stopped, with all its processes and its time limits, and goes on afterwards."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from jobq.job import Outcome, State
from tests.conftest import Cli, wait_until
from tests.helpers.processes import is_alive

TICKS = "echo $$ >> pids; while :; do echo tick; sleep 0.02; done"
PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def states_of(cli: Cli) -> list[str]:
    """The states of the processes that have noted their pids: T if stopped.

    One that has just begun another waits for it in vfork(2), where it can't be stopped itself: it is if the other is.
    """
    return [state_of(pid) for pid in (cli.cwd / "pids").read_text().split()]


def state_of(pid: str) -> str:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    if state != "D":
        return state
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return "T" if children and {state_of(child) for child in children} == {"T"} else "D"


def size(cli: Cli, job_id: int = 1) -> int:
    path = Path(cli.queue.log_path(job_id, 1))
    return path.stat().st_size if path.exists() else 0


@PROC
def test_all_processes_stop_and_go_on(cli: Cli) -> None:
    cli.worker("-j", "2")
    child = f"{sys.executable} -c \"import os; os.setsid(); os.execvp('sh', ['sh', '-c', '{TICKS}'])\" & {TICKS}"
    cli.id(child)
    wait_until(lambda: (cli.cwd / "pids").exists() and len(states_of(cli)) == 2)
    cli("pause", "--running", "--reason", "need the machine")
    wait_until(lambda: states_of(cli) == ["T", "T"])
    assert "stopped by the pause" in cli("list").stdout
    seen = size(cli)
    cli.id("true")  # waits
    cli("list")  # takes some time
    assert size(cli) == seen
    cli("resume")
    wait_until(lambda: size(cli) > seen and "T" not in states_of(cli))
    assert "stopped" not in cli("list").stdout
    cli("cancel", "--wait", "1")
    assert not [pid for pid in (cli.cwd / "pids").read_text().split() if is_alive(int(pid))]


def test_time_limits_stand_still(cli: Cli) -> None:
    cli.worker("-j", "1")
    line = "echo one; while ! [ -e go ]; do sleep 0.02; done; echo two"
    job_id = cli.id("--timeout", "5s", "--idle-timeout", "4.5s", "--retries", "0", line)
    wait_until(lambda: size(cli))
    cli("pause", "--running", "--for", "5.5s")  # longer than both limits
    (cli.cwd / "go").touch()
    assert cli.queue.wait(job_id, timeout=30).state is State.SUCCEEDED
    late = cli.id("--timeout", "500ms", "--retries", "0", "sleep 50")
    wait_until(lambda: cli.queue.job(late).state is State.RUNNING)
    cli("pause", "--running")
    cli("resume")
    ending = cli.queue.wait(late, timeout=30).ending
    assert ending is not None
    assert ending.outcome is Outcome.TIMEOUT


@PROC
def test_a_stopped_job_can_be_cancelled(cli: Cli) -> None:
    cli.worker("-j", "1")
    job_id = cli.id("--grace", "20s", f"trap 'echo heard; exit 3' TERM; {TICKS}")
    wait_until((cli.cwd / "pids").exists)
    cli("pause", "--running")
    wait_until(lambda: states_of(cli) == ["T"])
    cli("cancel", "--wait", str(job_id))
    assert cli.queue.job(job_id).state is State.CANCELLED
    assert cli("log", str(job_id)).stdout.endswith("heard\n")


@PROC
def test_only_the_paused_queue_is_stopped(cli: Cli) -> None:
    cli.worker("-j", "2")
    cli.id("-q", "night", TICKS)
    wait_until((cli.cwd / "pids").exists)
    other = cli.id("while ! [ -e go ]; do sleep 0.02; done")
    cli("pause", "night", "--running")
    wait_until(lambda: states_of(cli) == ["T"])
    (cli.cwd / "go").touch()
    assert cli.queue.wait(other, timeout=30).state is State.SUCCEEDED
    cli("pause", "night", "--running", "--for", "1s")
    wait_until(lambda: "T" not in states_of(cli))  # the pause has ended by itself
    cli("cancel", "1")


@PROC
def test_the_next_worker_goes_on_with_it(cli: Cli) -> None:
    worker = cli.worker("-j", "1")
    job_id = cli.id(f"{TICKS.replace(':', '! [ -e go ]')}")
    wait_until((cli.cwd / "pids").exists)
    cli("pause", "--running")
    wait_until(lambda: states_of(cli) == ["T"])
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert states_of(cli) == ["T"]
    cli("resume")
    (cli.cwd / "go").touch()
    cli.worker("-j", "1")
    assert cli.queue.wait(job_id, timeout=30).state is State.SUCCEEDED
    assert len(cli.queue.job(job_id).attempts) == 1


@PROC
def test_a_worker_that_adopts_in_a_pause_keeps_it_stopped(cli: Cli) -> None:
    worker = cli.worker("-j", "1")
    cli.id(TICKS)
    wait_until((cli.cwd / "pids").exists)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    cli("pause", "--running")
    cli.worker("-j", "1")
    wait_until(lambda: states_of(cli) == ["T"])
    cli("resume")
    wait_until(lambda: "T" not in states_of(cli))
    cli("cancel", "1")


@PROC
def test_a_stopping_worker_hands_it_back(cli: Cli) -> None:
    worker = cli.worker("-j", "1", "--stop-after", "100ms")
    job_id = cli.id(TICKS)
    wait_until((cli.cwd / "pids").exists)
    cli("pause", "--running")
    wait_until(lambda: states_of(cli) == ["T"])
    worker.terminate()
    assert worker.wait(30) == 0
    assert cli.queue.job(job_id).state is State.QUEUED
