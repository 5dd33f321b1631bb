"""Real process trees: no process outlives its attempt, whatever the shape of the tree and its end."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import jobq
from jobq.job import Job, Outcome, State
from tests.conftest import Cli, wait_until
from tests.helpers.jobs import MEMBERS, TREES
from tests.helpers.processes import is_alive, marked, pids_in, supervisors


@pytest.mark.parametrize("tree", list(TREES))
@pytest.mark.parametrize("end", ["cancel", "timeout", "stop"])
def test_no_process_of_the_tree_is_left(cli: Cli, tmp_path: Path, tree: str, end: str) -> None:
    asked = ["--grace", "0.3", "--retries", "0"] + (["--timeout", "0.5"] if end == "timeout" else [])
    job_id = cli.id(*asked, TREES[tree])
    worker = cli.worker("-j", "1")
    pids = pids_in(tmp_path / "pids", MEMBERS[tree])
    if end == "cancel":
        cli("cancel", str(job_id))
    elif end == "stop":
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGINT)  # a second TERM might merge with the first
        wait_until(lambda: worker.poll() is not None)
        assert worker.returncode == 0
    job = cli.queue.wait(job_id, timeout=20)
    assert [pid for pid in pids if is_alive(pid)] == []
    assert marked(cli.store) == []
    expected = {
        "cancel": (State.CANCELLED, Outcome.CANCELLED),
        "timeout": (State.FAILED, Outcome.TIMEOUT),
        "stop": (State.FAILED, Outcome.INTERRUPTED),
    }
    assert job.ending is not None
    assert (job.state, job.ending.outcome) == expected[end]


def run_to_end(cli: Cli, *words: str) -> Job:
    job_id = cli.id(*words)
    cli("worker", "--drain", code=None)
    return cli.queue.job(job_id)


def test_a_daemon_that_a_job_leaves_behind_ends_with_it(cli: Cli, tmp_path: Path) -> None:
    job = run_to_end(cli, "(setsid sh -c 'echo $$ > pids; sleep 300' &) ; while ! [ -s pids ]; do :; done; echo over")
    assert job.state is State.SUCCEEDED
    assert [pid for pid in pids_in(tmp_path / "pids", 1) if is_alive(pid)] == []


def test_a_chain_of_processes_in_new_sessions_is_killed(cli: Cli) -> None:
    chain = "flee() { setsid sh -c 'exec sh flee.sh' & }; flee; exit 0"
    (cli.cwd / "flee.sh").write_text(chain)
    job_id = cli.id("--grace", "0.2", "--retries", "0", "sh flee.sh; sleep 300")
    cli.worker("-j", "1")
    wait_until(lambda: marked(cli.store))
    cli("cancel", "--wait", str(job_id))
    assert marked(cli.store) == []
    assert cli.queue.job(job_id).state is State.CANCELLED


def test_a_job_starts_in_the_state_that_a_shell_would_give_it(cli: Cli, tmp_path: Path) -> None:
    probe = (
        "import os,sys,signal;"
        "print(os.getcwd(), os.environ['PWD'], oct(os.umask(0)));"
        "print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1]);"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('SigBlk','SigIgn'))]);"
        "e = os.environ;"
        "print(e['JOBQ_JOB_ID'], e['JOBQ_JOB_ATTEMPT'], e['JOBQ_STORE'], e['MARK']);"
        "print(repr(sys.stdin.read()), os.getsid(0) == os.getpid())"
    )
    (tmp_path / "p.py").write_text(probe)
    os.umask(0o027)
    try:
        job_id = cli.id("--env", "MARK=a b", "--", "python3", "-S", "p.py")
    finally:
        os.umask(0o022)
    blocked = {signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cli("worker", "--drain")
    finally:
        signal.signal(signal.SIGINT, old)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    lines = cli("log", str(job_id)).stdout.splitlines()
    assert lines[0] == f"{tmp_path} {tmp_path} 0o27"
    assert lines[1] == "[0, 1, 2]"
    # Python itself ignores SIGPIPE and SIGXFSZ at its start; nothing else may be ignored or blocked.
    python_ignores = (1 << (signal.SIGPIPE - 1)) | (1 << (signal.SIGXFSZ - 1))
    ordinary = (1 << 31) - 1  # the C library reserves signals 32 and 33
    masks = [int(mask, 16) & ordinary for mask in eval(lines[2])]
    assert masks == [0, python_ignores]
    assert lines[3] == f"{job_id} 1 {cli.store} a b"
    assert lines[4] == "'' True"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--", "no-such-program-here", "x"], 127, "no-such-program-here: not found"),
        (["--", "./not-executable", "x"], 126, "Permission denied"),
        (["--", "/", "x"], 126, "Permission denied"),
        (["--cwd", "gone", "--", "true", "x"], 126, "gone: No such file or directory"),
    ],
)
def test_a_command_that_can_not_start_is_reported_and_not_retried(
    cli: Cli, words: list[str], status: int, says: str
) -> None:
    (cli.cwd / "not-executable").write_text("true")
    (cli.cwd / "gone").mkdir()
    job_id = cli.id(*words)
    (cli.cwd / "gone").rmdir()
    cli("worker", "--drain", code=1)
    job = cli.queue.job(job_id)
    assert job.ending is not None
    assert (job.state, job.ending.outcome, job.exit_code) == (State.FAILED, Outcome.SPAWN_ERROR, status)
    assert len(job.attempts) == 1
    assert says in str(job.ending)


def test_a_script_without_an_interpreter_line_runs_as_in_a_shell(cli: Cli) -> None:
    script = cli.cwd / "script"
    script.write_text('echo "$1"\n')
    script.chmod(0o755)
    job = run_to_end(cli, "--", "./script", "a  b")
    assert cli("log", str(job.id)).stdout == "a  b\n"


def test_arguments_arrive_byte_for_byte(cli: Cli) -> None:
    words = [
        "a b",
        "$HOME",
        "*",
        "",
        "-x",
        "'",
        '"',
        "\n",
        "%s{}",
        "$(touch x)",
        "é☃",
        b"\xff\xfe".decode("utf-8", "surrogateescape"),
    ]
    job = run_to_end(cli, "--", "printf", "%s\\0", *words)
    log = Path(cli.queue.store.logs.path(job.id, 1)).read_bytes()
    assert log == b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)
    assert not (cli.cwd / "x").exists()


def test_a_single_argument_goes_through_the_shell(cli: Cli) -> None:
    job = run_to_end(cli, "echo $HOME | tr a-z A-Z")
    assert cli("log", str(job.id)).stdout == os.environ["HOME"].upper() + "\n"


def test_usage_and_times_are_recorded(cli: Cli) -> None:
    big = f"{sys.executable} -c 'import time; x = bytearray(10**8); print(\"a\")'; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
    job = run_to_end(cli, big)
    ending = job.ending
    assert ending is not None
    assert ending.started_at is not None
    assert ending.ended_at is not None
    assert job.added_at < ending.started_at < ending.ended_at
    assert ending.user_s + ending.system_s > 0
    assert ending.max_rss_kib > 100_000
    assert ending.log_bytes == 2
    ending = run_to_end(cli, "true").ending
    assert ending is not None
    assert ending.max_rss_kib == 0  # until execve(2) it shared its supervisor's memory, which is more


def test_the_signal_that_killed_a_job_is_recorded(cli: Cli) -> None:
    job = run_to_end(cli, "--retries", "0", "kill -9 $$")
    assert job.ending is not None
    assert (job.ending.outcome, job.ending.signal, job.exit_code) == (Outcome.SIGNAL, 9, 137)


def test_three_hundred_jobs_leave_no_zombie_and_no_descriptor(cli: Cli) -> None:
    worker = cli.worker("-j", "2")
    cli("add", "--from", "-", stdin="true\n" * 20)
    cli("wait")
    before = len(os.listdir(f"/proc/{worker.pid}/fd"))
    cli("add", "--from", "-", stdin="true\necho said\n" * 150)
    cli("wait")
    assert len(os.listdir(f"/proc/{worker.pid}/fd")) == before
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    assert len(children) == 2
    for supervisor in children:
        assert Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text() == ""
        assert len(os.listdir(f"/proc/{supervisor}/fd")) <= 10


FLEEING = """
#include <unistd.h>
#include <signal.h>
#include <fcntl.h>
int main(void) {
    signal(SIGTERM, SIG_IGN);
    for (;;) {
        if (fork() == 0) { setsid(); usleep(1000); int fd = open("beat", O_WRONLY|O_CREAT|O_APPEND, 0600); write(fd, "x", 1); close(fd); continue; }
        _exit(0);
    }
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("end", ["by itself", "supervisor killed"])
def test_a_quick_chain_of_forks_is_killed_too(cli: Cli, tmp_path: Path, end: str) -> None:
    (tmp_path / "flee.c").write_text(FLEEING)
    subprocess.run(["cc", "-w", "-o", tmp_path / "flee", tmp_path / "flee.c"], check=True)
    beat = tmp_path / "beat"
    job_id = cli.id(
        "--retries", "0", "./flee; " + ("while ! [ -s beat ]; do :; done" if end == "by itself" else "sleep 60")
    )
    cli.worker("-j", "1")
    wait_until(lambda: beat.exists() and beat.stat().st_size > 10)
    if end == "supervisor killed":
        os.kill(supervisors(cli.store)[0], signal.SIGKILL)
    cli.queue.wait(job_id, timeout=20)
    beats = beat.stat().st_size
    assert marked(cli.store) == []
    assert beat.stat().st_size == beats


def test_orphans_of_a_running_job_are_reaped_at_once(cli: Cli, tmp_path: Path) -> None:
    cli.id(
        "i=0; while [ $i -lt 100 ]; do (true &); i=$((i+1)); done; echo $$ > pids; while ! [ -e go ]; do sleep 0.05; done"
    )
    cli.worker("-j", "1")
    pids_in(tmp_path / "pids", 1)
    (supervisor,) = supervisors(cli.store)
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    wait_until(lambda: len(children.read_text().split()) == 1)
    (tmp_path / "go").touch()
    cli("wait")


def test_a_job_that_attacks_its_supervisor_uses_up_its_retries(cli: Cli) -> None:
    term = cli.id("--retries", "1", "echo x >> ran; kill $PPID; sleep 60")
    stop = cli.id("--retries", "0", "--grace", "0.2", "kill -STOP $PPID; sleep 60")
    cli.worker("-j", "2")
    assert cli.queue.wait(term, timeout=20).state is State.FAILED
    assert (cli.cwd / "ran").read_text() == "x\nx\n"
    cli("cancel", "--wait", str(stop))
    assert marked(cli.store) == []


def test_very_long_times_are_accepted(cli: Cli) -> None:
    assert run_to_end(cli, "--timeout", "52w", "--grace", "9000d", "true").state is State.SUCCEEDED


def test_few_descriptors_mean_fewer_slots_and_no_lost_attempt(cli: Cli) -> None:
    cli("add", "--from", "-", stdin="true\n" * 10)
    limit = (24, 24)
    worker = cli.start(
        "worker", "--drain", "-j", "16", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    )
    assert worker.wait(timeout=60) == 0
    assert all(len(job.attempts) == 1 for job in cli.queue.finished())


def test_a_worker_under_nohup_ignores_sighup(cli: Cli) -> None:
    worker = cli.start("worker", "-j", "1", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_until(cli.queue.workers.all)
    worker.send_signal(signal.SIGHUP)
    job_id = cli.id("true")
    assert cli.queue.wait(job_id, timeout=20).state is State.SUCCEEDED
    assert worker.poll() is None


def test_run_into_a_closed_pipe_ends_the_job(cli: Cli) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m jobq run yes | head -1', sys.executable],
        env=cli.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "y\n"
    assert "Traceback" not in done.stderr
    assert wait_until(lambda: cli.queue.job(1).state.final)
    assert marked(cli.store) == []


def test_a_program_that_can_not_be_read_fails_its_job_and_blocks_no_other(cli: Cli, tmp_path: Path) -> None:
    program = tmp_path / "cut"
    program.write_bytes(Path(sys.executable).resolve().read_bytes()[:800])  # execve(2) fails with EIO
    program.chmod(0o755)
    broken, behind = cli.id("--retries", "0", "--", "./cut", "x"), cli.id("true")
    cli("worker", "--drain", "-j", "1", code=1)
    failed = cli.queue.job(broken)
    assert failed.state is State.FAILED
    assert failed.ending is not None
    assert (failed.ending.outcome, failed.ending.status) == (Outcome.SPAWN_ERROR, 126)
    assert cli.queue.job(behind).state is State.SUCCEEDED


def test_a_changed_environment_is_reported_and_not_used(cli: Cli) -> None:
    job_id = cli.id("--retries", "0", "echo $MARK > mark")
    (captured,) = (cli.store / "env").iterdir()
    changed = captured.read_bytes().replace(b"{", b'{"MARK":"changed",', 1)
    captured.chmod(0o600)
    captured.write_bytes(changed)
    cli("worker", "--drain", code=1)
    ending = cli.queue.job(job_id).ending
    assert ending is not None
    assert "environment was changed" in str(ending)
    assert not (cli.cwd / "mark").exists()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_a_process_of_another_user_blocks_no_other_job(cli: Cli, tmp_path: Path) -> None:
    """A set-user-ID program leaves such a process: the worker may not signal it, and must not wait for it for ever."""
    left = "setpriv --reuid 65534 --clear-groups sleep 300 & echo $! > pids"
    left += "; while [ $(cat /proc/$!/comm) != sleep ]; do :; done"
    leaves, behind = cli.id(left), cli.id("true")
    command = ["setpriv", "--inh-caps", "-kill", "--bounding-set", "-kill"]
    worker = [*command, sys.executable, "-m", "jobq", "worker", "--drain", "-j", "1"]
    try:
        subprocess.run(worker, env=cli.env, cwd=cli.cwd, timeout=30, check=True, capture_output=True)
        assert [cli.queue.job(job_id).state for job_id in (leaves, behind)] == [State.SUCCEEDED] * 2
    finally:
        for pid in pids_in(tmp_path / "pids", 1):
            os.kill(pid, signal.SIGKILL)


def test_supervisors_obey_pythondontwritebytecode(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(jobq.__file__).parent
    shutil.copytree(package, tmp_path / "site" / "jobq", ignore=shutil.ignore_patterns("__pycache__"))
    cli.env |= {"PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    cli.cwd = tmp_path / "site"
    assert run_to_end(cli, "true").state is State.SUCCEEDED
    assert not list((tmp_path / "site").rglob("*.pyc"))


def test_a_worker_reports_that_jobq_was_changed_under_it(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(Path(jobq.__file__).parent, tmp_path / "site" / "jobq")
    cli.env |= {"PYTHONPATH": str(tmp_path / "site")}
    cli.cwd = tmp_path / "site"
    worker = cli.worker("-j", "1")
    script = tmp_path / "site" / "jobq" / "supervisor" / "__main__.py"
    script.unlink()  # as in the middle of an upgrade
    job_id = cli.id("true")
    _, errors = worker.communicate(timeout=30)
    assert (worker.returncode, "jobq was changed under this worker" in errors) == (70, True), errors
    assert cli.queue.job(job_id).state is State.QUEUED
