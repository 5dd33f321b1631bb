"""Ownership: jobq kills, adopts or records a process only if it belongs to this store, boot and attempt."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.engine.local.evidence import MISSING, determine_ending
from jobq.engine.task import Key, Trace
from jobq.job import Attempt, Outcome, State
from jobq.supervisor.mark import mark_of
from jobq.supervisor.tree import read_stat
from tests.conftest import Cli, wait_until
from tests.helpers.processes import Peer, is_alive, kill_both, marked, pids_in, supervisors

PATIENT = "echo $$ >> pid; while ! [ -e go ]; do sleep 0.05; done; echo done >> ran"


def copy_of(cli: Cli, name: str = "copy") -> Cli:
    """Copy the store as `cp -a` does; return the command line on the copy."""
    subprocess.run(["cp", "-a", str(cli.store), str(cli.cwd / name)], check=True)
    return Cli(cli.cwd / name, cli.cwd)


@pytest.mark.parametrize("verb", ["worker", "wait", "cancel", "requeue", "log"])
def test_the_jobs_of_a_store_survive_every_command_on_a_copy(cli: Cli, tmp_path: Path, verb: str) -> None:
    job_id = cli.id("-r", "1", PATIENT)
    cli.worker("-j", "1")
    (pid,) = pids_in(tmp_path / "pid", 1)
    copy = copy_of(cli)
    if verb == "worker":
        worker = copy.worker("-j", "1")
        time_to_look = copy.id("true")
        copy("wait", str(time_to_look))
        worker.send_signal(signal.SIGINT)
        worker.send_signal(signal.SIGTERM)
        worker.wait(20)
    elif verb == "wait":
        copy("wait", "--timeout", "1.5s", str(job_id), code=124)
    elif verb == "cancel":
        copy("cancel", "--wait", str(job_id))
        assert copy.queue.job(job_id).state is State.CANCELLED
    elif verb == "requeue":
        copy("requeue", str(job_id), code=None)
    else:
        follower = copy.start("log", "-f", str(job_id))
        copy("wait", "--timeout", "1.5s", str(job_id), code=124)
        follower.kill()
    assert is_alive(pid)
    (tmp_path / "go").touch()
    assert cli.queue.wait(job_id, timeout=20).state is State.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "done\n"
    copy.stop()


def restore(store: Path, backup: Path, how: str) -> None:
    """Replace the store by the backup, as different tools do it."""
    if how == "another directory":
        shutil.rmtree(store)
    elif how == "other files":
        for entry in store.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    subprocess.run(["cp", "-a", f"{backup}/.", str(store)], check=True)


@pytest.mark.parametrize("how", ["another directory", "other files", "the same files"])
@pytest.mark.parametrize("when", ["held", "queued", "running"])
def test_a_backup_restored_under_a_worker_starts_nothing_twice(cli: Cli, tmp_path: Path, how: str, when: str) -> None:
    job_id = cli.id("-r", "0", PATIENT)
    if when == "held":
        cli("hold", str(job_id))
    if when != "running":
        copy_of(cli, "backup")
    if when == "held":
        cli("release", str(job_id))
    worker = cli.worker("-j", "2")
    (pid,) = pids_in(tmp_path / "pid", 1)
    if when == "running":
        copy_of(cli, "backup")
    restore(cli.store, tmp_path / "backup", how)
    cli.worker("-j", "2")
    other = cli.id("true")
    cli("wait", str(other))
    assert is_alive(pid)
    assert worker.poll() is None
    (tmp_path / "go").touch()
    job = cli.queue.wait(job_id, timeout=20)
    assert job.state is State.SUCCEEDED
    assert len((tmp_path / "pid").read_text().split()) == 1


def test_a_new_store_at_the_same_path_kills_no_process_of_the_old_one(cli: Cli, tmp_path: Path) -> None:
    cli.id("-r", "0", "echo $$ > main; setsid sh -c 'echo $$ > pid; exec sleep 300' & while :; do sleep 60; done")
    worker = cli.worker("-j", "1")
    (old,), (main,) = pids_in(tmp_path / "pid", 1), pids_in(tmp_path / "main", 1)
    kill_both(cli.store, worker)
    shutil.rmtree(cli.store)
    try:
        new = cli.id("-r", "0", "echo $$ > new; sleep 300")
        worker = cli.worker("-j", "1")
        pids_in(tmp_path / "new", 1)
        kill_both(cli.store, worker)
        assert cli.queue.wait(new, timeout=20).state is State.FAILED
        assert is_alive(old)
    finally:
        os.kill(old, signal.SIGKILL)
        os.killpg(main, signal.SIGKILL)


HIDES = """
import ctypes, os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: only root may read its environment now
with open("hidden.new", "w") as f: f.write(f"{os.getpid()} ")
os.rename("hidden.new", "hidden")
time.sleep(300)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_process_that_hides_is_found_after_its_worker_and_supervisor_died(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "hides.py").write_text(HIDES)
    job_id = cli.id("-r", "0", f"env -i {sys.executable} hides.py; echo $$ > pid; sleep 300")
    worker = cli.worker("-j", "1")
    (hidden,) = pids_in(tmp_path / "hidden", 1)
    pids_in(tmp_path / "pid", 1)
    kill_both(cli.store, worker)
    assert is_alive(hidden)
    job = cli.queue.wait(job_id, timeout=20)
    assert job.ending is not None
    assert job.ending.outcome is Outcome.LOST
    assert not is_alive(hidden)


def test_a_moved_store_still_finds_the_processes_of_its_dead_worker(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.id("-r", "0", "setsid sh -c 'echo $$ > pid; exec sleep 300' & sleep 300")
    worker = cli.worker("-j", "1")
    (left,) = pids_in(tmp_path / "pid", 1)
    kill_both(cli.store, worker)
    cli.store.rename(tmp_path / "elsewhere")
    moved = Cli(tmp_path / "elsewhere", tmp_path)
    assert moved.queue.wait(job_id, timeout=20).state is State.FAILED
    assert not is_alive(left)


def test_a_mark_belongs_to_one_claim_in_one_store() -> None:
    marks = {
        mark_of(store, supervisor, job_id, n, claimed_at)
        for store in ((1, 2), (1, 3))
        for supervisor in ("w/0", "w/1")
        for job_id in (1, 2)
        for n in (1, 2)
        for claimed_at in (1.0, 1.5)
    }
    assert len(marks) == 32
    assert all(mark < 1 << 62 for mark in marks)


def test_a_cleaner_of_old_files_does_not_make_a_live_job_run_twice(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.id("-r", "3", PATIENT)
    worker = cli.worker("-j", "1")
    (pid,) = pids_in(tmp_path / "pid", 1)
    (folder,) = (cli.store / "workers").iterdir()
    shutil.rmtree(folder)
    other = cli.worker("-j", "1")
    following = cli.id("true")
    cli("wait", str(following))
    wait_until(lambda: (folder / "0.lock").exists() and (folder / "0.ctl").exists() and (folder / "lock").exists())
    assert is_alive(pid)
    (tmp_path / "go").touch()
    assert cli.queue.wait(job_id, timeout=20).state is State.SUCCEEDED
    assert len((tmp_path / "pid").read_text().split()) == 1
    assert worker.poll() is None
    assert other.poll() is None


def test_a_cancel_works_after_a_cleaner_removed_the_fifo_of_the_supervisor(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.id("-r", "0", "--grace", "0.1", PATIENT)
    cli.worker("-j", "1")
    pids_in(tmp_path / "pid", 1)
    (ctl,) = (cli.store / "workers").glob("*/0.ctl")
    ctl.unlink()
    cli("cancel", "--wait", str(job_id))
    assert cli.queue.job(job_id).state is State.CANCELLED


def test_a_stopped_supervisor_is_continued_and_keeps_the_time_limit(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.id("-r", "0", "--timeout", "1s", "--grace", "0.1", "kill -STOP $PPID; echo $$ > pid; sleep 300")
    big = cli.id("-r", "0", f": {'x' * 100_000}")
    cli.worker("-j", "1")
    ending = cli.queue.wait(job_id, timeout=20).ending
    assert ending is not None
    assert ending.outcome is Outcome.TIMEOUT
    (supervisor,) = supervisors(cli.store)
    os.kill(supervisor, signal.SIGSTOP)
    assert cli.queue.wait(big, timeout=20).state is State.SUCCEEDED
    assert marked(cli.store) == []


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.skipif(os.geteuid() != 0 or not (FREEZER / "tasks").exists(), reason="needs root and the freezer cgroup")
def test_a_process_that_does_not_die_is_reported_and_blocks_no_other_job(cli: Cli, tmp_path: Path) -> None:
    group = FREEZER / f"jobq-test-{os.getpid()}"
    group.mkdir()
    try:
        job_id = cli.id("-r", "0", "--grace", "0.1", "echo $$ > pid; exec sleep 300")
        worker = cli.worker("-j", "1")
        (pid,) = pids_in(tmp_path / "pid", 1)
        (group / "tasks").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        wait_until(lambda: (group / "freezer.state").read_text() == "FROZEN\n")
        cli("cancel", str(job_id))
        assert cli.queue.wait(cli.id("true"), timeout=20).state is State.SUCCEEDED
        assert cli.queue.job(job_id).state is State.RUNNING
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=20)
        assert f"job {job_id} can't be ended: process {pid} does not die" in said
        (group / "freezer.state").write_text("THAWED")
        assert cli.queue.wait(job_id, timeout=20).state is State.CANCELLED
    finally:
        (group / "freezer.state").write_text("THAWED")
        wait_until(lambda: not (group / "tasks").read_text())
        group.rmdir()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_a_worker_that_is_pid_1_reaps_dead_strangers_and_spares_live_ones(cli: Cli, tmp_path: Path) -> None:
    """In a container, orphans of other programs become the worker's children: it reaps dead ones, spares live ones."""
    script = (
        "(sh -c 'sleep 300 & echo $! > stranger' &); (sh -c 'true & exec true' &)"
        f"; exec {sys.executable} -m jobq worker -j 1"
    )
    command = ["unshare", "-pf", "--mount-proc", "--kill-child", "sh", "-c", script]
    outside = subprocess.Popen(command, env=cli.env, cwd=cli.cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        job_id = cli.id("-r", "0", "kill -9 $PPID; sleep 300")
        job = wait_until(lambda: (job := cli.queue.job(job_id)).state.final and job)
        assert job.ending is not None
        assert job.ending.outcome is Outcome.LOST
        (inner,) = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
        children = Path(f"/proc/{inner}/task/{inner}/children")

        def names() -> dict[str, bool]:
            """Return the worker's children by name; True means dead."""
            found = {}
            for pid in children.read_text().split():
                stat = read_stat(int(pid))
                if stat is not None:
                    found[Path(f"/proc/{pid}/comm").read_text().strip()] = stat[2]
            return found

        wait_until(lambda: True not in names().values())
        assert "sleep" in names()
    finally:
        outside.kill()
        outside.wait()


def test_a_supervisor_without_its_files_is_recognised_by_its_process(tmp_path: Path) -> None:
    """Until the supervisor has made its files anew, none of its jobs counts as ended: it may be about to start one."""
    folder = tmp_path / "w0123456789ab"
    folder.mkdir()
    trace = Trace(Key(1, 1), Attempt(1, folder.name, f"{folder.name}/0", 1.0), 1 << 60, str(tmp_path / "log"))
    peer = Peer(folder, tmp_path)
    (folder / "0.lock").unlink()
    assert determine_ending(peer.supervision, trace, peer.supervision.lock_if_dead() or MISSING) is None
    peer.process.kill()
    peer.process.communicate()
    ending = determine_ending(peer.supervision, trace, MISSING)
    assert ending is not None
    assert ending.outcome is Outcome.LOST


def test_a_copy_starts_no_job_again_that_ended_in_the_original(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.id(PATIENT)
    worker = cli.worker("--drain", "-j", "1")
    pids_in(tmp_path / "pid", 1)
    copy = copy_of(cli, "copy")
    (tmp_path / "go").touch()
    assert worker.wait(timeout=20) == 0
    assert cli.queue.job(job_id).state is State.SUCCEEDED
    in_copy = copy.worker("-j", "1")
    other = copy.id("true")
    copy("wait", str(other))
    assert copy.queue.job(job_id).state is State.RUNNING
    assert "belongs to the original of this copy" in copy("list").stdout
    assert len((tmp_path / "pid").read_text().split()) == 1
    copy("cancel", str(job_id))
    assert copy.queue.wait(job_id, timeout=20).state is State.CANCELLED
    copy.stop()
    assert in_copy.poll() is not None


@pytest.mark.parametrize("when", ["queued", "running"])
def test_a_worker_records_an_end_again_after_a_backup_was_restored(cli: Cli, tmp_path: Path, when: str) -> None:
    cli.id("true")
    if when == "running":
        job_id = cli.id(PATIENT)
    worker = cli.worker("-j", "1")
    cli("wait", "1")
    if when == "queued":
        cli.id("while ! [ -e open ]; do sleep 0.05; done")
        job_id = cli.id(PATIENT)
        copy_of(cli, "backup")
        (tmp_path / "open").touch()
    pids_in(tmp_path / "pid", 1)
    if when == "running":
        copy_of(cli, "backup")
    (tmp_path / "go").touch()
    assert cli.queue.wait(job_id, timeout=20).state is State.SUCCEEDED
    restore(cli.store, tmp_path / "backup", "another directory")
    wait_until(lambda: cli.queue.job(job_id).state is State.SUCCEEDED)
    assert len((tmp_path / "pid").read_text().split()) == 1
    worker.terminate()


def suspend_without_lock(worker: subprocess.Popen[str], lock: Path) -> bool:
    """Stop the worker, unless it is writing to the store; return True if it is stopped."""
    worker.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, worker.pid, os.WSTOPPED)
    with lock.open() as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            worker.send_signal(signal.SIGCONT)
            return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_suspended_worker_is_reported_and_serves_again_when_it_is_continued(cli: Cli) -> None:
    worker = cli.worker("-j", "1")
    wait_until(lambda: suspend_without_lock(worker, cli.store / "store.lock"))
    try:
        told = cli("add", "true").stderr
        assert f"the only worker is suspended, as by ^Z; 'fg' or 'kill -CONT {worker.pid}' continues it" in told
        assert "1 worker alive (1 suspended)" in cli().stdout
        assert "ready" not in cli("list").stdout
    finally:
        worker.send_signal(signal.SIGCONT)
    assert cli.queue.wait(1, timeout=20).state is State.SUCCEEDED
