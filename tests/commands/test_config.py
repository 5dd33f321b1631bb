"""Settings as people use them: five levels, `jobq config`, and stores of projects."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from jobq import clock
from jobq.job import Spec
from jobq.store import compaction
from jobq.store.retention import Retention
from jobq.store.store import Store
from jobq.store.transaction import Add
from jobq.worker.upkeep import Upkeep
from tests.conftest import Cli
from tests.helpers.terminal import Terminal


@pytest.fixture
def home(cli: Cli, tmp_path: Path) -> Path:
    """The person's file of settings, and no store in the environment; jobq runs in a project."""
    del cli.env["JOBQ_STORE"]
    (tmp_path / "home").mkdir()
    cli.cwd = tmp_path / "project" / "sub"
    cli.cwd.mkdir(parents=True)
    return Path(cli.env["XDG_CONFIG_HOME"]) / "jobq" / "config.toml"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def added(cli: Cli, *words: str) -> dict[str, object]:
    job_id = cli("add", *words, "true").stdout.strip()
    shown: dict[str, object] = json.loads(cli("show", "--json", job_id).stdout)["jobs"][0]
    return shown


def test_the_stronger_level_counts(cli: Cli, home: Path) -> None:
    project = cli.cwd.parent / ".jobq.toml"
    assert added(cli)["retries"] == 3
    write(home, "retries = 5\n")
    assert added(cli)["retries"] == 5
    write(project, "retries = 6\n")
    assert added(cli)["retries"] == 6
    cli.env["JOBQ_RETRIES"] = "7"
    assert added(cli)["retries"] == 7
    assert added(cli, "-r", "8")["retries"] == 8
    rows = {row["name"]: row for row in json.loads(cli("config", "--json").stdout)["settings"]}
    assert (rows["retries"]["value"], rows["retries"]["source"]) == (7, "JOBQ_RETRIES")
    del cli.env["JOBQ_RETRIES"]
    assert f"{project}:1" in cli("config").stdout
    (cli.cwd / ".jobq.toml").write_text("queue = 'near'\n")  # the nearest file is the project's
    assert (added(cli)["retries"], added(cli)["queue"]) == (5, "near")


def test_every_way_of_adding_takes_them(cli: Cli, home: Path) -> None:
    write(home, 'timeout = "1m"\nlabels = ["team=web"]\n')
    cli("add", "--jsonl", "-", stdin='{"command": "true"}\n')
    cli("call", "os:getcwd")
    cli("add", "--timeout", "none", "true")
    cli("schedule", "add", "each", "@every 1h", "true")
    cli("schedule", "run", "each")
    jobs = json.loads(cli("list", "--json").stdout)["jobs"]
    assert [job["timeout"] for job in jobs] == [60, 60, None, 60]
    assert all(job["labels"]["team"] == "web" for job in jobs)


def test_run_tries_once_whatever_the_settings_say(cli: Cli, home: Path) -> None:
    write(home, 'retries = 5\nbackoff = "const:0s"\n')
    cli("run", "echo x >> tries; false", code=1)
    assert (cli.cwd / "tries").read_text() == "x\n"


def test_the_queue_of_the_settings_is_the_one_that_is_warned_about(cli: Cli, home: Path) -> None:
    write(home, 'queue = "build"\n')
    cli("pause", "build", "--reason", "moving")
    assert "moving" in cli("add", "true").stderr
    assert "moving" in cli("add", "--label", "a=b", "true").stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("retires = 5\n", ":1: 'retires' is not a setting\nhint: did you mean retries?"),
        ('\nretries = "many"\n', ":2: retries can't be 'many'"),
        ("retries = 5000\n", ":1: retries: '5000' is not possible here"),
        ('timeout = "soon"\n', ":1: timeout: 'soon' is not a duration"),
        ("retries = \n", ": Invalid value (at line 1"),
        ('[worker]\non_stop = "now"\n', ":2: worker.on_stop: 'now' is not possible"),
        ('store = "here"\n', ":1: store: 'here' is not a full path"),
    ],
)
def test_a_mistake_is_named_with_its_line(cli: Cli, home: Path, text: str, told: str) -> None:
    write(home, text)
    assert f"error: {home}{told}" in cli("add", "true", code=2).stderr
    assert f"error: {home}{told}" in cli("config", code=2).stderr


@pytest.mark.parametrize(
    "line", ['store = "/x"', 'keep = "1s"', "keep_jobs = 0", 'on_failure = "rm -rf ~"', 'python = "/x"']
)
def test_a_file_of_a_project_may_not_set_what_is_the_persons(cli: Cli, home: Path, line: str) -> None:
    write(cli.cwd / ".jobq.toml", f"{line}\n")
    refused = cli("add", "true", code=2).stderr
    assert ".jobq.toml:1: " in refused
    assert "may not set" in refused or "is not a setting" in refused
    cli("list")  # which needs no settings of jobs


def test_a_file_that_others_can_write_is_not_read(cli: Cli, home: Path) -> None:
    path = cli.cwd / ".jobq.toml"
    write(path, 'queue = "planted"\n')
    path.chmod(0o666)
    assert added(cli)["queue"] == "default"
    assert f"{path} is not read: everybody can write it" in cli("config").stderr


def test_set_unset_and_get(cli: Cli, home: Path) -> None:
    cli("config", "set", "timeout", "1h")
    cli("config", "set", "labels", "a=b,c=d")
    cli("config", "set", "--project", "queue", "night")
    assert home.read_text() == 'timeout = "1h"\nlabels = ["a=b", "c=d"]\n'
    assert home.stat().st_mode & 0o777 == 0o600
    assert (cli.cwd / ".jobq.toml").read_text() == 'queue = "night"\n'
    assert cli("config", "get", "timeout").stdout == "1h\n"
    told = cli("config", "unset", "timeout").stderr
    assert "timeout is none now (built in)" in told
    assert "nothing changed" in cli("config", "unset", "timeout").stderr
    assert "did you mean retries" in cli("config", "set", "retris", "3", code=2).stderr
    assert "may not set" in cli("config", "set", "--project", "store", "/x", code=2).stderr
    cli.env["JOBQ_QUEUE"] = "other"
    assert 'note: it has no effect here, as JOBQ_QUEUE says "other"' in cli("config", "set", "queue", "x").stderr


def test_a_link_to_the_file_stays_a_link(cli: Cli, home: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.toml"
    write(target, "retries = 1\n")
    home.parent.mkdir(parents=True)
    home.symlink_to(target)
    cli("config", "set", "retries", "2")
    assert home.is_symlink()
    assert target.read_text() == "retries = 2\n"


def test_a_worker_takes_its_settings(cli: Cli, home: Path) -> None:
    cli.env["JOBQ_STORE"] = str(cli.store)
    write(home, '[worker]\njobs = 3\nstop_after = "0s"\non_stop = "hand-back"\n')
    cli.worker()
    assert json.loads(cli("worker", "list", "--json").stdout)["workers"][0]["slots"] == 3


def test_a_project_has_a_store_of_its_own(cli: Cli, home: Path, tmp_path: Path) -> None:
    project = cli.cwd.parent
    cli.cwd = project
    cli("init")
    assert "nothing changed" in cli("init").stderr
    cli.cwd = project / "sub"
    assert cli("add", "true").stdout == "1\n"
    assert cli("config", "get", "store").stdout == f"{project}/.jobq\n"
    assert (project / ".jobq" / ".gitignore").read_text() == "*\n"
    assert "healthy" in cli("doctor").stdout
    assert (project / ".jobq").stat().st_mode & 0o777 == 0o700
    moved = tmp_path / "moved"
    project.rename(moved)
    cli.cwd = moved
    assert "is not used, as you have made it elsewhere: 'jobq init' there uses it" in cli("list").stderr
    assert "again" in cli("init").stderr
    assert json.loads(cli("list", "--json").stdout)["jobs"][0]["id"] == 1


def test_a_store_that_came_with_a_checkout_is_not_used(cli: Cli, home: Path, tmp_path: Path) -> None:
    """G27. It could hold planted jobs."""
    other = {**cli.env, "XDG_STATE_HOME": str(tmp_path / "other")}
    mine, cli.env = cli.env, other
    cli("init")
    cli("add", "touch planted")
    cli.env = mine
    note = f"note: {cli.cwd}/.jobq is not used, as you have not made it"
    for words in (["add", "true"], ["list"], ["worker", "--drain"], []):
        assert note in cli(*words).stderr
    assert not (cli.cwd / "planted").exists()
    assert "was made by somebody else" in cli("init", code=1).stderr
    assert "planted" in cli("--store", ".jobq", "list").stdout
    cli("init", "--trust")
    cli("worker", "--drain")
    assert (cli.cwd / "planted").exists()
    shutil.rmtree(cli.cwd / ".jobq")
    cli.env = other
    cli("init")  # another store in its place
    cli.env = mine
    assert note in cli("list").stderr


def test_the_environment_names_the_store_before_the_project(cli: Cli, home: Path, tmp_path: Path) -> None:
    cli("init")
    cli.env["JOBQ_STORE"] = str(tmp_path / "elsewhere")
    assert cli("config", "get", "store").stdout == f"{tmp_path}/elsewhere\n"
    del cli.env["JOBQ_STORE"]
    write(home, 'store = "~/queue"\n')
    assert cli("config", "get", "store").stdout == f"{cli.cwd}/.jobq\n"
    cli.cwd = tmp_path
    assert cli("config", "get", "store").stdout == f"{os.path.realpath(cli.env['HOME'])}/queue\n"


def test_a_worker_keeps_so_many_jobs_and_so_much_output(cli: Cli, home: Path) -> None:
    write(home, 'keep_jobs = 3\nkeep_logs = "16k"\n')
    cli("add", "--retries", "0", "false")
    cli("add", "--from", "-", stdin="head -c 9000 /dev/zero\n" * 5)
    cli("add", "true")
    cli("worker", "--drain", "-j", "1", code=1)
    jobs = json.loads(cli("list", "--all", "--json").stdout)["jobs"]
    assert [job["id"] for job in jobs] == [1, 5, 6, 7]  # 1 is a failure that nobody has dealt with
    assert [bool(cli("log", str(job["id"])).stdout) for job in jobs] == [False, False, True, False]
    assert "healthy" in cli("doctor").stdout


def test_no_resource_has_the_variable_of_a_setting(cli: Cli) -> None:
    """A job with it would be told JOBQ_QUEUE=0, and whatever it adds would go to the queue 0."""
    told = cli("resource", "set", "queue", "2", code=2).stderr
    assert "no resource can be named queue: JOBQ_QUEUE is a setting of jobq" in told
    cli("resource", "set", "worker-jobs", "2", code=2)
    cli("resource", "set", "gpu", "2")


def test_what_could_be_planted_is_not_followed(cli: Cli, home: Path) -> None:
    """A checkout may bring links, and FIFOs that hang their reader."""
    path = cli.cwd / ".jobq.toml"
    path.symlink_to("/dev/stdin")
    assert added(cli)["queue"] == "default"
    path.unlink()
    os.mkfifo(path)
    assert added(cli)["queue"] == "default"
    assert "is not read: it is no plain file" in cli("config").stderr
    path.unlink()
    cli("init")
    (cli.cwd / "below").mkdir()
    cli.cwd = cli.cwd / "below"
    (cli.cwd / ".jobq").symlink_to("../.jobq")
    assert cli("config", "get", "store").stdout == f"{cli.cwd.parent}/.jobq\n"


def test_a_file_of_ones_own_that_others_can_write_stops_everything(cli: Cli, home: Path) -> None:
    write(home, 'on_finish = "id"\n')
    home.chmod(0o664)
    told = cli("add", "true", code=2).stderr
    assert f"error: {home} can be written by others\nhint: chmod go-w {home}" in told


def test_many_at_once_lose_nothing(cli: Cli, home: Path) -> None:
    names = {"retries": "4", "queue": "x", "timeout": "1h", "grace": "5s", "keep": "9d", "keep_jobs": "7"}
    processes = [cli.start("config", "set", name, value) for name, value in names.items()]
    folders = [cli.cwd / str(n) for n in range(8)]
    for folder in folders:
        folder.mkdir()
        processes.append(cli.start("init", cwd=folder))
    assert [process.wait(30) for process in processes] == [0] * len(processes)
    assert len(home.read_text().splitlines()) == len(names)
    for folder in folders:
        cli.cwd = folder
        assert cli("config", "get", "store").stdout == f"{folder}/.jobq\n"


def test_a_store_whose_init_was_killed_is_ones_own(cli: Cli, home: Path) -> None:
    """It is new: nothing can be planted in it."""
    cli("init")
    for path in Path(cli.env["XDG_STATE_HOME"]).iterdir():
        path.unlink()
    assert "is not used" in cli("list").stderr
    cli("init")
    assert cli("config", "get", "store").stdout == f"{cli.cwd}/.jobq\n"


def test_the_retention_of_the_settings_holds_from_the_first_moment(store: Store) -> None:
    """A compaction may be due when a worker starts: it must not remove what the settings keep."""
    used: list[float] = []
    upkeep = Upkeep(store, lambda: Retention(seconds=1e9))
    store.append(Add(Spec("/", store.save_environment({})), ["true"]), 1.0)
    store.read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "is_due", lambda _store: True)
        patch.setattr(compaction, "compact", lambda *_args, keep, **_rest: not used.append(keep))  # type: ignore[func-returns-value]
        upkeep.look(clock.now(), idle=False)
        upkeep.finish(lambda: False)
    assert used == [1e9]


def test_values_are_printed_as_they_are_typed(cli: Cli, home: Path) -> None:
    for name, value in {
        "on_failure": 'echo "hi" \\x',
        "labels": "a=b,c=d",
        "timeout": "90s",
        "log_max": "64M",
        "notify": "yes",
    }.items():
        cli("config", "set", name, value)
        assert cli("config", "get", name).stdout == f"{value}\n"


def test_none_takes_back_what_a_weaker_level_says(cli: Cli, home: Path) -> None:
    write(home, 'timeout = "1h"\non_failure = "true"\nlabels = ["a=b"]\n')
    write(cli.cwd / ".jobq.toml", 'timeout = "none"\n')
    cli.env["JOBQ_LABELS"] = "none"
    shown = added(cli, "--on-failure", "none")
    assert (shown["timeout"], shown["labels"], shown["on_failure"]) == (None, {}, None)
    cli("config", "set", "--project", "idle_timeout", "none")
    assert 'idle_timeout = "none"' in (cli.cwd / ".jobq.toml").read_text()
    cli("config", "set", "keep", "forever")
    assert cli("config", "get", "keep").stdout == "forever\n"
    assert "or forever" in cli("config", "set", "keep", "0", code=2).stderr


def test_a_mistake_can_be_taken_out(cli: Cli, home: Path) -> None:
    write(home, 'retires = 3\nkeep = "soon"\n# mine\n')
    cli("list")  # which needs none of it
    cli("add", "true", code=2)
    assert "retires is gone" in cli("config", "unset", "retires").stderr
    cli("config", "unset", "keep")
    assert home.read_text() == "# mine\n"


def test_the_editor_opens_again_with_the_mistake_on_top(cli: Cli, home: Path, tmp_path: Path) -> None:
    write(home, "# kept\nretries = 1\n")
    script = tmp_path / "ed"
    script.write_text(
        f'#!/bin/sh\ncp "$1" {tmp_path}/seen\nif grep -q error: "$1"; then sed -i s/retires/retries/ "$1"; else echo "retires = 2" > "$1"; fi\n'
    )
    script.chmod(0o755)
    cli.env["EDITOR"] = str(script)
    cli.env.pop("VISUAL", None)
    terminal = Terminal(cli, 100, "config", "edit")
    terminal.end()
    assert "saved" in terminal.text()
    assert home.read_text() == "retries = 2\n"
    assert (
        (tmp_path / "seen")
        .read_text()
        .startswith(f"# error: {home}:3: 'retires' is not a setting\n# error: did you mean retries?\nretires = 2\n")
    )


def test_second_words_that_are_near_are_named(cli: Cli) -> None:
    assert "did you mean config get?" in cli("config", "gett", "x", code=2).stderr
    assert "there are: service install, service remove" in cli("service", "zz", code=2).stderr
    assert cli("config", "list").stdout.startswith("queue ")
    cli("schedule", "ls")
    assert "did you mean worker.jobs?" in cli("config", "set", "jobs", "4", code=2).stderr
    told = cli("config", "set", "worker.retries", "4", code=2).stderr
    assert "retries is: write it above the line [worker]" in told


def test_a_planted_link_is_not_written_through(cli: Cli, home: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.toml"
    target.write_text("retries = 1\n")
    (cli.cwd / ".jobq.toml").symlink_to(target)
    for words in (["set", "--project", "queue", "x"], ["unset", "--project", "retries"]):
        assert "is not read: it is no plain file" in cli("config", *words, code=2).stderr
    assert target.read_text() == "retries = 1\n"
