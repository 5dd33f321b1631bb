"""The commands: their output, its stream, and their exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobq import clock
from jobq.job import State
from jobq.store import compaction
from tests.conftest import Cli, wait_until

NO_WORKER = "no worker is running"


def test_add_prints_the_id_alone_and_warns_on_stderr_without_a_worker(cli: Cli) -> None:
    first = cli("add", "true")
    assert (first.stdout, NO_WORKER in first.stderr) == ("1\n", True)
    cli.worker("-j", "1")
    second = cli("add", "true")
    assert (second.stdout, second.stderr) == ("2\n", "")


def test_options_end_where_the_command_begins(cli: Cli) -> None:
    cli("add", "-p", "high", "ls", "-la", "--priority", "5")
    job = cli.queue.job(1)
    assert job.command == ("ls", "-la", "--priority", "5")
    assert job.spec.priority == 10


def test_add_from_a_file_stores_all_lines_or_none(cli: Cli) -> None:
    done = cli("add", "--from", "-", "--queue", "bulk", stdin="true\n\necho 'a  b'\r\n  \nfalse")
    assert done.stdout == "1-3\n"
    assert [job.command for job in cli.queue.jobs()] == ["true", "echo 'a  b'", "false"]
    assert {job.spec.queue for job in cli.queue.jobs()} == {"bulk"}
    refused = cli("add", "--from", "-", stdin="true\necho a\0b\n", code=2)
    assert "line 2" in refused.stderr
    assert len(cli.queue.jobs()) == 3
    assert cli("add", "--from", "-", stdin="\n").stdout == ""
    cli("add", "--from", "missing.txt", code=2)


def test_names_select_jobs_and_are_unique_while_unfinished(cli: Cli) -> None:
    job_id = cli.id("--name", "backup", "true")
    assert "job 1 is named backup" in cli("add", "--name", "backup", "true", code=1).stderr
    assert json.loads(cli("show", "backup", "--json").stdout)["jobs"][0]["id"] == job_id
    cli("worker", "--drain")
    again = cli.id("--name", "backup", "false")
    assert cli.queue.named("backup").id == again
    cli("cancel", "backup")
    assert cli.queue.named("backup").state is State.CANCELLED
    assert "named missing" in cli("show", "missing", code=1).stderr


def test_selectors_mean_the_same_on_every_verb(cli: Cli) -> None:
    cli("add", "--from", "-", stdin="false\ntrue\nfalse\ntrue\n")
    cli("cancel", "2-3")
    assert [job.id for job in cli.queue.jobs()] == [1, 4]
    assert json.loads(cli("list", "@", "@~1", "--json").stdout)["jobs"][0]["id"] == 4
    cli("requeue", "@cancelled")
    assert [job.id for job in cli.queue.jobs()] == [1, 2, 3, 4]
    assert "no such jobs" in cli("requeue", "@failed").stderr
    assert "no job 99" in cli("cancel", "99", code=1).stderr
    cli("cancel", "7-9", code=1)
    assert "@nonsense does not name jobs" in cli("show", "@nonsense", code=2).stderr
    cli("rm", "1-4")
    assert cli.queue.jobs() == []
    assert list(cli.queue.finished()) == []


def test_cancel_refuses_some_jobs_and_changes_the_others(cli: Cli) -> None:
    cli("add", "--from", "-", stdin="true\ntrue\n")
    cli("cancel", "1")
    done = cli("cancel", "1", "2", code=1)
    assert "job 1 is cancelled: it can't be cancelled" in done.stderr
    assert "1 cancelled" in done.stderr


def test_list_shows_unfinished_jobs_and_the_last_finished_ones(cli: Cli) -> None:
    cli("add", "--from", "-", "--retries", "0", stdin="exit 2\n" * 25 + "true\n")
    cli("worker", "--drain", code=1)
    cli("add", "--queue", "other", "sleep 1")
    lines = cli("list").stdout.splitlines()
    assert len(lines) == 1 + 20 + 1
    assert lines[-1].split()[:2] == ["27", "queued"]
    assert len(cli("list", "--all").stdout.splitlines()) == 28
    assert len(cli("list", "--state", "failed").stdout.splitlines()) == 26
    assert len(cli("list", "--queue", "other").stdout.splitlines()) == 2
    assert "not a state" in cli("list", "--state", "done", code=2).stderr


def test_json_is_one_versioned_document_with_these_keys(cli: Cli) -> None:
    cli("add", "--retries", "0", "exit 3")
    cli("worker", "--drain", code=1)
    document = json.loads(cli("show", "1", "--json").stdout)
    (job,) = document["jobs"]
    assert document["jobq"] == 1
    assert list(job) == [
        "id", "name", "state", "reason", "progress", "command", "cwd", "queue", "priority", "retries", "backoff",
        "jitter", "retry_on", "no_retry_on", "success_codes", "max_lost", "timeout", "idle_timeout", "grace", "log_max",
        "at", "delay", "expires", "after", "after_any", "after_fail",
        "locks", "needs", "slots", "labels", "meta", "key", "once", "unique", "key_ttl", "on_success", "on_failure", "on_finish", "notify", "ping", "stdin", "pty", "stderr", "isolation", "retries_used", "added_at", "finished_at", "place", "skipped_for", "cancel_asked_at", "acknowledged", "exit_code", "attempts", "history",
        "waited", "steps", "result", "raised",
    ]  # fmt: skip
    assert list(job["attempts"][0]) == [
        "n", "worker", "claimed_at", "started_at", "ended_at", "outcome", "status", "signal", "error", "user_s",
        "system_s", "max_rss_kib", "log_bytes", "log_dropped", "replaced", "given",
    ]  # fmt: skip
    assert [step["event"] for step in job["history"]] == ["add", "claim", "fail"]
    assert (job["exit_code"], job["attempts"][0]["outcome"], job["attempts"][0]["status"]) == (3, "exit", 3)
    listed = json.loads(cli("list", "--json").stdout)["jobs"][0]
    assert {**listed, "waited": job["waited"], "steps": [], "result": None, "raised": None} == job


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("no-such-thing-here", 127)],
)
def test_run_and_wait_of_one_job_exit_as_it_did(cli: Cli, command: str, code: int) -> None:
    assert cli("run", command, code=code).returncode == code
    cli("wait", "1", code=code)
    cli("wait", "@", code=code)
    cli("log", "-f", "1", code=code)


def test_run_passes_output_through_and_keeps_quiet(cli: Cli) -> None:
    done = cli("run", "--", "sh", "-c", "printf 'a\\033[1m\\0b'; echo err >&2")
    assert done.stdout == "a\033[1m\0b"
    assert done.stderr == "err\n"
    failed = cli("run", "echo before; exit 4", code=4)
    assert failed.stdout == "before\n"
    assert "failed: exit 4" in failed.stderr


def test_run_shows_every_attempt(cli: Cli) -> None:
    done = cli("run", "--retries", "1", "echo try $JOBQ_JOB_ATTEMPT; [ $JOBQ_JOB_ATTEMPT = 2 ]")
    assert done.stdout == "try 1\ntry 2\n"


def test_run_of_many_jobs_reports_each_failure_and_the_count(cli: Cli) -> None:
    done = cli("run", "-j", "2", "--from", "-", stdin="true\nexit 9\ntrue\n", code=1)
    assert "job 2 failed: exit 9" in done.stderr
    assert "2 of 3 succeeded" in done.stderr
    assert done.stdout == ""


def test_a_run_goes_on_if_its_first_rescue_fails(cli: Cli) -> None:
    fail_once = """
import jobq.worker.loop
from jobq.__main__ import run
real, faults = jobq.worker.loop.rescue, [OSError(24, "Too many open files")]
def rescue(*args, **options):
    if faults:
        raise faults.pop()
    return real(*args, **options)
jobq.worker.loop.rescue = rescue
run(["run", "--", "echo", "hello"])
"""
    done = subprocess.run([sys.executable, "-c", fail_once], env=cli.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_no_worker_takes_the_jobs_of_a_run(cli: Cli, tmp_path: Path) -> None:
    cli.worker("-j", "2")
    process = cli.start("run", "while ! [ -e go ]; do sleep 0.02; done")
    job = wait_until(lambda: next(iter(cli.queue.jobs()), None))
    wait_until(lambda: cli.queue.job(job.id).state is State.RUNNING)
    assert cli.queue.job(job.id).attempts[0].owner.startswith("r")
    (tmp_path / "go").touch()
    assert process.wait(timeout=20) == 0


def test_a_job_of_a_run_can_be_requeued_for_any_worker(cli: Cli) -> None:
    cli("run", "[ -e ok ]", code=1)
    (cli.cwd / "ok").touch()
    cli("requeue", "1")
    cli("worker", "--drain")
    assert cli.queue.job(1).state is State.SUCCEEDED


def test_run_with_a_timeout_exits_124(cli: Cli) -> None:
    assert "timeout" in cli("run", "--timeout", "200ms", "sleep 60", code=124).stderr


def test_wait_exits_as_the_job_did_or_times_out(cli: Cli) -> None:
    cli("add", "--from", "-", "--retries", "0", stdin="true\nexit 2\n")
    late = cli("wait", "--timeout", "100ms", "1", code=124)
    assert "job 1 is not finished after 0.1 s" in late.stderr
    assert NO_WORKER in late.stderr
    cli("wait", "99", code=125)
    cli("wait", "99-100", code=1)
    cli("cancel", "1")
    cli("wait", "1", code=125)
    cli("worker", "--drain", code=1)
    assert "job 2 failed: exit 2" in cli("wait", "1-2", code=1).stderr
    cli("wait", "2", code=2)
    cli("wait")


def test_log_prints_the_output_of_an_attempt(cli: Cli) -> None:
    assert "never started" in cli("log", code=1).stderr if cli("add", "-r", "0", "seq 1000; exit 2").stdout else False
    cli("worker", "--drain", code=1)
    whole = "".join(f"{n}\n" for n in range(1, 1001))
    assert cli("log").stdout == whole
    assert cli("log", "1", "--tail", "2").stdout == "999\n1000\n"
    assert cli("log", "--tail", "0").stdout == ""
    assert cli("log", "--tail", "5000").stdout == whole
    assert "no attempt 2" in cli("log", "--attempt", "2", code=1).stderr
    assert "no job 7" in cli("log", "7", code=1).stderr


def test_log_follow_waits_for_the_start_and_every_attempt(cli: Cli) -> None:
    job_id = cli.id("--retries", "1", "echo $JOBQ_JOB_ATTEMPT; exit 5")
    follower = cli.start("log", "-f", str(job_id))
    cli("worker", "--drain", code=1)
    out, _ = follower.communicate(timeout=20)
    assert (out, follower.returncode) == ("1\n2\n", 5)


def test_requeue_runs_a_job_again_and_rm_removes_it(cli: Cli, tmp_path: Path) -> None:
    cli("add", "--retries", "0", "[ -e ok ]")
    cli("worker", "--drain", code=1)
    (tmp_path / "ok").touch()
    assert NO_WORKER in cli("requeue", "1").stderr
    cli("worker", "--drain")
    assert "it can't be requeued" in cli("requeue", "1", code=1).stderr
    log = Path(cli.queue.store.logs.path(1, 1))
    assert log.exists()
    cli("rm", "1")
    assert not log.exists()
    assert "no job 1" in cli("show", "1", code=1).stderr
    assert cli.id("true") == 2


def test_a_running_job_is_not_removed(cli: Cli) -> None:
    job_id = cli.id("sleep 60")
    cli.worker("-j", "1")
    wait_until(lambda: cli.queue.job(job_id).state is State.RUNNING)
    assert "jobq cancel --wait 1" in cli("rm", "1", code=1).stderr
    assert "stopping; grace 10 s" in cli("cancel", "--wait", "1").stderr
    cli("rm", "1")


def test_jobq_without_a_command_prints_the_status(cli: Cli) -> None:
    empty = cli()
    assert empty.stdout == "0 running, 0 waiting, no worker is running\n"
    assert "jobq add" in empty.stderr
    assert not cli.store.exists()
    cli("add", "--retries", "0", "false")
    cli("worker", "--drain", code=1)
    cli("add", "true")
    text = cli().stdout
    assert "1 waiting" in text
    assert "failed 1" in text


def test_the_exit_code_of_drain_shows_failed_or_remaining_work(cli: Cli) -> None:
    cli("worker", "--drain", code=0)
    cli("add", "--retries", "1", "false")
    done = cli("worker", "--drain", code=1)
    assert re.search(r"will be retried in (0\.9\d|1\.[01]) s", done.stdout), (
        done.stdout
    )  # of its 1.0 s a few ms are gone
    cli("add", "sleep 60")
    cli("add", "true")
    worker = cli.worker("--drain", "-j", "1")
    wait_until(lambda: cli.queue.job(2).state is State.RUNNING)
    worker.terminate()
    cli("cancel", "2")
    assert worker.wait(timeout=20) == 75


def test_a_worker_serves_only_its_queues(cli: Cli) -> None:
    cli("add", "-q", "slow", "true")
    cli("add", "-q", "fast", "true")
    cli("worker", "--drain", "-q", "fast")
    assert [job.state for job in (cli.queue.job(1), cli.queue.job(2))] == [State.QUEUED, State.SUCCEEDED]


def test_jobs_run_by_priority_then_age(cli: Cli) -> None:
    for word, priority in (("a", "0"), ("b", "high"), ("c", "-3"), ("d", "0")):
        cli("add", "-p", priority, f"echo {word} >> order")
    cli("worker", "--drain", "-j", "1")
    assert (cli.cwd / "order").read_text().split() == ["b", "a", "d", "c"]


def test_two_drains_share_the_work(cli: Cli) -> None:
    cli("add", "--from", "-", stdin="".join(f"echo {n} >> ran\n" for n in range(60)))
    workers = [cli.start("worker", "--drain", "-j", "2") for _ in range(2)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    assert sorted(map(int, (cli.cwd / "ran").read_text().split())) == list(range(60))
    assert all(len(job.attempts) == 1 for job in cli.queue.finished())


def test_doctor_reports_damage_and_repairs_it_on_request(cli: Cli) -> None:
    assert "there is no store yet" in cli("doctor").stdout
    cli("add", "true")
    (cli.store / "notes.txt").touch(0o600)
    healthy = cli("doctor").stdout
    assert "healthy" in healthy
    assert "notes.txt" in healthy
    os.chmod(cli.store / "journal.jsonl", 0o644)
    assert "can be accessed by others" in cli("doctor", code=65).stdout
    os.chmod(cli.store / "journal.jsonl", 0o600)
    journal = cli.store / "journal.jsonl"
    data = bytearray(journal.read_bytes())
    data[-30] ^= 1
    journal.write_bytes(data)
    damaged = cli("list", code=65)
    assert "byte" in damaged.stderr
    assert "--accept-loss" in damaged.stderr
    cli("doctor", code=65)
    assert journal.read_bytes() == data
    cli("doctor", "--accept-loss")
    cli("add", "true")


def test_the_python_api_adds_waits_and_finds_a_job_by_name(cli: Cli) -> None:
    job = cli.queue.add("echo hi", priority=3, name="greet")
    cli("worker", "--drain")
    done = cli.queue.wait(job.id, timeout=20)
    assert (done.state, done.spec.priority) == (State.SUCCEEDED, 3)
    assert cli.queue.named("greet").id == job.id


def test_hints_name_the_store_in_use_and_leave_the_words_of_jobs_unchanged(cli: Cli, tmp_path: Path) -> None:
    other = f"{tmp_path}/another store"
    words = ("--store", other)
    assert f"'jobq --store '{other}' worker' starts one" in cli(*words, "add", "true").stderr
    assert f"'jobq --store '{other}' list --all'" in cli(*words, "show", "9", code=1).stderr
    told = cli(*words, "run", "--", "sh", "-c", "jobq me; exit 3", code=3).stderr
    assert "sh -c 'jobq me; exit 3'" in told
    assert "put --store DIR before the command" in cli("list", "--store", other, code=2).stderr
    assert "the name of the directory is empty" in cli("--store", "", "add", "true", code=2).stderr


def test_wait_reports_that_the_last_worker_has_stopped(cli: Cli) -> None:
    job_id = cli.id("true")
    worker = cli.worker("-q", "another")
    waiting = cli.start("wait", str(job_id))
    assert waiting.stderr is not None
    worker.terminate()
    assert "no worker is running" in waiting.stderr.readline()
    cli("worker", "--drain")
    assert waiting.wait(30) == 0


def test_run_reports_a_stop_unless_its_reader_closed_the_pipe(cli: Cli) -> None:
    stopped = cli.start("run", "touch began; sleep 300")
    wait_until((cli.cwd / "began").exists)
    stopped.terminate()
    _, told = stopped.communicate(timeout=30)
    assert "stopping; press ^C again to end it now" in told
    unread = cli.start("run", "yes", bufsize=0)
    assert unread.stdout is not None
    unread.stdout.read(1)
    unread.stdout.close()
    assert unread.stderr is not None
    assert "stopping" not in unread.stderr.read()
    unread.wait(30)


def test_exit_2_is_a_failure_like_any_other(cli: Cli) -> None:
    cli("add", "--retries", "1", "[ -e again ] || { touch again; exit 2; }")
    cli("worker", "--drain")
    assert len(cli.queue.job(1).attempts) == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["exit 127"], "not retried: exit 127: a shell's status for a command that it does not find"),
        (["exit 126"], "not retried: exit 126: a shell's status for a command that it can't execute"),
        (["--", "./missing"], "not retried: exit 127: a shell's status for a command that it does not find"),
    ],
)
def test_every_view_explains_why_a_failure_is_not_retried(cli: Cli, words: list[str], why: str) -> None:
    cli("add", *words)
    assert why in cli("worker", "--drain", code=1).stdout
    for look in (["list"], ["show"], [], ["list", "--json"], ["show", "--json"]):
        assert why in cli(*look).stdout
    assert why in cli("wait", "1", code=None).stderr
    cli("add", "--retries", "0", *words)
    cli("worker", "--drain", code=1)
    assert "not retried" not in cli("show", "2").stdout


def reasons(cli: Cli, job_id: int) -> set[str]:
    """Return the reasons why the job waits, as the views show them."""
    row = next(line for line in cli("list").stdout.splitlines() if line.startswith(f"{job_id} "))
    listed = json.loads(cli("list", str(job_id), "--json").stdout)["jobs"][0]["reason"]
    shown = json.loads(cli("show", str(job_id), "--json").stdout)["jobs"][0]["reason"]
    assert shown in row
    assert shown in cli("show", str(job_id)).stdout
    assert shown in cli().stdout
    return {listed, shown}


def test_every_view_shows_that_no_worker_serves_a_queue_and_commands_warn(cli: Cli) -> None:
    cli.worker("-q", "gpu")
    for words in (["-q", "build", "true"], ["--from", "-", "-q", "build"]):  # the quick add and the full one
        added = cli("add", *words, stdin="true\n")
        assert "no worker serves queue build (workers: gpu); 'jobq worker' starts one" in added.stderr
    assert "no worker serves queue gup; did you mean gpu?" in cli("add", "-q", "gup", "true").stderr
    assert reasons(cli, 1) == {"no worker serves queue build (workers: gpu)"}
    assert reasons(cli, 3) == {"no worker serves queue gup; did you mean gpu?"}
    assert "did you mean gpu?" in cli().stderr
    assert cli("add", "-q", "gpu", "true").stderr == ""
    waiting = cli.start("wait", "1")
    assert waiting.stderr is not None
    assert "no worker serves queue build (workers: gpu)" in waiting.stderr.readline()
    cli("cancel", "1")
    assert waiting.wait(30) == 125


def test_every_view_shows_that_the_worker_is_stopping_and_commands_warn(cli: Cli) -> None:
    running = cli.id("while ! [ -e go ]; do sleep 0.02; done")
    worker = cli.worker("-j", "1")
    wait_until(lambda: cli.queue.job(running).state is State.RUNNING)
    waits = cli.id("true")
    assert reasons(cli, waits) == {"ready"}
    follower = cli.start("wait", str(waits))
    worker.terminate()
    wait_until(lambda: all(live.stopping for live in cli.queue.workers.all()))
    assert reasons(cli, waits) == {"the only worker is stopping"}
    assert "1 worker alive (1 stopping)" in cli().stdout
    for words in (["true"], ["--from", "-"]):
        assert "the only worker is stopping; 'jobq worker' starts another" in cli("add", *words, stdin="true\n").stderr
    assert follower.stderr is not None
    assert "the only worker is stopping" in follower.stderr.readline()
    (cli.cwd / "go").touch()
    worker.wait(30)
    assert "no worker is running" in follower.stderr.readline()
    cli("worker", "--drain")
    assert follower.wait(30) == 0


def test_a_missing_or_damaged_serves_file_blocks_nothing(cli: Cli) -> None:
    cli.worker("-q", "gpu", "-j", "3")
    (worker,) = cli.queue.workers.all()
    assert (worker.queues, worker.slots, worker.pid, worker.stopping) == (["gpu"], 3, cli.started[0].pid, False)
    path = cli.store / "workers" / worker.token / "serves"
    assert path.stat().st_mode & 0o777 == 0o600
    good = path.read_bytes()
    path.unlink()
    cli("add", "-q", "other", "true")
    for plant in (lambda: os.mkfifo(path), path.mkdir, lambda: path.symlink_to("/etc/passwd"),
                  lambda: path.write_bytes(good.replace(b"gpu", b"cpu")), lambda: path.write_bytes(b"[" * 100_000)):  # fmt: skip
        plant()
        assert reasons(cli, 1) == {"ready"}  # as with a worker of an older version
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.mark.parametrize("verb", ["requeue", "cancel", "rm"])
def test_a_range_changes_the_jobs_that_it_can_and_one_line_reports_it(cli: Cli, verb: str) -> None:
    cli("add", "--from", "-", "-r", "0", stdin="true\n" * 3 + "exit 1\n" * 3)
    cli("worker", "--drain", code=1)
    cli("add", "sleep 60")
    if verb != "requeue":
        cli.worker("-j", "1")
        wait_until(lambda: cli.queue.job(7).state is State.RUNNING)
    done, left = {
        "requeue": ("3 requeued", "4 left alone: 3 succeeded, 1 queued"),
        "cancel": ("1 stopping", "6 left alone: 3 succeeded, 3 failed"),
        "rm": ("6 removed", "1 left alone: running"),
    }[verb]
    (told, *warned) = cli(verb, "1-7").stderr.splitlines()
    assert told == f"jobq: {done}; {left}"
    assert [line for line in warned if NO_WORKER not in line] == []
    refused = cli(verb, "7" if verb == "rm" else "1", code=1)
    assert f"it can't be {'removed' if verb == 'rm' else verb + ('led' if verb == 'cancel' else 'd')}" in refused.stderr
    assert f"'jobq {verb} 7', or" in cli(verb, code=2).stderr


def test_verbose_prints_a_line_for_each_job(cli: Cli) -> None:
    cli("add", "--from", "-", stdin="true\n" * 3)
    cli("cancel", "2")
    assert cli("cancel", "--verbose", "1-3").stderr.splitlines() == [
        "jobq: job 1 cancelled",
        "jobq: job 3 cancelled",
        "jobq: job 2 left alone: cancelled",
    ]
    assert cli("cancel", "1-3").stderr == "jobq: nothing changed; 3 left alone: cancelled\n"
    assert "job 2 removed" in cli("rm", "2").stderr


def test_a_word_that_is_no_state_is_answered_with_all_states(cli: Cli) -> None:
    cli("add", "true")
    for text in (cli("list", "--state", "done", code=2).stderr, cli("list", "--help").stdout):
        assert all(state in text for state in State)
    assert "no such jobs" in cli("list", "--state", "skipped").stderr
    assert "no such jobs" in cli("cancel", "@expired").stderr


def test_hints_name_the_command_that_was_typed(cli: Cli) -> None:
    for verb in ("add", "run"):
        assert f"as in: jobq {verb} 'sleep" in cli(verb, code=2).stderr


@pytest.mark.parametrize("words", [("wait",), ("log", "-f")])
def test_a_job_that_is_gone_or_unknown_is_exit_125(cli: Cli, words: tuple[str, ...]) -> None:
    assert "no job 7" in cli(*words, "7", code=125).stderr
    assert "named nobody" in cli(*words, "nobody", code=125).stderr
    job_id = cli.id("true")
    waiting = cli.start(*words, str(job_id))
    assert waiting.stderr is not None
    assert NO_WORKER in waiting.stderr.readline()
    cli("rm", str(job_id))
    assert "there is no job 1 any more: it was removed" in waiting.stderr.readline()
    assert waiting.wait(30) == 125


def test_show_has_the_result_of_a_function(cli: Cli) -> None:
    cli("call", "json:dumps", ":=[1]")
    cli("call", "--no-check", "-r", "0", "json:loads", "x")
    cli("worker", "--drain", code=1)
    good, bad = json.loads(cli("show", "1-2", "--json").stdout)["jobs"]
    assert (good["result"], good["raised"]) == ("[1]", None)
    assert (bad["result"], bad["raised"]["type"]) == (None, "json.decoder.JSONDecodeError")


def environments(cli: Cli) -> int:
    return len(list((cli.store / "env").iterdir()))


def test_rm_removes_an_environment_that_no_job_names_any_more(cli: Cli) -> None:
    cli("add", "true")
    for _ in range(2):
        cli("add", "-e", "TOKEN=secret", "true")
    assert environments(cli) == 2
    cli("rm", "2")
    assert environments(cli) == 2
    cli("rm", "3")
    assert environments(cli) == 1
    finished = cli.id("-e", "TOKEN=secret", "true")
    again = cli.id("-e", "TOKEN=secret", "true")
    cli("worker", "--drain")
    assert compaction.compact(str(cli.store), clock.now())
    cli("rm", str(again))
    assert environments(cli) == 2  # a job that has left the journal still names it
    cli("rm", str(finished))
    assert environments(cli) == 1


def test_failures_count_until_they_are_requeued_removed_or_acknowledged(cli: Cli) -> None:
    cli("add", "--from", "-", "-r", "0", stdin="exit 1\n" * 8)
    cli("worker", "--drain", code=1)
    cli("add", "--from", "-", stdin="true\n" * 150)
    cli("worker", "--drain")

    def told() -> str:
        return cli().stdout.partition(" failed, ")[0]

    text = cli().stdout
    assert text.startswith("0 running, 0 waiting, 8 failed, no worker")
    assert text.endswith("... and 3 more failed\n")
    assert "'jobq ack ID' acknowledges it" in cli().stderr
    cli("requeue", "1")
    cli("rm", "2")
    assert cli("ack", "3").stderr == "jobq: job 3 acknowledged\n"
    assert told() == "0 running, 1 waiting, 5"
    assert cli("ack", "4-20").stderr == "jobq: 5 acknowledged; 12 left alone: succeeded\n"
    assert "failed" not in cli().stdout
    assert "no failure is left" in cli("ack").stderr
    assert "acknowledged" in cli("show", "3").stdout
    assert json.loads(cli("show", "3", "--json").stdout)["jobs"][0]["acknowledged"] is True
    assert "it can't be acknowledged" in cli("ack", "20", code=1).stderr
    cli("worker", "--drain", code=1)
    assert told() == "0 running, 0 waiting, 1"
    cli("ack")
    assert "failed" not in cli().stdout
