"""pause, resume, hold, release, edit, and the words of other tools."""

from __future__ import annotations

import json
import re

import pytest

from jobq.job import State
from tests.conftest import Cli, wait_until


def test_a_pause_is_told_by_every_list_and_by_add_and_ends_with_resume(cli: Cli) -> None:
    cli.id("true")
    worker = cli.worker("-j", "1")
    cli("wait", "1")
    assert "queue default is paused: disk is full" in cli("pause", "default", "--reason", "disk is full").stderr
    for words in (("add", "touch ran"), ("add", "--name", "n", "true"), ("list",), ()):
        assert "queue default is paused: disk is full" in cli(*words).stderr
    assert "queue default is paused: disk is full" in cli("list").stdout
    assert json.loads(cli("list", "--json", "2").stdout)["jobs"][0]["reason"] == "queue default is paused: disk is full"
    other = cli.id("-q", "other", "true")
    assert cli.queue.wait(other, timeout=20).state is State.SUCCEEDED
    assert cli.queue.job(2).state is State.QUEUED
    assert worker.poll() is None
    assert "queue default resumed" in cli("resume", "default").stderr
    assert cli.queue.wait(2, timeout=20).state is State.SUCCEEDED


def test_a_pause_of_all_queues_survives_compaction_and_holds_run_too(cli: Cli) -> None:
    cli.id("true")
    cli("pause")
    assert "nothing changed" in cli("pause").stderr
    assert "all queues are paused" in cli("doctor", code=None).stderr + cli("list").stderr
    run = cli.start("run", "echo said")
    wait_until(lambda: len(cli.queue.jobs()) == 2)
    assert "all queues are paused" in cli("list").stdout
    cli("resume")
    assert run.communicate(timeout=20)[0] == "said\n"
    assert "nothing changed: all queues are not paused" in cli("resume").stderr


def test_a_pause_by_name_outlives_the_end_of_the_general_one(cli: Cli) -> None:
    cli.id("-q", "night", "true")
    cli("pause")
    cli("pause", "night")
    assert "still paused by name: night" in cli("resume").stderr
    assert "queue night is paused" in cli("list").stdout


def test_held_jobs_wait_until_they_are_released(cli: Cli) -> None:
    ids = [cli.id("true") for _ in range(3)]
    assert "job 2 held" in cli("hold", "2").stderr
    assert "1 left alone: held" in cli("hold", "1-2").stderr
    cli("release", "1")
    cli("worker", "--drain")
    assert [cli.queue.job(n).state for n in ids] == [State.SUCCEEDED, State.HELD, State.SUCCEEDED]
    assert "held" in cli("list", "-s", "held").stdout
    assert "error: job 3 is succeeded: it can't be held" in cli("hold", "3", code=1).stderr
    cli("release", "@held")
    cli("worker", "--drain")
    assert cli.queue.job(2).state is State.SUCCEEDED


def test_an_edit_changes_what_a_waiting_job_asks_for_and_nothing_else(cli: Cli) -> None:
    one, two = cli.id("-p", "3", "-e", "A=1", "printf $A$B > out"), cli.id("true")
    before = cli.queue.job(one)
    cli("edit", str(one), "--retries", "7", "-q", "night", "-t", "1h", "-e", "B=2", "--name", "n")
    after = cli.queue.job(one)
    assert (after.spec.retries, after.spec.queue, after.spec.timeout, after.spec.name) == (7, "night", 3600.0, "n")
    assert after.spec.priority == 3
    assert [step.event for step in after.history] == ["edit"]
    assert after.added_at == before.added_at
    cli("edit", str(two), "--priority", "high")
    cli("worker", "--drain", "-j", "1")
    assert (cli.cwd / "out").read_text() == "12"
    claims = {n: cli.queue.job(n).attempts[0].claimed_at for n in (one, two)}
    assert claims[two] <= claims[one]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("edit", "1"), 2, "error: no option is given"),
        (("edit", "1", "--priority", "soon"), 2, "error: --priority: 'soon' is not possible here"),
        (("edit", "9", "-p", "1"), 1, "error: there is no job 9"),
        (("edit", "1", "2", "--name", "n"), 2, "error: several jobs can't share one name"),
        (("edit", "1", "--name", "taken"), 1, "error: job 2 is named taken too and is queued"),
        (("pause", "7"), 2, "error: QUEUE: '7' can't be a name"),
        (("hold",), 2, "error: no job is given"),
    ],
)
def test_a_wrong_request_is_refused_in_one_voice(cli: Cli, words: tuple[str, ...], code: int, told: str) -> None:
    cli.id("true")
    cli.id("--name", "taken", "true")
    before = (cli.store / "journal.jsonl").read_bytes()
    assert told in cli(*words, code=code).stderr
    assert (cli.store / "journal.jsonl").read_bytes() == before


def test_a_running_job_is_not_edited(cli: Cli) -> None:
    cli.id("sleep 60")
    cli.worker("-j", "1")
    wait_until(lambda: cli.queue.job(1).state is State.RUNNING)
    told = cli("edit", "1", "-p", "5", code=1).stderr
    assert told == "error: job 1 is running: it can't be edited\nhint: cancel it, wait for its end, and requeue it\n"


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (("ls",), ("list",)),
        (("ps", "--json"), ("list", "--json")),
        (("status",), ()),
        (("tail", "1"), ("log", "1")),
        (("help",), ("--help",)),
        (("help", "add"), ("add", "--help")),
        (("-V",), ("--version",)),
    ],
)
def test_words_of_other_tools_do_the_same_here(cli: Cli, words: tuple[str, ...], same: tuple[str, ...]) -> None:
    cli.id("echo said")
    cli("worker", "--drain")
    here, there = cli(*same), cli(*words)
    assert there.stdout == here.stdout


def test_kill_cancels(cli: Cli) -> None:
    cli.id("true")
    cli("kill", "1")
    assert cli.queue.job(1).state is State.CANCELLED


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ad", "true"), r"error: no such command 'ad'\nhint: did you mean 'add'\?\n"),
        (("list", "--stat", "x"), r"error: no such option: --stat\nhint: did you mean .*--state"),
        (("list", "--frob"), r"error: no such option: --frob\nhint: see 'jobq list --help'\n"),
        (("run", "-j", "0", "true"), r"error: invalid value for '--jobs'.*\nhint: see 'jobq run --help'\n"),
        (("add", "--store", "x", "true"), r"error: .*--store.*\nhint: "),
    ],
)
def test_the_option_parser_speaks_in_the_same_voice(cli: Cli, words: tuple[str, ...], told: str) -> None:
    assert re.match(told, cli(*words, code=2).stderr), cli(*words, code=2).stderr


def test_filters_of_list_may_be_repeated(cli: Cli) -> None:
    cli.id("-q", "a", "true")
    cli.id("-q", "b", "true")
    cli.id("-q", "c", "true")
    cli("hold", "3")

    def ids(*words: str) -> list[int]:
        return [job["id"] for job in json.loads(cli("list", "--json", *words).stdout)["jobs"]]

    assert sorted(ids("-q", "a", "-q", "c")) == [1, 3]
    assert sorted(ids("-s", "queued", "-s", "held")) == [1, 2, 3]
    assert ids("-s", "held", "-q", "a") == []


def test_a_name_stands_for_the_same_job_until_that_is_removed(cli: Cli) -> None:
    cli.id("true")
    cli.id("true")
    cli("rm", "@")
    assert "error: there is no job @: job 2 was removed" in cli("rm", "@", code=1).stderr
    assert cli.queue.job(1).state is State.QUEUED


def test_from_is_given_once(cli: Cli) -> None:
    assert "error: --from is given more than once" in cli("add", "--from", "a", "--from", "b", code=2).stderr
