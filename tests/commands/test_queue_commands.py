"""pause, resume, hold, release, edit, and the words of other tools."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from jobq.job import State
from jobq.store.compaction import compacting
from jobq.store.store import Store
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
    assert "nothing changed: there is no pause of all queues" in cli("resume").stderr


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
        (("pause", "*"), 2, "error: QUEUE: '*' can't be a name"),
        (("pause", "--reason", "x" * 501), 2, "error: the reason has 501 characters; the limit is 500"),
        (("hold",), 2, "error: no job is given"),
    ],
)
def test_a_wrong_request_is_refused_in_one_voice(cli: Cli, words: tuple[str, ...], code: int, told: str) -> None:
    cli.id("true")
    cli.id("--name", "taken", "true")
    before = (cli.store / "journal.jsonl").read_bytes()
    assert told in cli(*words, code=code).stderr
    assert (cli.store / "journal.jsonl").read_bytes() == before


def test_edits_of_one_environment_at_a_time_are_all_kept(cli: Cli) -> None:
    job_id = str(cli.id("-e", "A=0", "-e", "TMUX=0", "true"))
    edits = [cli.start("edit", job_id, "-e", f"{name}=1") for name in ("A", "B", "C", "D", "TMUX")]
    assert [edit.wait(timeout=60) for edit in edits] == [0] * len(edits)
    environment = cli.queue.environment_of(cli.queue.job(1))
    assert {name: environment.get(name) for name in ("A", "B", "C", "D", "TMUX")} == dict.fromkeys(
        ("A", "B", "C", "D", "TMUX"), "1"
    )


def test_an_edit_leaves_no_secret_that_it_has_replaced(cli: Cli) -> None:
    cli.id("-e", "TOKEN=hunter1", "true")
    cli("edit", "1", "-e", "TOKEN=hunter2")
    cli("cancel", "1")
    cli("edit", "1", "-e", "TOKEN=hunter3", code=1)
    kept = [path.read_text() for path in (cli.store / "env").iterdir()]
    assert [text.partition("hunter")[2][0] for text in kept] == ["2"]


def test_an_edit_of_a_job_whose_environment_is_lost_keeps_that_out_of_it(cli: Cli) -> None:
    cli.id("true")
    for path in (cli.store / "env").iterdir():
        path.unlink()
    cli("edit", "1", "-p", "5")
    assert cli.queue.job(1).spec.priority == 5
    assert "a captured environment is missing" in cli("edit", "1", "-e", "A=1", code=65).stderr
    cli("rm", "1")


def test_an_edit_of_a_finished_job_is_refused_even_if_it_changes_nothing(cli: Cli) -> None:
    cli.id("true")
    cli("worker", "--drain")
    assert (
        "hint: 'jobq again 1' runs it once more, with other options"
        in cli("edit", "1", "--priority", "0", code=1).stderr
    )


def test_a_job_of_run_is_not_held(cli: Cli) -> None:
    cli.id("true")
    cli("pause")
    run = cli.start("run", "echo said")
    wait_until(lambda: len(cli.queue.jobs()) == 2)
    told = cli("hold", "2", code=1).stderr
    assert told.startswith("error: job 2 belongs to a 'jobq run', which waits for it\n")
    cli("resume")
    out, err = run.communicate(timeout=20)
    assert out == "said\n"
    assert "jobq: all queues are paused; 'jobq resume' starts them again\n" in err


def test_wait_tells_that_a_job_is_held(cli: Cli) -> None:
    cli.id("true")
    cli("hold", "1")
    assert "job 1 is held; 'jobq release 1' lets it start" in cli("wait", "-t", "1", code=124).stderr
    assert "hint: it is held already\n" in cli("hold", "1", code=1).stderr


def test_a_pause_or_resume_again_corrects_a_note_that_was_left_behind(cli: Cli) -> None:
    cli.id("true")
    note = cli.store / "paused.json"
    cli("pause")
    stale = note.read_bytes()
    cli("resume")
    fresh = note.read_bytes()
    note.write_bytes(stale)
    assert "paused" in cli("add", "true").stderr
    cli("resume")
    assert note.read_bytes() == fresh
    assert "paused" not in cli("add", "true").stderr


def test_the_first_pause_waits_for_the_end_of_a_compaction(cli: Cli) -> None:
    cli.id("true")
    store = Store(str(cli.store))
    with compacting(store.root) as alone:
        assert alone
        pause = cli.start("pause")
        with pytest.raises(subprocess.TimeoutExpired):
            pause.wait(timeout=1.5)
    store.close()
    assert pause.wait(timeout=20) == 0
    assert "all queues are paused" in cli("list").stderr


def test_a_running_job_is_not_edited(cli: Cli) -> None:
    cli.id("sleep 60")
    cli.worker("-j", "1")
    wait_until(lambda: cli.queue.job(1).state is State.RUNNING)
    told = cli("edit", "1", "-p", "5", code=1).stderr
    assert (
        told
        == "error: job 1 is running: it can't be edited\nhint: cancel it, then 'jobq again 1' runs it with other options\n"
    )


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (("ls",), ("list",)),
        (("ps", "--json"), ("list", "--json")),
        (("status",), ()),
        (("tail", "1"), ("log", "1")),
        (("help",), ("--help",)),
        (("follow", "1"), ("log", "1")),
        (("help", "add"), ("add", "--help")),
        (("help", "kill"), ("cancel", "--help")),
        (("help", "tail"), ("log", "--help")),
        (("help", "status"), ("--help",)),
        (("help", "help"), ("--help",)),
        (("version",), ("--version",)),
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


def test_a_draining_worker_does_not_wait_for_the_end_of_a_pause(cli: Cli) -> None:
    cli("pause", "night", "--reason", "disk is full")
    cli.id("--queue", "night", "true")
    cli.id("true")
    told = cli("worker", "--drain", code=75).stderr
    assert "queue night is paused: disk is full; 'jobq resume night' starts it again" in told
    assert {str(job.state) for job in cli.queue.jobs()} == {"queued"}
    assert cli.queue.job(2).state is State.SUCCEEDED
    cli("worker", "--drain", "-q", "default")
    cli("resume", "night")
    cli("worker", "--drain")


@pytest.mark.parametrize(
    ("words", "state"), [(("remove", "1"), None), (("retry", "1"), State.QUEUED), (("restart", "1"), State.QUEUED)]
)
def test_words_of_other_tools_change_the_same_here(cli: Cli, words: tuple[str, ...], state: State | None) -> None:
    assert cli("enqueue", "--retries", "0", "false").stdout == "1\n"
    cli("worker", "--drain", code=1)
    cli(*words)
    left = {job.id: job.state for job in [*cli.queue.jobs(), *cli.queue.finished()]}
    assert left == ({} if state is None else {1: state})


def test_a_drain_says_what_it_has_left(cli: Cli) -> None:
    cli("add", "--in", "1h", "true")
    cli("add", "--hold", "true", ":::", "a", "b")
    cli("add", "-q", "other", "--in", "1h", "true")
    told = cli("worker", "--drain", "-q", "default").stderr
    assert "2 held jobs stay" in told
    assert "1 job waits for a later time" in told
