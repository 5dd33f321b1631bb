"""Workers under a service manager: what it is told, how they are installed, and how they end there."""

from __future__ import annotations

import configparser
import json
import os
import plistlib
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from jobq import services
from jobq.job import State
from jobq.services import Service
from tests.conftest import Cli, wait_until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")
WAIT = "trap '' INT; while ! [ -e go ]; do sleep 0.02; done"
FAKE = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in
*is-active*) cat "$CALLS.state" 2>/dev/null || { echo inactive; exit 3; } ;;
*restart*) echo active > "$CALLS.state" ;;
*disable*) rm -f "$CALLS.state" ;;
*broken*) echo "Failed to connect to bus" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def manager(cli: Cli, tmp_path: Path) -> Path:
    """A systemctl that notes its calls in this file, and a loginctl that says no."""
    calls, folder = tmp_path / "calls", tmp_path / "programs"
    folder.mkdir()
    for name, script in (("systemctl", FAKE), ("loginctl", "#!/bin/sh\necho no\n")):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    cli.env |= {"PATH": f"{folder}:{cli.env['PATH']}", "CALLS": str(calls)}
    (tmp_path / "home").mkdir()
    return calls


def unit(cli: Cli, name: str = "jobq") -> Path:
    return Path(cli.env["XDG_CONFIG_HOME"]) / "systemd" / "user" / f"{name}.service"


@LINUX
def test_a_service_is_installed_shown_and_removed(cli: Cli, manager: Path) -> None:
    assert "nothing changed: jobq is no service" in cli("service", "remove").stderr
    assert cli("service", code=1).stdout == "jobq: not installed\n"
    told = cli("service", "install", "-j", "3", "-q", "gpu").stderr
    assert f"the service jobq runs a worker: {unit(cli)}" in told
    assert "'loginctl enable-linger' lets it run from boot on" in told
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(unit(cli))
    words = f'"{sys.executable}" "-P" "-m" "jobq" "--store" "{cli.store}" "worker" "--jobs" "3" "--queue" "gpu"'
    assert parsed["Service"]["ExecStart"] == words
    assert (parsed["Service"]["Type"], parsed["Service"]["KillMode"]) == ("notify", "process")
    assert parsed["Service"]["Environment"].startswith('"XDG_')
    assert cli("service").stdout == "jobq: active\n"
    cli("service", "install", "--name", "second")
    assert unit(cli, "second").exists()
    assert "is removed" in cli("service", "remove").stderr
    assert not unit(cli).exists()
    calls = manager.read_text()
    assert (
        calls.index("--user daemon-reload")
        < calls.index("--user enable jobq.service")
        < calls.index("--user restart jobq.service")
    )
    assert calls.index("disable --now jobq.service") < calls.rindex("daemon-reload")


@LINUX
def test_what_can_not_be_installed_is_said(cli: Cli, manager: Path) -> None:
    assert "can't be the name of a service" in cli("service", "install", "--name", "a/b", code=2).stderr
    told = cli("service", "install", "--name", "broken", code=1).stderr
    assert "Failed to connect to bus" in told
    assert not unit(cli, "broken").exists()
    assert "hint: log in as this user" in told
    cli.env["PATH"] = "/nonexistent"
    told = cli("service", "install", code=1).stderr
    assert "error: there is no systemctl here" in told
    assert "worker --detach" in told


@LINUX
def test_the_words_of_a_unit_mean_themselves(cli: Cli, tmp_path: Path) -> None:
    cli.store = tmp_path / 'a %h $HOME "b" \\c'
    cli.env["JOBQ_STORE"] = str(cli.store)
    printed = cli("service", "install", "--print").stdout
    assert f'"{tmp_path}/a %%h $$HOME \\"b\\" \\\\c" "worker"' in printed
    assert not unit(cli).exists()


@LINUX
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_unit(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "jobq.service"
    path.write_text(cli("service", "install", "--print").stdout)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", path],
        env=cli.env | {"XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_launchd_gets_an_agent(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "LINUX", False)
    agent = plistlib.loads(Service("jobq", "/store & more", ["--jobs", "2"]).text().encode())
    assert agent["ProgramArguments"][1:] == ["-P", "-m", "jobq", "--store", "/store & more", "worker", "--jobs", "2"]
    assert agent["AbandonProcessGroup"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}


@pytest.mark.parametrize("abstract", [False, True])
@LINUX
def test_the_manager_is_told_when_it_is_ready_and_when_it_stops(cli: Cli, tmp_path: Path, abstract: bool) -> None:
    address = f"jobq-{os.getpid()}-{tmp_path.name}" if abstract else str(tmp_path / "s")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(f"\0{address}" if abstract else os.path.relpath(address))
    manager.settimeout(30)
    cli.env["NOTIFY_SOCKET"] = f"@{address}" if abstract else address
    worker = cli.start("worker")
    assert manager.recv(100) == b"READY=1"
    worker.send_signal(signal.SIGTERM)
    assert manager.recv(100) == b"STOPPING=1"
    assert worker.wait(30) == 0
    manager.close()


def test_the_journal_adds_the_time_itself(cli: Cli) -> None:
    cli.id("true")
    read, write = os.pipe()
    status = os.fstat(write)
    cli.env["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    worker = cli.start("worker", "--drain", stdout=write)
    os.close(write)
    assert worker.wait(30) == 0
    with open(read, encoding="utf-8") as lines:
        assert lines.readline() == "job 1 started  true\n"
    cli.id("true")
    assert (
        "job 2 started" not in cli("worker", "--drain").stdout.splitlines()[0].split("  ")[0]
    )  # another file: the time


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_pid_1_of_a_container_hands_back_whatever_asks_it_to_stop(cli: Cli, number: signal.Signals) -> None:
    """With it, the system ends all processes of the container: nothing can be left running there."""
    job_id = cli.id(WAIT)
    script = f"exec {sys.executable} -m jobq worker --stop-after 200ms"
    command = ["unshare", "-pf", "--mount-proc", "--kill-child", "sh", "-c", script]
    process = subprocess.Popen(command, env=cli.env, cwd=cli.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: cli.queue.job(job_id).state is State.RUNNING)
        (first,) = children(process.pid)
        os.kill(first, number)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    job = cli.queue.job(job_id)
    assert (job.state, job.retries_used) == (State.QUEUED, 0)
    assert "healthy" in cli("doctor").stdout


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has ended meanwhile


def test_a_group_kill_as_of_a_service_manager_hands_back(cli: Cli) -> None:
    """TERM to all processes at once: KillMode=control-group, or a container that is stopped."""
    job_id = cli.id("while ! [ -e go ]; do sleep 0.02; done")
    worker = cli.worker("--stop-after", "200ms")
    wait_until(lambda: cli.queue.job(job_id).state is State.RUNNING)
    everything = {worker.pid}
    for _ in range(4):  # worker, supervisor, shell, sleep
        everything |= {child for pid in everything for child in children(pid)}
    for pid in everything:
        with suppress(ProcessLookupError):  # the loop of the job starts one process after the other
            os.kill(pid, signal.SIGTERM)
    assert worker.wait(30) == 0
    job = wait_until(lambda: job if (job := cli.queue.job(job_id)).state is not State.RUNNING else None)
    assert (job.state, job.retries_used) == (State.QUEUED, 0)
    assert json.loads(cli("worker", "list", "--json").stdout)["workers"] == []


@LINUX
def test_a_unit_of_somebody_else_is_left_alone(cli: Cli, manager: Path) -> None:
    unit(cli, "syncthing").parent.mkdir(parents=True)
    unit(cli, "syncthing").write_text("[Unit]\n")
    for verb in ("install", "remove"):
        assert "is not of jobq" in cli("service", verb, "--name", "syncthing", code=1).stderr
    assert unit(cli, "syncthing").read_text() == "[Unit]\n"
