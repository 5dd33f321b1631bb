"""`jobq move`: the place of a job among those that wait."""

from __future__ import annotations

import json

from tests.conftest import Cli


def order(cli: Cli) -> list[int]:
    """The waiting jobs as `list` shows them."""
    return [job["id"] for job in json.loads(cli("list", "--json").stdout)["jobs"]]


def test_moved_jobs_start_first(cli: Cli) -> None:
    cli("add", "echo {} >> order", ":::", *map(str, range(1, 7)))
    assert "job 5 moved to the top" in cli("move", "5", "--top").stderr
    assert "2 moved" in cli("move", "6", "4", "--before", "2").stderr
    assert order(cli) == [5, 1, 6, 4, 2, 3]
    cli("move", "3", "--before", "6")
    cli("move", "2", "--top")
    assert order(cli) == [2, 5, 1, 3, 6, 4]
    cli("hold", "5")
    cli("release", "5")
    cli("worker", "--drain", "-j", "1")
    assert (cli.cwd / "order").read_text().split() == ["2", "5", "1", "3", "6", "4"]


def test_the_priority_follows_and_the_history_tells(cli: Cli) -> None:
    cli("add", "-p", "5", "true", ":::", "1", "2")
    cli("add", "true")
    cli("add", "-q", "night", "true")
    cli("move", "3", "--before", "2")
    assert order(cli) == [1, 3, 2, 4]
    job = cli.queue.job(3)
    assert (job.spec.priority, job.history[-1].event) == (5, "move")
    cli("move", "4", "--top")  # the only one of its queue
    assert order(cli) == [1, 3, 2, 4]


def test_what_can_not_be_moved_is_said(cli: Cli) -> None:
    cli("add", "true", ":::", "1", "2", "3")
    cli("cancel", "3")
    assert "job 3 is cancelled: it can't be moved" in cli("move", "3", "--top", code=1).stderr
    assert "job 3 is cancelled: it can't have others put before it" in cli("move", "1", "--before", "3", code=1).stderr
    assert "job 1 can't be moved before itself" in cli("move", "1", "--before", "1", code=2).stderr
    assert "1 moved; 1 left alone: cancelled" in cli("move", "2-3", "--top").stderr
    assert "no place is given" in cli("move", "1", code=2).stderr
    assert "names several jobs" in cli("move", "1", "--before", "@queued", code=2).stderr
    cli("move", "1", "--before", "99", code=1)


def test_a_job_that_waits_for_slots_says_so(cli: Cli) -> None:
    cli("add", "--slots", "2", "while ! [ -e go ]; do sleep 0.02; done")
    cli.worker("-j", "2")
    cli("add", "--slots", "2", "true")
    cli("add", "--slots", "9", "true")
    found = json.loads(cli("list", "--json").stdout)["jobs"]
    assert [job["reason"] for job in found if job["state"] == "queued"] == [
        "needs 2 slots, 0 free",
        "needs all 2 slots of a worker, 0 free",
    ]
    (cli.cwd / "go").touch()
    cli.queue.wait_all([1, 2, 3], timeout=60)


def test_what_is_first_already_keeps_its_priority(cli: Cli) -> None:
    cli("add", "true", ":::", "1", "2")
    cli("add", "-p", "10", "true")
    cli("move", "3", "--top")
    assert (cli.queue.job(3).spec.priority, order(cli)) == (10, [3, 1, 2])
    cli("move", "2", "--before", "3")
    assert (cli.queue.job(2).spec.priority, order(cli)) == (10, [2, 3, 1])
    cli("edit", "2", "1", "-p", "20")
    assert order(cli) == [1, 2, 3]  # the place was one among jobs of another priority
