"""Times that jobs ask for, with real workers: the first start, the last one, and silence."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from jobq.job import State
from tests.conftest import Cli, wait_until


def shown(cli: Cli, job_id: int) -> dict[str, Any]:
    (job,) = json.loads(cli("show", str(job_id), "--json").stdout)["jobs"]
    return job  # type: ignore[no-any-return]


def test_a_job_is_not_started_before_its_time_and_no_worker_waits_for_it_to_drain(cli: Cli) -> None:
    late = cli.id("--in", "1h", "true")
    assert "starts in" in cli("list").stdout
    cli("worker", "--drain")
    assert cli.queue.job(late).state is State.QUEUED
    cli.worker()
    done = cli.queue.wait(cli.id("--in", "1s", "true"), timeout=30)
    assert done.attempts[0].claimed_at - done.added_at >= 0.99


def test_a_job_that_has_not_started_in_time_leaves(cli: Cli) -> None:
    late, held = cli.id("--expires", "10ms", "echo late > late"), cli.id("--expires", "10ms", "true")
    soon = cli.id("--expires", "1h", "true")
    cli("hold", str(held))
    wait_until(lambda: "the next worker records it" in cli("list", str(late)).stdout)
    cli("worker", "--drain")
    jobs = cli.queue.jobs_of([late, held, soon])
    assert [job.state for job in jobs] == [State.EXPIRED, State.EXPIRED, State.SUCCEEDED]
    assert not (cli.cwd / "late").exists()
    cli("wait", str(late), code=125)
    cli("requeue", str(late))
    cli("edit", str(late), "--expires", "1h")
    cli("worker", "--drain")
    assert cli.queue.job(late).state is State.SUCCEEDED


def test_a_job_that_prints_nothing_for_its_time_is_ended(cli: Cli) -> None:
    done = cli("run", "--idle-timeout", "500ms", "echo begun; sleep 300", code=124)
    assert done.stdout == "begun\n"
    job = shown(cli, 1)
    assert job["attempts"][0]["outcome"] == "idle_timeout"
    assert "idle_timeout" in cli("list").stdout


def test_a_job_that_goes_on_printing_is_not_ended(cli: Cli) -> None:
    line = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.25; done"
    assert cli("run", "--idle-timeout", "1s", line).stdout.split() == list("12345678")


def test_silence_is_worth_a_note(cli: Cli) -> None:
    job_id = cli.id("sleep 300")
    cli.worker()
    log = wait_until(lambda: cli.queue.job(job_id).running and cli.queue.log_path(job_id, 1))
    wait_until(lambda: os.path.exists(log))
    os.utime(log, (time.time() - 200, time.time() - 200))
    assert "quiet 3m2" in cli("list").stdout
