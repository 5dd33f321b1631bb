"""`jobq clean` and `jobq du`."""

from __future__ import annotations

import json
import os

from jobq import clock
from jobq.job import State
from jobq.store.compaction import compact
from tests.conftest import Cli


def ids(cli: Cli) -> list[int]:
    return sorted(job.id for job in cli.queue.finished())


def test_the_last_ones_and_open_failures_stay(cli: Cli) -> None:
    cli("add", "echo {}", ":::", *map(str, range(6)))
    cli("add", "--retries", "0", "false")
    cli("worker", "--drain", "-j", "1", code=1)
    assert compact(str(cli.store), clock.now())
    dry = cli("clean", "--keep", "3", "--dry-run").stderr
    assert "4 jobs would be removed, with 8 B of output\njobq: 1-4\n" in dry
    assert len(ids(cli)) == 7
    assert "4 jobs removed" in cli("clean", "--keep", "3").stderr
    assert ids(cli) == [5, 6, 7]
    assert not os.path.exists(cli.queue.log_path(1, 1))
    told = cli("clean", "--keep", "0").stderr
    assert "2 jobs removed" in told
    assert "1 left alone: failed, and nobody has dealt with it" in told
    cli("ack")
    cli("clean", "--keep", "0")
    assert ids(cli) == []
    assert "healthy" in cli("doctor").stdout


def test_the_age_counts(cli: Cli) -> None:
    cli("add", "true", ":::", "a", "b")
    cli("worker", "--drain")
    assert "0 jobs removed" in cli("clean", "--older-than", "1h").stderr
    assert "2 jobs removed" in cli("clean", "--older-than", "0s").stderr
    assert "nothing says what to keep" in cli("clean", code=2).stderr
    cli("clean", "--keep", "-1", code=2)
    cli("clean", "--older-than", "soon", code=2)


def test_a_job_that_was_requeued_meanwhile_stays(cli: Cli) -> None:
    """It has seen the job as a finished one, and another process is quicker."""
    cli("add", "--retries", "0", "false", ":::", "a")
    cli("add", "true")
    cli("worker", "--drain", code=1)
    cli("ack")
    cli("requeue", "1")
    done = cli.queue.remove([1, 2], only_old=True)
    assert [job.id for job in done.jobs] == [2]
    assert "can't be cleaned away" in str(done.refused[0])
    assert cli.queue.job(1).state is State.QUEUED


def test_the_environment_of_what_is_removed_goes_too(cli: Cli) -> None:
    cli("add", "-e", "SECRET=hush", "true")
    cli("worker", "--drain")
    cli("clean", "--keep", "0")
    assert not any("hush" in path.read_text() for path in (cli.store / "env").iterdir())


def test_du_says_what_takes_room(cli: Cli) -> None:
    cli("add", "head -c 300000 /dev/zero")
    cli("add", "true")
    cli("worker", "--drain")
    found = json.loads(cli("du", "--json").stdout)
    assert found["largest"][0]["id"] == 1
    assert found["parts"]["output and results"]["bytes"] >= 300_000
    assert found["total"] == sum(part["bytes"] for part in found["parts"].values())
    text = cli("du").stdout
    assert "in all" in text
    assert "job 1" in text
