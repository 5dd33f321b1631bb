"""Locks and resources with real workers."""

from __future__ import annotations

import json
import os
import signal

from jobq.job import State
from tests.conftest import Cli, wait_until
from tests.helpers.processes import kill_both

ALONE = "mkdir held || echo overlap >> wrong; sleep 0.05; rmdir held"


def test_jobs_with_one_lock_never_overlap_over_workers(cli: Cli) -> None:
    cli("add", "--lock", "db", ALONE + " # {}", ":::", *map(str, range(12)))
    workers = [cli.worker("-j", "4") for _ in range(2)]
    cli.queue.wait_all(range(1, 13), timeout=60)
    assert not (cli.cwd / "wrong").exists()
    assert all(worker.poll() is None for worker in workers)


def test_each_job_is_told_its_own_indices(cli: Cli) -> None:
    cli("resource", "set", "gpu", "4")
    cli("add", "--need", "gpu=2", "echo $JOBQ_GPU $CUDA_VISIBLE_DEVICES > {}.out; while ! [ -e go ]; do sleep 0.02; done", ":::", "a", "b", "c")  # fmt: skip
    cli.worker("-j", "4")
    wait_until(
        lambda: (
            (cli.cwd / "a.out").exists() and (cli.cwd / "b.out").exists() and "\n" in (cli.cwd / "b.out").read_text()
        )
    )
    assert "needs gpu=2, 0 free" in cli("list", "3").stdout
    assert "gpu: 0 of 4 free, held by 1, 2" in cli("resource").stdout
    (cli.cwd / "go").touch()
    cli.queue.wait_all([1, 2, 3], timeout=60)
    told = [(cli.cwd / f"{name}.out").read_text().split() for name in "ab"]
    assert sorted(told) == [["0,1", "0,1"], ["2,3", "2,3"]]
    shown = json.loads(cli("show", "1-2", "--json").stdout)["jobs"]
    assert sorted(job["attempts"][0]["given"]["gpu"] for job in shown) == [[0, 1], [2, 3]]
    assert json.loads(cli("resource", "--json").stdout)["resources"] == [
        {"name": "gpu", "count": 4, "free": 4, "jobs": []}
    ]


def test_nothing_is_held_by_a_worker_that_was_killed(cli: Cli) -> None:
    cli("add", "--lock", "db", "--retries", "0", "sleep 300")
    worker = cli.worker("-j", "2")
    wait_until(lambda: cli.queue.job(1).state is State.RUNNING)
    second = cli.id("--lock", "db", "true")
    assert "lock db: 1" in cli("list", str(second)).stdout
    kill_both(cli.store, worker)
    cli.worker("-j", "2")
    cli.queue.wait(second, timeout=60)
    assert cli.queue.job(1).state is State.FAILED


def test_a_worker_that_takes_over_a_job_keeps_its_lock(cli: Cli) -> None:
    cli("add", "--lock", "db", "while ! [ -e go ]; do sleep 0.02; done; echo first >> order")
    worker = cli.worker()
    wait_until(lambda: cli.queue.job(1).state is State.RUNNING)
    second = cli.id("--lock", "db", "echo second >> order")
    os.kill(worker.pid, signal.SIGKILL)
    cli.worker("-j", "2")
    wait_until(lambda: any(step.event == "adopt" for step in cli.queue.job(1).history))
    assert cli.queue.job(second).state is State.QUEUED
    (cli.cwd / "go").touch()
    cli.queue.wait(second, timeout=60)
    assert (cli.cwd / "order").read_text() == "first\nsecond\n"


def test_what_can_never_fit_is_refused(cli: Cli) -> None:
    assert "needs gpu=8, and there are 0" in cli("add", "--need", "gpu=8", "true", code=1).stderr
    cli("resource", "set", "gpu", "4")
    assert "'jobq resource set gpu 8' says how many" in cli("add", "--need", "gpu=8", "true", code=1).stderr
    assert cli("resource").stdout == "gpu: 4 of 4 free, held by nobody\n"
    assert "not a need" in cli("add", "--need", "gpu", "true", code=2).stderr
    assert "write it like" in cli("resource", "gpu", "4", code=2).stderr
    cli("resource", "set", "gpu", "-1", code=2)
    cli("resource", "set", "gpu", "0")
    assert "no resources are set" in cli("resource").stderr
