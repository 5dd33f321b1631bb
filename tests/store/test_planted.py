"""FIFOs and folders in place of the store's files, and backups by hard links: nothing blocks, no job is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobq.job import State
from jobq.store import check
from jobq.store.store import Store
from tests.conftest import Cli, wait_until
from tests.helpers.processes import pids_in, supervisors


def put(path: Path, plant: str) -> None:
    """Replace `path` by a FIFO, which blocks a process that opens it, or by a folder."""
    path.unlink(missing_ok=True)
    if plant == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir(mode=0o700)


def take_away(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()


PLANTS = pytest.mark.parametrize("plant", ["fifo", "directory"])


def killed_worker(cli: Cli, *, with_its_supervisor: bool) -> Path:
    """Kill a worker while its job runs; return the worker's folder."""
    cli("add", "--retries", "0", f"echo $$ > {cli.cwd}/pid; exec sleep 1000")
    worker = cli.worker()
    pids_in(cli.cwd / "pid", 1)
    folder = next((cli.store / "workers").glob("w*"))
    supervisor, *_ = supervisors(cli.store)
    worker.kill()
    worker.wait()
    if with_its_supervisor:
        os.kill(supervisor, signal.SIGKILL)
        os.kill(pids_in(cli.cwd / "pid", 1)[0], signal.SIGKILL)
    return folder


@PLANTS
def test_a_dead_worker_whose_lock_can_not_be_read_delays_no_other_job(cli: Cli, plant: str) -> None:
    """No process can tell whether that worker lives: its job stays as it is, and doctor reports the lock."""
    folder = killed_worker(cli, with_its_supervisor=True)
    put(folder / "lock", plant)
    second = cli.id("true")
    worker = cli.worker()
    wait_until(lambda: cli.queue.job(second).state is State.SUCCEEDED)
    assert "running" in cli("list", "1").stdout
    told = cli("doctor", code=65).stdout
    assert f"PROBLEM     {folder}/lock is a {'FIFO' if plant == 'fifo' else 'folder'} in the place of a file" in told
    worker.terminate()
    assert worker.wait(20) == 0
    take_away(folder / "lock")
    cli("worker", "--drain", code=1)  # without the planted lock, the job is recovered, as lost
    assert cli.queue.job(1).state is State.FAILED


@PLANTS
def test_a_supervisors_lock_that_can_not_be_read_blocks_no_worker(cli: Cli, plant: str) -> None:
    """Such a lock counts as missing: other evidence shows that no such process runs."""
    folder = killed_worker(cli, with_its_supervisor=True)
    put(folder / "0.lock", plant)
    cli.id("true")
    cli("worker", "--drain", code=1)
    assert str(cli.queue.job(1).ending) == "lost: its supervisor died"
    assert cli.queue.job(2).state is State.SUCCEEDED


@PLANTS
def test_a_job_is_lost_if_the_record_of_its_dead_supervisor_is_not_a_file(cli: Cli, plant: str) -> None:
    folder = killed_worker(cli, with_its_supervisor=True)
    put(folder / "0.ends", plant)
    cli("worker", "--drain", code=1)
    ending = cli.queue.job(1).ending
    assert ending is not None
    assert str(ending) == "lost: its supervisor died"


@PLANTS
def test_a_worker_ends_the_job_of_a_dead_supervisor_despite_a_planted_lock(cli: Cli, plant: str) -> None:
    cli("add", "--retries", "0", f"echo $$ > {cli.cwd}/pid; exec sleep 1000")
    second = cli.id("true")
    worker = cli.worker("-j", "1")
    pids_in(cli.cwd / "pid", 1)
    lock = next((cli.store / "workers").glob("w*/*.lock"))
    supervisor, *_ = supervisors(cli.store)
    put(lock, plant)
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: cli.queue.job(second).state is State.SUCCEEDED)
    assert str(cli.queue.job(1).ending) == "lost: its supervisor died"
    take_away(lock)
    worker.terminate()
    assert worker.wait(20) == 0


@PLANTS
def test_a_log_that_is_not_a_plain_file_blocks_no_reader(cli: Cli, plant: str) -> None:
    cli("run", "echo said")
    log = cli.store / "runs" / "0" / "1.1.log"
    put(log, plant)
    done = cli("log", "1", code=77)
    assert str(log) in done.stderr
    followed = cli("log", "-f", "1")
    assert str(log) in followed.stderr
    take_away(log)
    log.touch(0o600)


def test_a_job_that_replaces_its_log_by_a_fifo_blocks_no_reader(cli: Cli) -> None:
    lines = 'log=$(readlink /proc/$$/fd/1); rm "$log"; mkfifo "$log"; exit 3\n'
    done = cli("run", "--from", "-", stdin=lines, code=1)
    assert "0 of 1 succeeded" in done.stderr
    assert "1.1.log is not a regular file" in done.stderr
    (cli.store / "runs" / "0" / "1.1.log").unlink()


@PLANTS
@pytest.mark.parametrize("name", ["0.ctl", "0.err"])
def test_a_fifo_or_folder_in_place_of_a_supervisors_file_blocks_no_worker(cli: Cli, plant: str, name: str) -> None:
    job = cli.id(f"echo $$ > {cli.cwd}/pid; exec sleep 1000")
    worker = cli.worker("-j", "1")
    pids_in(cli.cwd / "pid", 1)
    path = next((cli.store / "workers").glob("w*")) / name
    put(path, plant)
    cli("cancel", str(job))
    worker.terminate()
    worker.send_signal(signal.SIGINT)
    assert worker.wait(30) == 0
    assert cli.queue.job(job).running is None


@pytest.mark.parametrize("name", ["journal.jsonl", "journal.hint", "store.lock", "env", "runs"])
def test_a_backup_by_hard_links_does_not_stop_jobq(cli: Cli, name: str) -> None:
    cli("run", "echo one")
    cli("add", "echo two")
    path = cli.store / name
    for file in path.rglob("*.*") if path.is_dir() else [path]:
        (cli.cwd / f"backup-{file.name}").hardlink_to(file)
    assert cli("log", "1").stdout == "one\n"
    cli("worker", "--drain")
    assert cli("log", "2").stdout == "two\n"


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_hard_link_in_a_folder_that_others_can_write_to_is_refused(cli: Cli, mode: int) -> None:
    cli("run", "echo one")
    log = cli.store / "runs" / "0" / "1.1.log"
    (cli.cwd / "elsewhere").hardlink_to(log)
    log.parent.chmod(mode)
    assert "move it away" in cli("log", "1", code=77).stderr
    log.parent.chmod(0o700)
    assert cli("log", "1").stdout == "one\n"


def test_a_hard_link_to_a_file_that_others_can_read_is_refused(cli: Cli) -> None:
    """jobq never makes a file that others may read, so another user may have planted this one."""
    cli("run", "echo one")
    log = cli.store / "runs" / "0" / "1.1.log"
    victim = cli.cwd / "victim"
    victim.write_text("mine\n")
    victim.chmod(0o644)
    shutil.move(log, cli.cwd / "kept")
    log.hardlink_to(victim)
    assert "move it away" in cli("log", "1", code=77).stderr
    shutil.move(cli.cwd / "kept", log)


def test_commands_are_read_from_a_pipe_and_waiting_for_it_ends_by_a_signal(cli: Cli) -> None:
    fifo = cli.cwd / "fifo"
    os.mkfifo(fifo)
    for words, number in ((["run"], signal.SIGTERM), (["add"], signal.SIGINT)):
        process = cli.start(*words, "--from", str(fifo))
        writer = wait_until(lambda: opened_for_writing(fifo))
        # Repeatedly, as a user would: Python handles a signal that comes just before read(2) only after it.
        while process.poll() is None:
            process.send_signal(number)
            time.sleep(0.005)
        assert process.returncode in {-number, 130}
        os.close(writer)
    process = subprocess.Popen(
        ["bash", "-c", f"{sys.executable} -m jobq run --from <(echo true; echo true)"],
        env=cli.env, cwd=cli.cwd, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "2 of 2 succeeded" in process.communicate(timeout=60)[1]


def opened_for_writing(fifo: Path) -> int | None:
    """Return a descriptor, or None before a process has opened the FIFO to read."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def test_doctor_finds_symbolic_links_in_place_of_files(cli: Cli) -> None:
    cli("run", "echo one")
    places = ["env/" + next((cli.store / "env").iterdir()).name, "runs/0/1.1.log", "store.lock"]
    for place in places:
        path, kept = cli.store / place, cli.cwd / "kept"
        shutil.move(path, kept)
        path.symlink_to(kept)
        store = Store(str(cli.store))
        root = store.existing()
        assert root is not None
        assert any(f"{path} is a symbolic link in the place of a file" in p for p in check._files(root))
        store.close()
        path.unlink()
        shutil.move(kept, path)
