"""`jobq schedule`: the commands, with real workers where something fires."""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest

from jobq import clock
from jobq.job import State
from jobq.store.compaction import compact
from tests.conftest import Cli, wait_until


def data(cli: Cli, name: str) -> dict[str, object]:
    """One schedule as `--json` tells it."""
    (found,) = json.loads(cli("schedule", "show", name, "--json").stdout)["schedules"]
    return dict(found)


def test_a_schedule_fires_and_its_job_has_what_was_asked_for(cli: Cli) -> None:
    told = cli("schedule", "add", "tick", "@every 1s", "-q", "night", "-e", "X=1", "--label", "a=b", "echo $X $JOBQ_SCHEDULE $JOBQ_SCHEDULED_AT")  # fmt: skip
    assert "schedule tick: next " in told.stderr
    worker = cli.worker()
    wait_until(lambda: cli.queue.schedules.get("tick").fired >= 2)
    cli("schedule", "pause", "tick")
    worker.terminate()
    worker.wait(30)
    job = cli.queue.job(1)
    assert job.state is State.SUCCEEDED
    assert (job.spec.queue, job.spec.labels) == ("night", (("a", "b"), ("schedule", "tick")))
    x, name, at = cli("log", "1").stdout.split()
    assert (x, name) == ("1", "tick")
    assert datetime.fromisoformat(at).timestamp() <= job.added_at
    assert "tick" in cli("schedule").stdout
    assert data(cli, "tick")["paused"] is True
    assert (
        cli("list", "--label", "schedule=tick", "--json").stdout.count('"id"') == cli.queue.schedules.get("tick").fired
    )


def test_one_is_shown_changed_and_removed(cli: Cli) -> None:
    cli("schedule", "add", "nightly", "0 3 * * *", "--tz", "Europe/Berlin", "--timeout", "1h", "make", "backup")
    shown = cli("schedule", "show", "nightly").stdout
    for part in ("0 3 * * *, in Europe/Berlin", "timeout  1h00m", "command  make backup", "missed  once"):
        assert part in shown
    assert (
        "schedule nightly: next " in cli("schedule", "update", "nightly", "--when", "30 2 1 1 *", "-p", "high").stderr
    )
    found = cli.queue.schedules.get("nightly")
    assert (found.when, found.spec.priority, found.spec.timeout) == ("30 2 1 1 *", 10, 3600.0)
    cli("schedule", "update", "nightly", "--missed", "all", "--", "make", "all")
    found = cli.queue.schedules.get("nightly")
    assert (found.command, found.missed, found.when) == (("make", "all"), "all", "30 2 1 1 *")
    assert cli("schedule", "run", "nightly").stdout == "1\n"
    assert cli.queue.job(1).command == ("make", "all")
    assert data(cli, "nightly")["last_state"] == "queued"
    cli("rm", "1")
    assert data(cli, "nightly")["last_state"] is None
    cli("schedule", "rm", "nightly")
    assert "no schedules" in cli("schedule").stderr


def test_its_environment_stays_as_long_as_it_does(cli: Cli) -> None:
    cli("schedule", "add", "x", "@daily", "-e", "SECRET=1", "true")
    cli("schedule", "run", "x")
    cli("rm", "1")  # which removes environments that nothing names
    files = [path.read_text() for path in (cli.store / "env").iterdir()]
    assert any('"SECRET":"1"' in text for text in files)
    assert "healthy" in cli("doctor").stdout
    cli("schedule", "run", "x")
    cli("worker", "--drain")
    assert cli.queue.job(2).state is State.SUCCEEDED


def test_next_and_why(cli: Cli) -> None:
    times = cli("schedule", "next", "30 2 * * *", "--tz", "Europe/Berlin", "-n", "3").stdout.splitlines()
    assert len(times) == 3
    assert all(re.match(r"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:00  ", line) for line in times)
    cli("schedule", "add", "work", "0 9 * * MON", "--tz", "UTC", "true")
    assert "Sunday is not in 'MON'" in cli("schedule", "why", "work", "2027-01-31T09:00").stdout
    assert cli("schedule", "why", "work", "2027-02-01T09:00").stdout == "it fires at 2027-02-01 09:00 in UTC\n"
    assert "Mon" in cli("schedule", "next", "work", "-n", "1").stdout


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("add", "x", "99 * * * *", "true"), 2, "'99' is not a minute"),
        (("add", "x", "0 0 30 2 *", "true"), 2, "can never fire"),
        (("add", "x", "0 0 0 * * *", "true"), 2, "there are no seconds"),
        (("add", "x", "@daily", "--tz", "Europe/Berln", "true"), 2, "did you mean Europe/Berlin?"),
        (("add", "x", "@daily"), 2, "no command is given"),
        (("add", "x"), 2, "a schedule has a name, a time and a command"),
        (("add", "x", "@daily", "--missed", "some", "true"), 2, "give once, all, skip"),
        (("add", "x", "@daily", "--at", "22:00", "true"), 2, "no such option: --at"),
        (("add", "-q", "n", "x", "@daily", "--tz", "UTC", "true"), 2, "--tz stands where the command begins"),
        (("add", "7", "@daily", "true"), 2, "7"),
        (("show", "x"), 1, "there is no schedule x"),
        (("rm", "x"), 1, "there is no schedule x"),
        (("run", "x"), 1, "there is no schedule x"),
        (("update", "x", "-p", "1"), 1, "there is no schedule x"),
        (("update", "x"), 2, "nothing to change is given"),
    ],
)
def test_what_is_wrong_is_said(cli: Cli, words: tuple[str, ...], code: int, why: str) -> None:
    assert why in cli("schedule", *words, code=code).stderr
    assert cli.queue.schedules.all() == []


def test_surprises_are_said_at_once_and_a_name_is_taken_once(cli: Cli) -> None:
    told = cli("schedule", "add", "x", "*/7 * * * *", "true").stderr
    assert "note: '*/7' fires unevenly" in told
    assert "there is a schedule x already" in cli("schedule", "add", "x", "@daily", "true", code=1).stderr
    assert "is paused already" not in cli("schedule", "pause", "x").stderr
    assert "is paused already" in cli("schedule", "pause", "x").stderr
    assert "resumed; next: " in cli("schedule", "resume", "x").stderr


def test_schedules_survive_compaction_and_repair(cli: Cli) -> None:
    cli("schedule", "add", "x", "@daily", "--timeout", "5m", "--overlap", "allow", "echo hi")
    before = cli.queue.schedules.get("x")
    assert compact(str(cli.store), clock.now())
    assert cli.queue.schedules.get("x") == before
    with (cli.store / "journal.jsonl").open("ab") as f:
        f.write(b"damage\n{}\n")
    cli("doctor", "--accept-loss", code=None)
    assert cli.queue.schedules.get("x")._replace(spec=before.spec) == before
