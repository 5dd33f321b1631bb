"""Calls that a warm process is given together: each is still its own attempt, whatever the others do.

Sixty short calls before teach the worker that these are short; then it claims those behind together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobq import JobHandle
from jobq.job import Ending, Outcome, State
from jobq.python import batch as host_side
from jobq.supervisor import calls
from tests.conftest import Cli, wait_until
from tests.helpers.processes import is_alive

MODULE = """
import os, signal, sys, time

def quick(n): open("made", "a").write("%s\\n" % n); return n
def says(n): print("call", n); return quick(n)
def dies(n): print("last words"); sys.stdout.flush(); os._exit(9)
def loops(n): print("begins"); time.sleep(600)
def raises(n): print("before"); raise ValueError(n)
def floods(n): sys.stdout.write("x" * 100000 + "\\n" + "y" * 100000 + "\\n"); return n
def pid(n): return os.getpid()
def moves(n): print("to /"); made = open("made", "a"); os.chdir("/"); made.write("%s\\n" % n); return n
def closes(n): os.close(1); return n
def swells(n): return "x" * 480 + str(n)
def opens(n):
    os.closerange(3, 256)
    for name in "abcdef": os.open("own-" + name, os.O_RDWR | os.O_CREAT)
    return n
def shuts(n): print("last"); sys.stdout.close(); return n
def detaches(n): sys.stderr.detach(); return n
def forgets(n): del sys.stdout; return n
def sets_timer(n): signal.setitimer(signal.ITIMER_REAL, 0.05); return n
def removes_logs(n): import shutil; print("kept"); shutil.rmtree(os.path.dirname(os.path.dirname(os.environ["JOBQ_JOB_FILES"]))); return n
def changes(n): open("w.py", "a").write(open("more").read()); return n
def patched(when, what, after=0.0):
    batch = sys.modules["jobq_child.batch"]
    real = getattr(batch.Calls, when)
    def instead(self, *args):
        try: return real(self, *args)
        finally: time.sleep(after); os.kill(os.getpid(), what)
    setattr(batch.Calls, when, instead)
def stops_while_it_keeps(n): print("kept"); patched("limit", signal.SIGSTOP); return n
def dies_between(n): patched("reply", signal.SIGKILL); return n
def dies_later(n): patched("reply", signal.SIGKILL, 0.05); return n
def hold(n):
    open("hold.pid", "w").write(str(os.getpid()))
    while not os.path.exists("go"): time.sleep(0.01)
    return n
def kills_its_supervisor(n):
    print("attempt", os.environ["JOBQ_JOB_ATTEMPT"]); sys.stdout.flush()
    if os.environ["JOBQ_JOB_ATTEMPT"] == "1":
        os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)
    return quick(n)
"""
QUICK = 60
FAILS = {"no_retry_on": "1-255,timeout,KILL,SEGV"}  # it has a retry, so it may go with others, but never uses it


@pytest.fixture
def warm(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    (cli.cwd / "w.py").write_text(MODULE)
    monkeypatch.chdir(cli.cwd)
    return cli


def call(cli: Cli, function: str, n: int, **options: Any) -> JobHandle[Any]:
    given = {"isolation": "warm", "retries": 1, "backoff": "const:0", "cwd": str(cli.cwd), **FAILS, **options}
    return cli.queue.call(f"w:{function}", [n], **given)


def among_quick_ones(cli: Cli, *names: str, **options: Any) -> tuple[list[JobHandle[Any]], list[JobHandle[Any]]]:
    """Add calls of these functions, with quick ones before, between and behind; return them, and the quick ones."""
    quick = [call(cli, "quick", n) for n in range(QUICK)]
    ours = []
    for number, name in enumerate(names):
        ours.append(call(cli, name, 1000 + number, **options))
        quick += [call(cli, "quick", QUICK * (number + 1) + n) for n in range(QUICK // len(names))]
    return ours, quick


def drain(cli: Cli, jobs: list[JobHandle[Any]]) -> list[Ending]:
    """Run all in one slot; return the last ending of each of these."""
    cli("worker", "--drain", "-j", "1", code=None)
    endings = [job.refresh().ending for job in jobs]
    assert None not in endings
    return [ending for ending in endings if ending is not None]


def check_undisturbed(cli: Cli, quick: list[JobHandle[Any]], more: int = 0) -> None:
    """Check that each quick call was made once, by one attempt, and has its result; `more` others were made, too."""
    assert [job.refresh().result for job in quick] == [job.job.call.args[0] for job in quick if job.job.call]
    assert [job.id for job in quick if len(job.attempts) != 1] == []
    made = (cli.cwd / "made").read_text().split()
    assert len(made) == len(set(made)) == len(quick) + more


def log(cli: Cli, job: JobHandle[Any], attempt: int = 1) -> str:
    path = Path(cli.queue.store.logs.path(job.id, attempt))
    return path.read_text() if path.exists() else ""


def test_each_call_has_what_it_printed_in_its_own_log(warm: Cli) -> None:
    says, quick = among_quick_ones(warm, *["says", "says", "raises", "says"])
    ends = drain(warm, says)
    assert [log(warm, job) for job in (says[0], says[1], says[3])] == ["call 1000\n", "call 1001\n", "call 1003\n"]
    assert log(warm, says[2]).startswith("before\nTraceback")
    assert [ending.log_bytes for ending in ends] == [len(log(warm, job)) for job in says]
    assert ends[2].error == "ValueError: 1002"
    assert {log(warm, job) for job in quick} == {""}
    check_undisturbed(warm, quick, more=3)
    assert not list(Path(warm.store).glob("workers/*/*.out"))


@pytest.mark.parametrize(
    ("name", "printed", "outcome", "status"),
    [
        ("dies", "last words\n", Outcome.EXIT, 9),
        ("moves", "to /\n", Outcome.EXIT, 0),
        ("closes", "", Outcome.EXIT, 0),
    ],
)
def test_a_call_that_ends_its_process_disturbs_no_other(
    warm: Cli, name: str, printed: str, outcome: Outcome, status: int
) -> None:
    ours, quick = among_quick_ones(warm, name, "says", name)
    ends = drain(warm, ours)
    assert [(end.outcome, end.status) for end in ends] == [(outcome, status), (Outcome.EXIT, 0), (outcome, status)]
    assert [log(warm, job) for job in ours] == [printed, "call 1001\n", printed]
    assert [len(job.attempts) for job in ours] == [1, 1, 1]
    check_undisturbed(warm, quick, more=1 + 2 * (name == "moves"))


def test_a_call_that_takes_too_long_does(warm: Cli) -> None:
    ours, quick = among_quick_ones(warm, "loops", timeout=0.4)
    (end,) = drain(warm, ours)
    assert (end.outcome, log(warm, ours[0])) == (Outcome.TIMEOUT, "begins\n")
    assert end.seconds is not None
    assert 0.4 <= end.seconds < 5
    check_undisturbed(warm, quick)


def test_the_log_of_a_call_is_limited(warm: Cli) -> None:
    ours, quick = among_quick_ones(warm, "floods", log_max=65536)
    (end,) = drain(warm, ours)
    assert end.log_bytes == 200002
    assert end.log_dropped > 100000
    assert log(warm, ours[0])[:1] == "x"
    assert log(warm, ours[0])[-2:] == "y\n"
    check_undisturbed(warm, quick)


def test_those_behind_a_running_call_can_be_cancelled_and_handed_back(warm: Cli) -> None:
    (held,), quick = among_quick_ones(warm, "hold")
    worker = warm.start("worker", "--drain", "-j", "1")
    wait_until((warm.cwd / "hold.pid").exists)
    assert log(warm, held) == ""
    quick[-1].cancel()
    assert quick.pop().wait(timeout=30).state is State.CANCELLED, "it waits for the call before it"
    second = warm.start("worker", "--drain", "-j", "1")
    waiting = [job for job in quick if job.refresh().state is not State.SUCCEEDED]
    wait_until(lambda: all(job.refresh().state is State.SUCCEEDED for job in waiting))
    assert held.refresh().state is State.RUNNING
    (warm.cwd / "go").touch()
    assert (worker.wait(30), second.wait(30)) == (0, 0)
    assert held.refresh().result == 1000
    check_undisturbed(warm, quick)


def test_what_has_ended_or_not_begun_when_a_supervisor_is_killed_is_known(warm: Cli) -> None:
    options = {"no_retry_on": None, "retries": 3}
    kills = "kills_its_supervisor"  # one of them may be the last of its batch
    ours, quick = among_quick_ones(warm, kills, "says", kills, kills, **options)
    drain(warm, ours)
    says = ours.pop(1)
    for killed in ours:
        ends = [attempt.ending and attempt.ending.outcome for attempt in killed.attempts]
        assert ends == [Outcome.LOST, Outcome.EXIT]
        assert [log(warm, killed, n) for n in (1, 2)] == ["attempt 1\n", "attempt 2\n"]
    assert (log(warm, says), len(says.attempts)) == ("call 1001\n", 1)
    check_undisturbed(warm, quick, more=4)


def test_a_call_outlives_its_worker_with_the_log_that_it_has_begun(warm: Cli) -> None:
    (held,), quick = among_quick_ones(warm, "hold")
    worker = warm.start("worker", "--drain", "-j", "1")
    pid = int(wait_until(lambda: (warm.cwd / "hold.pid").exists() and (warm.cwd / "hold.pid").read_text()))
    worker.kill()
    worker.wait()
    second = warm.start("worker", "--drain", "-j", "2")  # the call that it adopts takes one
    waiting = [job for job in quick if job.refresh().state is not State.SUCCEEDED]
    wait_until(lambda: all(job.refresh().state is State.SUCCEEDED for job in waiting))
    assert is_alive(pid)
    (warm.cwd / "go").touch()
    assert second.wait(30) == 0
    assert held.refresh().result == 1000
    check_undisturbed(warm, quick)


@pytest.mark.parametrize(
    "name", ["opens", "shuts", "detaches", "forgets", "sets_timer", "removes_logs", "dies_between", "dies_later"]
)
def test_what_a_call_does_to_its_process_is_felt_by_no_other(warm: Cli, name: str) -> None:
    ours, quick = among_quick_ones(warm, name, "says", name)
    ends = drain(warm, ours)
    assert [(end.outcome, end.status) for end in ends] == [(Outcome.EXIT, 0)] * 3
    assert log(warm, ours[1]) == ("" if name == "removes_logs" else "call 1001\n")
    assert log(warm, ours[2]) == {"shuts": "last\n", "removes_logs": "kept\n"}.get(name, "")
    assert not any((warm.cwd / f"own-{letter}").stat().st_size for letter in "abcdef" if name == "opens")
    check_undisturbed(warm, quick, more=1)


def test_any_number_of_results_comes_back(warm: Cli) -> None:
    calls = [("quick", n) for n in range(QUICK)] + [("swells", n) for n in range(400)]
    lines = [{"call": f"w:{name}", "args": [n], "isolation": "warm", "retries": 1, **FAILS} for name, n in calls]
    warm("add", "--jsonl", "-", stdin="\n".join(map(json.dumps, lines)))
    queue = warm.queue
    jobs = [queue.get(n + 1) for n in range(len(calls))]
    drain(warm, jobs)
    assert [job.result for job in jobs[QUICK:]] == ["x" * 480 + str(n) for n in range(400)]
    assert {len(job.attempts) for job in jobs} == {1}


def test_no_call_is_made_by_a_module_that_was_changed_before(warm: Cli) -> None:
    (warm.cwd / "more").write_text("def quick(n): return [n]\n")
    ours, quick = among_quick_ones(warm, "changes")
    drain(warm, ours)
    after = [job.refresh().result for job in quick[QUICK:]]
    assert after == [[job.job.call.args[0]] for job in quick[QUICK:] if job.job.call]
    assert ours[0].ending is not None
    assert ours[0].ending.replaced == "a module that it has imported was changed"


def test_a_process_that_is_stopped_between_two_steps_holds_up_nothing(warm: Cli) -> None:
    ours, quick = among_quick_ones(warm, "stops_while_it_keeps", timeout=0.4)
    (end,) = drain(warm, ours)
    assert (end.outcome, log(warm, ours[0])) == (Outcome.TIMEOUT, "kept\n")
    check_undisturbed(warm, quick)


def test_both_sides_of_the_file_of_calls_agree() -> None:
    """The process can't import the supervisor's module: it has the numbers of its own."""
    names = ["LIMIT", "REPLIES", "RUNNING", "KEEPING", "OVER"]
    assert [getattr(host_side, name) for name in names] == [getattr(calls, name) for name in names]
    assert host_side.STATE + host_side.BEGUN.size == calls.HEAD.size <= calls.REPLIES
    assert host_side.FULL < calls.SIZE
