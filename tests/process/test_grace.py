"""How jobs are ended: every process hears TERM once and has the whole grace, whatever started it and whoever ends it."""

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
time.sleep(2.7)  # longer than what outlives a job's own end may live
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
    """A job of each shape that saves its work when it hears TERM."""
    (cli.cwd / "saves.py").write_text(SAVES)
    return {
        name: cli.id("-r", "0", "--grace", "8", *asked, shape.replace("PROGRAM", f"{sys.executable} saves.py {name}"))
        for name, shape in SHAPES.items()
    }


def wait_up(cli: Cli) -> None:
    wait_until(lambda: all((cli.cwd / f"{name}.up").exists() for name in SHAPES))


@pytest.mark.parametrize("way", ["cancel", "timeout", "stop"])
def test_everything_a_job_started_hears_term_once_and_has_its_grace(cli: Cli, way: str) -> None:
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
def test_a_filter_that_a_job_leaves_behind_may_write_to_its_end(cli: Cli) -> None:
    script = 'exec > >(sleep 0.5; while IFS= read -r line; do sleep 0.01; echo "got $line"; done); seq 1 30'
    assert cli("run", "--", "bash", "-c", script).stdout == "".join(f"got {n}\n" for n in range(1, 31))


def test_a_term_that_everything_hears_costs_no_retry_and_is_heard_once(cli: Cli) -> None:
    """As systemd ends a control group, or a shutdown everything: worker, supervisors and jobs at once."""
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


def test_what_still_runs_when_a_worker_is_interrupted_goes_on_and_is_named(cli: Cli) -> None:
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
def test_what_becomes_of_running_jobs_can_be_chosen(cli: Cli, policy: str, state: State) -> None:
    job_id = cli.id("-r", "1", "--grace", "0.1", "touch up; sleep 60")
    worker = cli.worker("-j", "1", "--stop-after", "0.1s", "--on-stop", policy)
    wait_until((cli.cwd / "up").exists)
    worker.send_signal(signal.SIGINT if policy == "hand-back" else signal.SIGTERM)
    assert worker.wait(20) == 0
    assert cli.queue.job(job_id).state is state
    cli("cancel", "--wait", str(job_id))


@pytest.mark.parametrize("numbers", [[signal.SIGHUP] * 3, [signal.SIGTERM, signal.SIGHUP]])
def test_a_hangup_never_asks_a_second_time(cli: Cli, numbers: list[int]) -> None:
    """A closed terminal sends one by the system and one by its shell; some service managers send one after TERM."""
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
def test_what_can_not_be_meant_by_stopping_is_a_usage_error(cli: Cli, words: list[str], says: str) -> None:
    assert says in cli("worker", *words, code=2).stderr


@pytest.mark.parametrize("grace", ["5", "0"])
def test_a_shell_that_is_ended_does_not_go_on_with_its_next_command(cli: Cli, grace: str) -> None:
    """It hears the signal before the command that it waits for: else it would begin the next one."""
    steps = "; ".join(f"sleep 60; touch next{n}" for n in range(3))
    jobs = [cli.id("-r", "0", "--grace", grace, f"touch up.{n}; {steps}") for n in range(20)]
    cli.worker("-j", "20")
    wait_until(lambda: len(list(cli.cwd.glob("up.*"))) == 20)
    cli("cancel", "--wait", *map(str, jobs))
    assert list(cli.cwd.glob("next*")) == []
