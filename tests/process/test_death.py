"""kill -9 of workers and supervisors: no job is lost, no job runs twice, and no process is left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobq import clock
from jobq.engine.local import evidence
from jobq.job import Outcome, State
from jobq.store.folder import Folder
from jobq.store.registration import Registration
from jobq.supervisor.tree import read_stat
from jobq.worker import rescue
from tests.conftest import Cli, wait_until
from tests.helpers.jobs import PATIENT
from tests.helpers.processes import is_alive, marked, pids_in, supervisors
from tests.helpers.workers import tokens


def start_patient(cli: Cli, count: int, *asked: str) -> list[int]:
    return [cli.id(*asked, PATIENT.format(n)) for n in range(count)]


def wait_begun(tmp_path: Path, count: int) -> None:
    wait_until(lambda: all((tmp_path / f"began.{n}").exists() for n in range(count)))


def runs(tmp_path: Path, count: int) -> list[tuple[int, int]]:
    def lines(path: Path) -> int:
        return len(path.read_text().splitlines()) if path.exists() else 0

    return [(lines(tmp_path / f"began.{n}"), lines(tmp_path / f"ended.{n}")) for n in range(count)]


def kill(process: object) -> None:
    process.kill()  # type: ignore[attr-defined]
    process.wait()  # type: ignore[attr-defined]


def test_the_next_worker_adopts_the_running_jobs(cli: Cli, tmp_path: Path) -> None:
    ids = start_patient(cli, 3)
    ids.append(
        cli.id(
            "setsid sh -c 'echo $$ >> began.3; sleep 300' & while ! [ -e go ]; do sleep 0.02; done; echo x >> ended.3"
        )
    )
    first = cli.worker("-j", "4")
    wait_begun(tmp_path, 4)
    dead = tokens(cli.queue)
    kill(first)
    assert "no worker" in cli("list").stdout
    second = cli.worker("-j", "4")
    assert len(wait_until(lambda: new_owners(cli, ids, dead))) == 1
    (tmp_path / "go").touch()
    jobs = cli.queue.wait_all(ids, timeout=20)
    assert [job.state for job in jobs] == [State.SUCCEEDED] * 4
    assert runs(tmp_path, 4) == [(1, 1)] * 4
    assert all(len(job.attempts) == 1 for job in jobs)
    wait_until(lambda: not marked(cli.store))
    wait_until(lambda: len(list((cli.store / "workers").iterdir())) == 1)
    assert second.poll() is None


def new_owners(cli: Cli, ids: list[int], dead: list[str]) -> set[str]:
    """Return the owners of these jobs, once all of them are live workers and none is in `dead`.

    A dead worker may look alive: the process that rescues its jobs holds its lock meanwhile.
    """
    queue = cli.queue
    alive = set(tokens(queue)) - set(dead)
    owners = {queue.job(job_id).attempts[-1].owner for job_id in ids}
    return owners if owners <= alive else set()


def test_the_next_worker_records_the_ends_that_no_worker_saw(cli: Cli, tmp_path: Path) -> None:
    ids = start_patient(cli, 2, "--retries", "0")
    ids.append(cli.id("--retries", "0", "echo $$ >> began.2; while ! [ -e go ]; do sleep 0.02; done; exit 7"))
    first = cli.worker("-j", "3")
    wait_begun(tmp_path, 3)
    kill(first)
    (tmp_path / "go").touch()
    wait_until(lambda: not supervisors(cli.store))
    assert [cli.queue.job(job_id).state for job_id in ids] == [State.RUNNING] * 3
    cli("worker", "--drain", code=1)
    jobs = [cli.queue.job(job_id) for job_id in ids]
    assert [job.state for job in jobs] == [State.SUCCEEDED, State.SUCCEEDED, State.FAILED]
    assert jobs[2].exit_code == 7
    assert runs(tmp_path, 2) == [(1, 1)] * 2
    assert list((cli.store / "workers").iterdir()) == []


def test_wait_records_the_end_when_no_worker_is_left(cli: Cli, tmp_path: Path) -> None:
    (job_id,) = start_patient(cli, 1)
    first = cli.worker("-j", "1")
    wait_begun(tmp_path, 1)
    kill(first)
    (tmp_path / "go").touch()
    cli("wait", str(job_id))
    assert cli.queue.job(job_id).state is State.SUCCEEDED


@pytest.mark.parametrize("adopted", [True, False])
def test_cancel_after_the_death_of_the_worker_leaves_no_process(cli: Cli, tmp_path: Path, *, adopted: bool) -> None:
    job_id = cli.id("--grace", "0.3", "echo $$ >> pids; setsid sh -c 'echo $$ >> pids; sleep 300' & wait; sleep 300")
    first = cli.worker("-j", "1")
    pids = pids_in(tmp_path / "pids", 2)
    dead = tokens(cli.queue)
    kill(first)
    if adopted:
        cli.worker("-j", "1")
        wait_until(lambda: new_owners(cli, [job_id], dead))
    cli("cancel", "--wait", str(job_id))
    assert [pid for pid in pids if is_alive(pid)] == []
    job = cli.queue.job(job_id)
    assert (job.state, len(job.attempts)) == (State.CANCELLED, 1)


@pytest.mark.parametrize("retries", [0, 1])
def test_a_killed_supervisor_leaves_a_lost_attempt_and_no_process(cli: Cli, tmp_path: Path, retries: int) -> None:
    job_id = cli.id(
        "--retries",
        str(retries),
        "if [ -e pids ]; then exit 0; fi; echo $$ >> pids; setsid sh -c 'echo $$ >> pids; sleep 300' & wait; sleep 300",
    )
    cli.worker("-j", "1")
    pids = pids_in(tmp_path / "pids", 2)
    (supervisor,) = supervisors(cli.store)
    os.kill(supervisor, signal.SIGKILL)
    job = cli.queue.wait(job_id, timeout=20)
    assert [pid for pid in pids if is_alive(pid)] == []
    first = job.attempts[0].ending
    assert first is not None
    assert first.outcome is Outcome.LOST
    assert job.state is (State.SUCCEEDED if retries else State.FAILED)
    assert len(job.attempts) == 1 + retries


def test_a_job_is_lost_if_its_worker_and_supervisor_are_killed_together(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.id("--retries", "0", "echo $$ >> pids; setsid sh -c 'echo $$ >> pids; sleep 300' & wait; sleep 300")
    first = cli.worker("-j", "1")
    pids = pids_in(tmp_path / "pids", 2)
    (supervisor,) = supervisors(cli.store)
    os.kill(supervisor, signal.SIGKILL)
    kill(first)
    cli("worker", "--drain", code=None)
    job = cli.queue.job(job_id)
    assert job.ending is not None
    assert (job.state, job.ending.outcome) == (State.FAILED, Outcome.LOST)
    assert [pid for pid in pids if is_alive(pid)] == []


def test_two_workers_dead_at_once_are_both_rescued(cli: Cli, tmp_path: Path) -> None:
    ids = start_patient(cli, 2)
    workers = [cli.worker("-j", "1"), cli.worker("-j", "1")]
    wait_begun(tmp_path, 2)
    dead = tokens(cli.queue)
    for worker in workers:
        kill(worker)
    cli.worker("-j", "2")
    wait_until(lambda: new_owners(cli, ids, dead))
    (tmp_path / "go").touch()
    assert [job.state for job in cli.queue.wait_all(ids, timeout=20)] == [State.SUCCEEDED] * 2
    assert runs(tmp_path, 2) == [(1, 1)] * 2


def test_a_stopped_worker_is_not_taken_for_dead(cli: Cli, tmp_path: Path) -> None:
    (job_id,) = start_patient(cli, 1)
    first = cli.worker("-j", "1")
    wait_begun(tmp_path, 1)
    first.send_signal(signal.SIGSTOP)
    cli.worker("-j", "1")
    other = cli.id("true")
    cli.queue.wait(other, timeout=20)
    assert cli.queue.job(job_id).state is State.RUNNING
    (tmp_path / "go").touch()
    first.send_signal(signal.SIGCONT)
    assert cli.queue.wait(job_id, timeout=20).state is State.SUCCEEDED
    assert runs(tmp_path, 1) == [(1, 1)]


def test_one_stop_lets_running_jobs_finish_and_takes_no_new_ones(cli: Cli, tmp_path: Path) -> None:
    (running,) = start_patient(cli, 1)
    worker = cli.worker("-j", "1")
    wait_begun(tmp_path, 1)
    waiting = cli.id("true")
    worker.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    worker.wait(timeout=20)
    assert worker.returncode == 0
    assert cli.queue.job(running).state is State.SUCCEEDED
    assert cli.queue.job(waiting).state is State.QUEUED


def test_a_second_stop_hands_running_jobs_back_without_using_a_retry(cli: Cli, tmp_path: Path) -> None:
    keep, once = start_patient(cli, 1)[0], cli.id("--retries", "0", PATIENT.format(1))
    worker = cli.worker("-j", "2")
    wait_begun(tmp_path, 2)
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)
    worker.wait(timeout=20)
    assert worker.returncode == 0
    handed_back, ended = cli.queue.job(keep), cli.queue.job(once)
    assert (handed_back.state, handed_back.retries_used) == (State.QUEUED, 0)
    assert ended.ending is not None
    assert (ended.state, ended.ending.outcome) == (State.FAILED, Outcome.INTERRUPTED)
    assert marked(cli.store) == []
    assert list((cli.store / "workers").iterdir()) == []


def test_a_killed_run_leaves_nothing_behind(cli: Cli, tmp_path: Path) -> None:
    process = cli.start(
        "run", "--", "sh", "-c", "echo $$ >> pids; setsid sh -c 'echo $$ >> pids; sleep 300' & wait; sleep 300"
    )
    pids = pids_in(tmp_path / "pids", 2)
    process.kill()
    process.wait()
    wait_until(lambda: not [pid for pid in pids if is_alive(pid)])
    wait_until(lambda: not supervisors(cli.store))
    cli("wait", "1", code=125)
    assert cli.queue.job(1).state is not State.RUNNING


def test_interrupting_run_ends_all_of_its_jobs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("echo $$ >> pids; sleep 300\ntrue\n")
    process = cli.start("run", "--from", "jobs")
    pids = pids_in(tmp_path / "pids", 1)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert [pid for pid in pids if is_alive(pid)] == []
    assert [job.state for job in cli.queue.finished()] == [State.CANCELLED] * 2


def test_a_worker_whose_store_is_moved_away_can_still_be_stopped(cli: Cli) -> None:
    cli("add", "touch began; exec sleep 600")
    worker = cli.worker("-j", "1")
    wait_until((cli.cwd / "began").exists)
    (pid,) = marked(cli.store)
    cli.store.rename(cli.cwd / "elsewhere")
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=20)
    wait_until(lambda: not is_alive(pid))
    (cli.cwd / "elsewhere").rename(cli.store)
    cli("cancel", "1")


def test_only_the_processes_of_a_dead_supervisor_are_killed(cli: Cli, tmp_path: Path) -> None:
    """The worker spares other children of its process, which it has not started itself."""
    # One child of the job ends once the job has become sleep(1), which reaps no child.
    ends = "while ! grep -q sleep /proc/$$/comm; do sleep 0.01; done & echo $! > dead"
    job_id = cli.id("--retries", "0", f"for n in $(seq 30); do sleep 300 & done; {ends}; echo $$ > job; exec sleep 300")
    command = f"sleep 300 & echo $! > other; exec {sys.executable} -m jobq worker -j 1"
    worker = subprocess.Popen(["/bin/sh", "-c", command], env=cli.env, cwd=cli.cwd, stderr=subprocess.DEVNULL)
    cli.started.append(worker)  # type: ignore[arg-type]
    (job,), (other,) = pids_in(tmp_path / "job", 1), pids_in(tmp_path / "other", 1)
    (dead,) = pids_in(tmp_path / "dead", 1)
    try:
        wait_until(lambda: (stat := read_stat(dead)) is not None and stat[2])
        (supervisor,) = supervisors(cli.store)
        os.kill(supervisor, signal.SIGKILL)
        assert cli.queue.wait(job_id, timeout=20).state is State.FAILED
        assert not is_alive(job)
        assert is_alive(other)
        wait_until(lambda: marked(cli.store) == [])
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        assert [pid for pid in children if (stat := read_stat(int(pid))) is not None and stat[2]] == []  # no zombies
    finally:
        os.kill(other, signal.SIGKILL)


def test_an_attempt_of_which_nothing_is_left_is_over_however_long_a_look_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes tenths of a second among thousands of processes, or on a busy machine."""
    looks = []
    left: set[tuple[int, int]] = set()

    def look(mark: int) -> set[tuple[int, int]]:
        looks.append(mark)
        return set(left)

    monkeypatch.setattr(evidence, "KILL_SECONDS", 0.0)
    monkeypatch.setattr(evidence, "wearers", look)
    assert evidence.kill_leftovers(1 << 60)
    assert len(looks) == evidence.CLEAN_LOOKS
    left.add((1 << 30, 0))
    assert not evidence.kill_leftovers(1 << 60)  # and what does not die is left to a later call, at once
    assert len(looks) == evidence.CLEAN_LOOKS + 1


REAPS = """
import os
from jobq.supervisor import tree
spared, other = [os.fork() or os._exit(0) for _ in range(2)]
for pid in (spared, other):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
tree.reap_orphans({spared})
try:
    os.waitid(os.P_PID, other, os.WEXITED | os.WNOWAIT)
except ChildProcessError:
    print("reaped")
print(os.waitpid(spared, 0)[0] == spared)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_dead_child_that_has_a_waiter_hides_no_other_from_the_reaper() -> None:
    done = subprocess.run([sys.executable, "-c", REAPS], capture_output=True, text=True, check=True)
    assert done.stdout == "reaped\nTrue\n"


def test_rescue_returns_the_adopted_job_even_if_the_next_rescue_fails(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [cli.id(f"echo $$ > pid{n}; exec sleep 300") for n in range(2)]
    workers = [cli.worker("-j", "1") for _ in ids]
    for n in range(2):
        pids_in(cli.cwd / f"pid{n}", 1)
    for worker in workers:
        worker.kill()
        worker.wait()
    real, calls = rescue._rescue_one, []

    def fail_on_the_second(*words: object) -> None:
        calls.append(words)
        if len(calls) == 2:
            raise OSError(errno.EMFILE, "Too many open files")
        real(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(rescue, "_rescue_one", fail_on_the_second)
    store = cli.queue.store
    member = Registration(Folder.create(str(cli.store)), own_jobs=False)
    done = rescue.rescue(store, clock.now(), adopter=member.token)
    assert [trace.key.job_id for trace in done.adopted] == [
        job.id for job in store.state.jobs.values() if job.attempts[-1].owner == member.token
    ]
    assert len(done.adopted) == 1
    member.leave(remove=False)
    cli("cancel", *map(str, ids))
    cli("worker", "--drain", code=None)


def test_another_worker_leaves_the_jobs_of_a_live_one_alone(cli: Cli) -> None:
    first = cli.id("-q", "a", "while ! [ -e go ]; do sleep 0.02; done")
    cli.worker("-q", "a")
    wait_until(lambda: cli.queue.job(first).state is State.RUNNING)
    owner = cli.queue.job(first).attempts[-1].owner
    cli.worker("-q", "b")
    cli.queue.wait(cli.id("-q", "b", "true"), timeout=30)  # it has looked for dead workers before its first claim
    job = cli.queue.job(first)
    assert (job.attempts[-1].owner, [step.event for step in job.history]) == (owner, ["claim"])
    (cli.cwd / "go").touch()
    assert cli.queue.wait(first, timeout=30).state is State.SUCCEEDED
