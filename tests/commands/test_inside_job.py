"""`jobq progress` and `jobq step` inside jobs, and `current_job()` in functions."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from jobq.job import State
from jobq.python.inside import CurrentJob, Step, append_line, read_steps
from jobq.rules.progress import Progress, words
from jobq.store.progress import read_progress
from tests.conftest import Cli, wait_until

JOBQ = f"'{sys.executable}' -m jobq"


def progress(cli: Cli, job_id: int) -> Progress | None:
    return cli.queue.progress_of(cli.queue.job(job_id))


# -- progress --------------------------------------------------------------------------------------


def test_a_running_job_tells_how_far_it_is(cli: Cli) -> None:
    job_id = cli.id(f"{JOBQ} progress 40 'epoch 4/10' && until [ -e go ]; do sleep 0.01; done; {JOBQ} progress 4/4")
    cli.start("worker", "--drain")
    wait_until(lambda: progress(cli, job_id))
    assert "40% epoch 4/10" in cli("list").stdout
    assert "40% epoch 4/10" in cli().stdout
    for name in ("list", "show"):
        (found,) = json.loads(cli(name, "--json").stdout)["jobs"]
        assert (found["progress"]["fraction"], found["progress"]["text"]) == (0.4, "epoch 4/10")
    (cli.cwd / "go").touch()
    cli.queue.wait(job_id, timeout=30)
    last = progress(cli, job_id)
    assert last is not None
    assert (last.fraction, last.text) == (1.0, "")
    assert "%" not in cli("list").stdout
    assert json.loads(cli("list", "--json").stdout)["jobs"][0]["progress"] is None
    cli("rm", str(job_id))
    assert list((cli.store / "runs").rglob("*progress*")) == []


@pytest.mark.parametrize("value", ["101", "-1", "x", "5/0", "3/2", "nan"])
def test_what_is_no_progress_is_refused(cli: Cli, value: str) -> None:
    cli.env.update(JOBQ_JOB_ID="1", JOBQ_JOB_FILES=str(cli.cwd / "1"))
    assert "is no progress" in cli("progress", "--", value, code=2).stderr
    assert list(cli.cwd.glob("1.*")) == []


def test_outside_of_a_job_progress_is_a_note(cli: Cli) -> None:
    assert "this is no job" in cli("progress", "40").stderr
    assert "this is no job" in cli("progress", "-", "thinking").stderr
    assert "40% or 4/10" in cli("progress", "--help").stdout


def test_a_report_that_is_none_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "1.1.progress"
    assert read_progress(str(path)) is None
    for text in (
        "",
        "{}",
        "[" * 5000,
        '{"fraction": "x", "text": "", "at": 1}',
        '{"fraction": 0.5, "text": "", "at": 1e300}',
    ):
        path.write_text(text)
        assert read_progress(str(path)) is None
    path.write_text('{"fraction": 1, "text": "\\u001b[2J", "at": 5}')
    assert read_progress(str(path)) == Progress(1.0, "\x1b[2J", 5.0)


def test_the_time_left_follows_from_the_fraction() -> None:
    half = Progress(0.5, "half", at=150.0)
    assert half.rest(100.0, 150.0) == 50
    assert half.rest(100.0, 190.0) == 10
    assert half.rest(100.0, 500.0) == 0
    assert half.rest(100.0, 120.0) is None, "it is told in the future"
    assert Progress(None, "x", 150.0).rest(100.0, 150.0) is None
    assert Progress(0.0, "", 150.0).rest(100.0, 150.0) is None
    assert words(half, 100.0, 150.0) == "50% half, ~50 s left"
    assert words(Progress(None, "loading", 150.0), 100.0, 150.0) == "loading"
    assert words(half, 100.0, 150.0, bar=True) == "50% ████░░░░ half, ~50 s left"
    assert (Progress(0.5, "", 0).bar, Progress(None, "", 0).bar) == ("████░░░░", "")


def test_reports_in_quick_succession_are_thinned_but_the_last_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQ_JOB_ID", "1")
    monkeypatch.setenv("JOBQ_JOB_FILES", str(tmp_path / "1"))
    monkeypatch.setattr(CurrentJob, "_reported_at", float("-inf"))
    job = CurrentJob()
    for n in range(1001):
        job.progress(n / 1000)
    found = read_progress(str(tmp_path / "1.1.progress"))
    assert found is not None
    assert found.fraction == 1
    with pytest.raises(ValueError, match="from 0 to 1"):
        job.progress(40)


# -- steps -----------------------------------------------------------------------------------------


def script(cli: Cli, *lines: str) -> str:
    (cli.cwd / "job.sh").write_text("set -e\n" + "\n".join(lines))
    return "sh job.sh"


def add(cli: Cli, line: str, *options: str) -> int:
    return int(cli("add", *options, line).stdout)


def failing(cli: Cli, *lines: str, retries: int = 0) -> str:
    """Run a job with these lines, which fails; return its id."""
    job_id = add(cli, script(cli, *lines), "--retries", str(retries), "--backoff", "const:0")
    cli("worker", "--drain", code=1)
    return str(job_id)


def count(cli: Cli, name: str) -> int:
    path = cli.cwd / name
    return len(path.read_text().split()) if path.exists() else 0


def test_steps_that_are_done_are_skipped_when_the_job_runs_again(cli: Cli) -> None:
    job_id = failing(
        cli,
        f"n=$({JOBQ} step fetch -- 'echo ran >> fetched; printf \"5\\n\"')",
        'echo "n=$n"',
        f"{JOBQ} step train -- sh -c 'echo ran >> trained; test -e ok'",
        f"{JOBQ} step report -- sh -c 'echo ran >> reported'",
        retries=1,
    )
    assert (count(cli, "fetched"), count(cli, "trained"), count(cli, "reported")) == (1, 2, 0)
    shown = cli("show", job_id).stdout
    assert "  fetch  done in attempt 1" in shown
    assert "  train  failed: exit 1 in attempt 2" in shown
    log = cli("log", job_id).stdout
    assert "step fetch is done already, in attempt 1\nn=5\n" in log
    (cli.cwd / "ok").touch()
    cli("requeue", job_id)
    cli("worker", "--drain")
    assert (count(cli, "fetched"), count(cli, "trained"), count(cli, "reported")) == (1, 3, 1)
    steps = json.loads(cli("show", job_id, "--json").stdout)["jobs"][0]["steps"]
    assert [(step["name"], step["attempt"], step["status"]) for step in steps] == [
        ("fetch", 1, 0), ("train", 3, 0), ("report", 3, 0),
    ]  # fmt: skip
    cli("rm", job_id)
    assert list((cli.store / "runs").rglob("*.steps")) == []


def test_a_job_is_requeued_from_a_step(cli: Cli) -> None:
    words = [f"{JOBQ} step {name} -- sh -c 'echo ran >> {name}'" for name in ("a", "b", "c")]
    job_id = failing(cli, *words, "exit 1")
    assert "has no step 'x'" in cli("requeue", job_id, "--from-step", "x", code=2).stderr
    assert cli.queue.job(int(job_id)).state is State.FAILED
    cli("requeue", job_id, "--from-step", "b")
    cli("worker", "--drain", code=1)
    assert [count(cli, name) for name in "abc"] == [1, 2, 2]


def test_a_step_whose_command_has_changed_runs_again(cli: Cli) -> None:
    job_id = failing(cli, f"{JOBQ} step a -- sh -c 'echo one'", "exit 1")
    script(cli, f"{JOBQ} step a -- sh -c 'echo two'")
    cli("requeue", job_id)
    cli("worker", "--drain")
    assert cli("log", job_id).stdout == "jobq: step a runs again: its command has changed\ntwo\n"


def test_a_step_has_the_exit_code_of_its_command(cli: Cli) -> None:
    assert cli("step", "a", "--", "exit 3", code=3).stdout == ""
    assert cli("step", "a", "--", "sh", "-c", "kill -9 $$", code=137).stdout == ""
    assert "No such file" in cli("step", "a", "--", "no-such-program", "x", code=127).stderr
    assert cli("step", "a", "--", "echo", "a  b").stdout == "a  b\n"
    assert "no command is given" in cli("step", "a", code=2).stderr
    assert "a step has a name" in cli("step", " ", "--", "true", code=2).stderr


def test_a_step_is_recorded_whatever_becomes_of_its_output(cli: Cli) -> None:
    line = f"{JOBQ} step a -- sh -c 'echo ran >> a; echo out' > /dev/full || echo code=$?"
    job_id = failing(cli, line, "exit 1", retries=1)
    assert count(cli, "a") == 1
    assert (
        "step a: stdout takes no output: No space left on device\ncode=74"
        in cli("log", job_id, "--attempt", "1").stdout
    )


def test_a_name_is_used_once_in_an_attempt(cli: Cli) -> None:
    job_id = failing(cli, *(f"{JOBQ} step a -- sh -c 'echo {word}'" for word in ("one", "two")))
    assert "the step a was run in this attempt already: give each its own name" in cli("log", job_id).stdout


def test_long_output_of_a_step_is_passed_on_whole_and_kept_in_part(cli: Cli) -> None:
    job_id = failing(cli, f"{JOBQ} step a -- 'head -c 200000 /dev/zero | tr \"\\0\" x' | wc -c", "test -e ok")
    assert cli("log", job_id).stdout.strip() == "200000"
    (cli.cwd / "ok").touch()
    cli("requeue", job_id)
    cli("worker", "--drain")
    assert "only the first 65536 bytes" in cli("log", job_id).stdout
    assert cli("log", job_id).stdout.split()[-1] == "65536"


def test_steps_of_a_function(cli: Cli) -> None:
    (cli.cwd / "m.py").write_text(
        "from jobq import current_job\n"
        "def note(name):\n    open(name, 'a').write('ran\\n'); return {'n': 5}\n"
        "def f():\n"
        "    job = current_job()\n"
        "    first = job.step('first', note, 'first')\n"
        "    with job.step('second') as step:\n"
        "        if not step.done:\n            note('second'); step.result = [1]\n"
        "    if job.attempt < 2: raise ValueError('once')\n"
        "    return [first, step.result]\n"
    )
    job_id = int(cli("call", "--backoff", "const:0", "m:f").stdout)
    cli("worker", "--drain")
    assert cli.queue.get(job_id).result == [{"n": 5}, [1]]
    assert (count(cli, "first"), count(cli, "second")) == (1, 1)


def test_a_step_is_not_done_because_of_another_job_that_had_its_id(cli: Cli) -> None:
    job_id = add(cli, script(cli, f"{JOBQ} step a -- sh -c 'echo ran >> a'"))
    path = Path(cli.queue.store.logs.steps_path(job_id))
    cli.queue.store.logs.make_folder(job_id)
    append_line(str(path), {"step": "a", "n": 1, "status": 0})
    cli("worker", "--drain")
    assert count(cli, "a") == 1


def test_a_torn_record_is_passed_over(tmp_path: Path) -> None:
    path = str(tmp_path / "1.steps")
    append_line(path, {"step": "a", "n": 1, "status": 0})
    with open(path, "ab") as f:
        f.write(b'{"step": "b", "n"')
    append_line(path, {"step": "c", "n": 2, "status": 0})
    assert list(read_steps(path)) == ["a", "c"]
    append_line(path, {"from": "a"})
    assert read_steps(path) == {}
    with open(path, "a") as f:
        f.write(
            '{"from": []}\n'
            + "[" * 5000
            + '\n{"step": "d", "n": NaN}\n{"step": "d", "seconds": 1e300}\n{"step": "d", "at": "x"}\n'
        )
    assert read_steps(path) == {}
    os.mkfifo(tmp_path / "2.steps")
    assert read_steps(str(tmp_path / "2.steps")) == {}
    with pytest.raises(OSError, match="no regular file"):
        append_line(str(tmp_path / "2.steps"), {})
    for name in ("", "x" * 201, "a\nb"):
        with pytest.raises(ValueError, match="a step has a name"):
            Step(name, None, 1)
