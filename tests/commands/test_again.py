"""`jobq again`: a finished job once more, as a new job."""

from __future__ import annotations

from jobq.job import State
from tests.conftest import Cli


def test_a_finished_job_is_added_once_more_with_all_it_asked_for(cli: Cli) -> None:
    first = cli.id("-p", "7", "-e", "X=1", "--timeout", "9", "--label", "a=b", "--key", "k", "--name", "n", 'echo "$X"')
    assert "it can't be run again" in cli("again", str(first), code=1).stderr
    cli("worker", "--drain")
    second = int(cli("again", "n", "-e", "Y=2", "--timeout", "none", "--hold").stdout)
    old, new = cli.queue.jobs_of([first, second])
    assert (new.command, new.spec.priority, new.spec.labels, new.spec.name) == (old.command, 7, (("a", "b"),), "n")
    assert (new.spec.timeout, new.spec.key, new.state) == (None, None, State.HELD)
    environment = cli.queue.environment_of(new)
    assert (environment["X"], environment["Y"]) == ("1", "2")
    assert "is named n and is held" in cli("again", str(first), code=1).stderr
    cli("release", str(second))
    cli("worker", "--drain")
    assert cli("log", str(second)).stdout == "1\n"


def test_several_jobs_and_none(cli: Cli) -> None:
    cli("add", "true", ":::", "1", "2")
    cli("worker", "--drain")
    assert cli("again", "@succeeded", "-q", "night").stdout == "3-4\n"
    assert {job.spec.queue for job in cli.queue.jobs()} == {"night"}
    assert "no such jobs" in cli("again", "@failed").stderr
    cli("again", code=2)
    cli("again", "99", code=1)


def test_a_pipeline_that_runs_again_keeps_its_order(cli: Cli) -> None:
    cli("add", "--name", "fetch", "echo fetch >> order")
    cli("add", "--after", "fetch", "echo {} >> order", ":::", "left", "right")
    cli("add", "--after", "2", "--after-any", "3", "echo join >> order")
    cli("worker", "--drain", "-j", "1")
    assert cli("again", "4", "1-3").stdout == "5-8\n"
    specs = [job.spec for job in cli.queue.jobs_of(range(5, 9))]
    assert [(spec.after, spec.after_any) for spec in specs] == [((), ()), ((5,), ()), ((5,), ()), ((6,), (7,))]
    cli("worker", "--drain", "-j", "1")
    assert (cli.cwd / "order").read_text().split() == ["fetch", "left", "right", "join"] * 2
    assert cli("again", "4").stdout == "9\n"
    assert cli.queue.job(9).spec.after == (2,)  # which is not run again
