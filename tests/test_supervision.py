"""Real process trees: that nothing of an attempt outlives it, whatever shape it has and however it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from jobq.job import Job, Outcome, State
from tests.conftest import Cli, wait_until
from tests.processes import is_alive, marked, pids_in

TREES = {
    "plain": "echo $$ >> pids; sleep 300",
    "children": "echo $$ >> pids; sleep 300 & echo $! >> pids; sleep 300 & echo $! >> pids; wait",
    "setsid": "echo $$ >> pids; setsid sh -c 'echo $$ >> pids; sleep 300' & wait; sleep 300",
    "orphan": "echo $$ >> pids; (setsid nohup sh -c 'echo $$ >> pids; sleep 300' >/dev/null 2>&1 &); sleep 300",
    "deaf": "trap '' TERM HUP INT; echo $$ >> pids; while :; do sleep 300; done",
    "stopped": "echo $$ >> pids; kill -STOP $$; sleep 300",
}
MEMBERS = {"plain": 1, "children": 3, "setsid": 2, "orphan": 2, "deaf": 1, "stopped": 1}


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


def test_a_chain_that_flees_into_new_sessions_is_caught(cli: Cli) -> None:
    chain = "flee() { setsid sh -c 'exec sh flee.sh' & }; flee; exit 0"
    (cli.cwd / "flee.sh").write_text(chain)
    job_id = cli.id("--grace", "0.2", "--retries", "0", "sh flee.sh; sleep 300")
    cli.worker("-j", "1")
    wait_until(lambda: marked(cli.store))
    cli("cancel", "--wait", str(job_id))
    assert marked(cli.store) == []
    assert cli.queue.job(job_id).state is State.CANCELLED


def test_what_a_job_sees_is_what_its_shell_would_have_given_it(cli: Cli, tmp_path: Path) -> None:
    probe = (
        "import os,sys,signal;"
        "print(os.getcwd(), os.environ['PWD'], oct(os.umask(0)));"
        "print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1]);"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('SigBlk','SigIgn'))]);"
        "print(os.environ['JOBQ_JOB_ID'], os.environ['JOBQ_JOB_ATTEMPT'], os.environ['JOBQ_STORE'], os.environ['MARK']);"
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
    ordinary = (1 << 31) - 1  # the C library keeps 32 and 33 to itself
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
def test_what_cannot_start_is_told_and_not_retried(cli: Cli, words: list[str], status: int, says: str) -> None:
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
    words = ["a b", "$HOME", "*", "", "-x", "'", '"', "\n", "%s{}", "$(touch x)", "é☃", b"\xff\xfe".decode("utf-8", "surrogateescape")]
    job = run_to_end(cli, "--", "printf", "%s\\0", *words)
    log = Path(cli.queue.store.logs.path(job.id, 1)).read_bytes()
    assert log == b"".join(os.fsencode(word) + b"\0" for word in words)
    assert not (cli.cwd / "x").exists()


def test_a_single_argument_goes_through_the_shell(cli: Cli) -> None:
    job = run_to_end(cli, "echo $HOME | tr a-z A-Z")
    assert cli("log", str(job.id)).stdout == os.environ["HOME"].upper() + "\n"


def test_usage_and_times_are_recorded(cli: Cli) -> None:
    job = run_to_end(cli, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; printf abc")
    ending = job.ending
    assert ending is not None
    assert ending.started_at is not None
    assert ending.ended_at is not None
    assert job.added_at < ending.started_at < ending.ended_at
    assert ending.user_s + ending.system_s > 0
    assert ending.max_rss_kib > 100
    assert ending.log_bytes == 3


def test_a_job_killed_by_a_signal_says_which(cli: Cli) -> None:
    job = run_to_end(cli, "--retries", "0", "kill -9 $$")
    assert job.ending is not None
    assert (job.ending.outcome, job.ending.signal, job.exit_code) == (Outcome.SIGNAL, 9, 137)


def test_three_hundred_jobs_leave_no_zombie_and_no_descriptor(cli: Cli) -> None:
    worker = cli.worker("-j", "2")
    cli("add", "--from", "-", stdin="true\n" * 20)
    cli("wait")
    before = len(os.listdir(f"/proc/{worker.pid}/fd"))
    cli("add", "--from", "-", stdin="true\n" * 300)
    cli("wait")
    assert len(os.listdir(f"/proc/{worker.pid}/fd")) == before
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    assert len(children) == 2
    for supervisor in children:
        assert Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text() == ""
        assert len(os.listdir(f"/proc/{supervisor}/fd")) <= 10
