"""The stop of a job: each of its processes gets SIGTERM once and has the whole grace, in every case."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from jobq.job import Outcome, State
from tests.conftest import Cli, wait_until
from tests.helpers.processes import marked, supervisors

SAVES = """
import signal, sys, time
terms = 0
def note(*_):
    global terms
    terms += 1
signal.signal(signal.SIGTERM, note)
open(sys.argv[1] + ".up", "w").close()
while not terms:
    time.sleep(0.01)
time.sleep(2.7)  # longer than LEFTOVER_GRACE, the time for processes that outlive their job
with open(sys.argv[1] + ".saved", "w") as f:
    f.write(str(terms))
"""
SHAPES = {
    "exact": "exec PROGRAM",
    "last": "cd . && PROGRAM",
    "first": "PROGRAM; true",
    "pipe": "PROGRAM | cat",
    "background": "PROGRAM & wait",
    "session": "setsid PROGRAM & wait",
    "nested": "sh -c 'sh -c \"PROGRAM; true\"; true'; true",
}


def add_savers(cli: Cli, *asked: str) -> dict[str, int]:
    """Add a job of each shape that saves its work on SIGTERM; return their ids."""
    (cli.cwd / "saves.py").write_text(SAVES)
    return {
        name: cli.id("-r", "0", "--grace", "8", *asked, shape.replace("PROGRAM", f"{sys.executable} saves.py {name}"))
        for name, shape in SHAPES.items()
    }


def wait_up(cli: Cli) -> None:
    wait_until(lambda: all((cli.cwd / f"{name}.up").exists() for name in SHAPES))


@pytest.mark.parametrize("way", ["cancel", "timeout", "stop"])
def test_every_process_of_a_job_gets_sigterm_once_and_the_whole_grace(cli: Cli, way: str) -> None:
    jobs = add_savers(cli, *(["--timeout", "3s"] if way == "timeout" else []))
    worker = cli.worker("-j", str(len(jobs)), "--stop-after", "0s")
    wait_up(cli)
    if way == "cancel":
        cli("cancel", *map(str, jobs.values()))
    elif way == "stop":
        worker.terminate()
    outcomes = {"cancel": Outcome.CANCELLED, "timeout": Outcome.TIMEOUT, "stop": Outcome.INTERRUPTED}
    for name, job_id in jobs.items():
        ending = cli.queue.wait(job_id, timeout=20).ending
        assert ending is not None
        assert ending.outcome is outcomes[way], name
        assert (cli.cwd / f"{name}.saved").read_text() == "1", name
    assert marked(cli.store) == []


def test_interrupting_run_gives_its_job_the_whole_grace(cli: Cli) -> None:
    (cli.cwd / "saves.py").write_text(SAVES)
    run = cli.start("run", "--grace", "8", f"{sys.executable} saves.py it; true")
    wait_until((cli.cwd / "it.up").exists)
    run.send_signal(signal.SIGINT)
    run.wait(20)
    assert (cli.cwd / "it.saved").read_text() == "1"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_filter_that_outlives_its_job_can_finish_writing(cli: Cli) -> None:
    script = 'exec > >(sleep 0.5; while IFS= read -r line; do sleep 0.01; echo "got $line"; done); seq 1 30'
    assert cli("run", "--", "bash", "-c", script).stdout == "".join(f"got {n}\n" for n in range(1, 31))


def test_a_sigterm_to_every_process_costs_no_retry_and_arrives_once(cli: Cli) -> None:
    """systemd and a shutdown send SIGTERM to the worker, its supervisors and their jobs at once."""
    (cli.cwd / "saves.py").write_text(SAVES)
    plain = [cli.id("-r", retries, f"touch plain{retries}.up; exec sleep 60") for retries in "01"]
    saves = [cli.id("-r", retries, f"{sys.executable} saves.py saves{retries}; true") for retries in "01"]
    worker = cli.worker("-j", "4")
    wait_until(lambda: len(list(cli.cwd.glob("*.up"))) == 4)
    everything = [worker.pid, *supervisors(cli.store), *marked(cli.store)]
    for pid in everything:
        os.kill(pid, signal.SIGTERM)
    assert worker.wait(25) == 0
    for pair in (plain, saves):
        once, again = (cli.queue.job(job_id) for job_id in pair)
        assert once.ending is not None
        assert (once.state, once.ending.outcome) == (State.FAILED, Outcome.INTERRUPTED)
        assert (again.state, again.retries_used) == (State.QUEUED, 0)
    assert [(cli.cwd / f"saves{retries}.saved").read_text() for retries in "01"] == ["1", "1"]


def test_jobs_that_run_when_a_worker_is_interrupted_go_on_and_are_named(cli: Cli) -> None:
    job_id = cli.id("-r", "0", "touch up; while ! [ -e go ]; do sleep 0.05; done; echo finished")
    worker = cli.worker("-j", "1", "--stop-after", "0.1s")
    wait_until((cli.cwd / "up").exists)
    worker.send_signal(signal.SIGINT)
    _, said = worker.communicate(timeout=20)
    assert worker.returncode == 0
    assert f"job {job_id} is still running: touch up" in said
    assert cli.queue.job(job_id).state is State.RUNNING
    cli.worker("-j", "1")
    (cli.cwd / "go").touch()
    assert cli.queue.wait(job_id, timeout=20).state is State.SUCCEEDED
    assert cli("log", str(job_id)).stdout == "finished\n"


@pytest.mark.parametrize(("policy", "state"), [("leave", State.RUNNING), ("hand-back", State.QUEUED)])
def test_on_stop_leaves_running_jobs_or_hands_them_back(cli: Cli, policy: str, state: State) -> None:
    job_id = cli.id("-r", "1", "--grace", "0.1", "touch up; sleep 60")
    worker = cli.worker("-j", "1", "--stop-after", "0.1s", "--on-stop", policy)
    wait_until((cli.cwd / "up").exists)
    worker.send_signal(signal.SIGINT if policy == "hand-back" else signal.SIGTERM)
    assert worker.wait(20) == 0
    assert cli.queue.job(job_id).state is state
    cli("cancel", "--wait", str(job_id))


@pytest.mark.parametrize("numbers", [[signal.SIGHUP] * 3, [signal.SIGTERM, signal.SIGHUP]])
def test_sighup_never_counts_as_a_second_stop(cli: Cli, numbers: list[int]) -> None:
    """The system and the shell each send SIGHUP when a terminal closes; some service managers send it after SIGTERM."""
    job_id = cli.id("-r", "0", "touch up; while ! [ -e go ]; do sleep 0.05; done")
    worker = cli.worker("-j", "1")
    wait_until((cli.cwd / "up").exists)
    waiting = cli.id("true")
    for number in numbers:
        worker.send_signal(number)
    (supervisor,) = supervisors(cli.store)
    wait_until(lambda: cli("list", "--json").stdout and worker.poll() is None)
    (cli.cwd / "go").touch()
    assert worker.wait(20) == 0
    assert cli.queue.job(job_id).state is State.SUCCEEDED
    assert cli.queue.job(waiting).state is State.QUEUED
    assert not Path(f"/proc/{supervisor}").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--stop-after", "soon"], "--stop-after: 'soon'"), (["--on-stop", "kill"], "--on-stop: 'kill'")],
)
def test_bad_values_of_the_stop_options_are_usage_errors(cli: Cli, words: list[str], says: str) -> None:
    assert says in cli("worker", *words, code=2).stderr


@pytest.mark.parametrize("grace", ["5", "0"])
def test_a_shell_that_is_ended_does_not_go_on_with_its_next_command(cli: Cli, grace: str) -> None:
    """The shell gets the signal before the command that it waits for; otherwise it would start the next one."""
    steps = "; ".join(f"sleep 60; touch next{n}" for n in range(3))
    jobs = [cli.id("-r", "0", "--grace", grace, f"touch up.{n}; {steps}") for n in range(20)]
    cli.worker("-j", "20")
    wait_until(lambda: len(list(cli.cwd.glob("up.*"))) == 20)
    cli("cancel", "--wait", *map(str, jobs))
    assert list(cli.cwd.glob("next*")) == []
