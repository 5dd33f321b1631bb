"""Warm processes: one for many calls, each its own attempt with its own log, time limit, cancel and end."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from jobq import JobHandle
from jobq.errors import CallFailed
from jobq.job import Outcome, State
from tests.conftest import Cli, wait_until
from tests.helpers.processes import is_alive, kill_both

MODULE = """
import ctypes, os, signal, subprocess, sys, threading, time
open("imports", "a").write("imported\\n")
KEPT = []

def pid(*_): return os.getpid()
def say(text): print(text); print(text.upper(), file=sys.stderr); return text
def c_output(): ctypes.CDLL(None).printf(b"from C\\n")
def by_child(): subprocess.run(["echo", "from a child"], check=True)
def raw(): os.write(1, b"raw")
def large(): return "x" * 5000
def exits(code): sys.exit(code)
def raises(): raise ValueError("why")
def odd(): return object()
def dies(): os._exit(9)
def killed(): os.kill(os.getpid(), signal.SIGKILL)
def crashes(): ctypes.string_at(0)
def loops(): time.sleep(600)
def stubborn():
    try: time.sleep(600)
    finally: open("cleaned", "a").write("yes\\n")
def hold(name):
    open(name + ".pid", "w").write(str(os.getpid()))
    while not os.path.exists(name): time.sleep(0.01)
    return os.getpid()
def daemon(): threading.Thread(target=time.sleep, args=(600,), daemon=True).start(); return os.getpid()
def thread(): threading.Thread(target=lambda: (time.sleep(0.2), open("thread", "w").close())).start(); return os.getpid()
def leaves_child():
    open("child", "w").write(str(subprocess.Popen(["sleep", "600"]).pid)); return os.getpid()
def leaves_orphan():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("child", "w").write(str(os.getpid())); time.sleep(600)
        os._exit(0)
    os.wait()
    while not os.path.exists("child"): time.sleep(0.01)
    return os.getpid()
def forked():
    if os.fork() == 0: return "child"
    os.wait(); return os.getpid()
def moves(): os.chdir("/"); return os.getpid()
def sets(): os.environ["X"] = "1"; return os.getpid()
def masks(): os.umask(0o777); return os.getpid()
def handles(): signal.signal(signal.SIGALRM, lambda *_: None); return os.getpid()
def prints_elsewhere(): sys.stdout = open(os.devnull, "w"); return os.getpid()
def reads(): return sys.stdin.read()
def job(): return [os.environ["JOBQ_JOB_ID"], os.environ["JOBQ_JOB_ATTEMPT"], os.environ.get("JOBQ_JOB_NAME")]
def grows(): KEPT.append(bytearray(300 << 20)); return os.getpid()
def prints_at_exit():
    import atexit; atexit.register(print, "bye")
async def later(): return os.getpid()
"""


@pytest.fixture
def warm(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    (cli.cwd / "w.py").write_text(MODULE)
    monkeypatch.chdir(cli.cwd)
    return cli


def call(cli: Cli, function: str, *args: Any, **options: Any) -> JobHandle[Any]:
    return cli.queue.call(f"w:{function}", args, **{"isolation": "warm", "retries": 0, "cwd": str(cli.cwd), **options})


def calls(cli: Cli, *names: str) -> list[JobHandle[Any]]:
    return [call(cli, name) for name in names]


def drain(cli: Cli, jobs: list[JobHandle[Any]], *words: str) -> list[Any]:
    """Run the jobs one after the other; return what each returned, or the exit code of those that failed."""
    cli("worker", "--drain", "-j", "1", *words, code=None)
    return [job.result if job.refresh().state is State.SUCCEEDED else job.exit_code for job in jobs]


def imports(cli: Cli) -> int:
    return len((cli.cwd / "imports").read_text().split())


def test_a_module_is_imported_once_for_many_calls(warm: Cli) -> None:
    jobs = [call(warm, "pid", n) for n in range(50)] + calls(warm, "later")
    pids = drain(warm, jobs)
    assert len(set(pids)) == 1
    assert imports(warm) == 1
    assert not is_alive(pids[0])
    assert all(job.ending is not None and job.ending.log_bytes == 0 for job in jobs)
    assert list((warm.store / "runs").rglob("*.result.json")) == []


def test_each_call_has_its_own_log_whoever_writes_it(warm: Cli) -> None:
    jobs = [
        call(warm, "say", "one"),
        call(warm, "pid"),
        call(warm, "say", "two"),
        *calls(warm, "c_output", "by_child", "raw"),
    ]
    results = drain(warm, jobs)
    assert (results[0], results[2]) == ("one", "two")
    logs = [warm("log", str(job.id), "--raw").stdout for job in jobs]
    assert logs == ["one\nONE\n", "", "two\nTWO\n", "from C\n", "from a child\n", "raw"]
    assert imports(warm) == 1


def test_a_call_knows_its_job(warm: Cli) -> None:
    first, second, third = call(warm, "job", name="x"), call(warm, "job"), call(warm, "job", env={"Y": "1"})
    assert drain(warm, [first, second, third]) == [
        [str(first.id), "1", "x"],
        [str(second.id), "1", None],
        [str(third.id), "1", None],
    ]
    assert imports(warm) == 2, "other variables need another process"


def test_results_are_kept_whether_they_are_small_or_large(warm: Cli) -> None:
    assert drain(warm, calls(warm, "large", "reads", "pid"))[:2] == ["x" * 5000, ""]
    assert len(list((warm.store / "runs").rglob("*.result.json"))) == 1
    assert json.loads(warm("show", "2", "--json").stdout)["jobs"][0]["result"] == ""


def test_what_a_call_raises_is_kept_and_disturbs_nobody(warm: Cli) -> None:
    before, failed, code, odd, after = calls(warm, "pid", "raises", "pid", "odd", "pid")
    left = call(warm, "exits", 7)
    results = drain(warm, [before, failed, code, odd, after, left])
    assert results[1] == results[3] == 1
    assert results[5] == 7
    assert len({results[0], results[2], results[4]}) == 1
    with pytest.raises(CallFailed, match="ValueError: why"):
        _ = failed.result
    assert "raise ValueError" in warm("log", str(failed.id)).stdout
    assert "w.py" in warm("show", str(failed.id)).stdout
    with pytest.raises(CallFailed, match="the result is an object, which is not JSON"):
        _ = odd.result


@pytest.mark.parametrize(("name", "code"), [("dies", 9), ("killed", 137), ("crashes", 139)])
def test_a_crash_ends_exactly_the_call_that_did_it(warm: Cli, name: str, code: int) -> None:
    results = drain(warm, calls(warm, "pid", "pid", name, "pid", "pid"))
    assert results[2] == code
    assert results[0] == results[1] != results[3] == results[4]
    assert [job.attempts for job in warm.queue.finished() if len(job.attempts) != 1] == []


def test_a_timeout_ends_exactly_the_call_that_takes_too_long(warm: Cli) -> None:
    jobs = [call(warm, "pid"), call(warm, "stubborn", timeout=0.3), call(warm, "pid")]
    first, code, last = drain(warm, jobs)
    assert (code, first != last) == (124, True)
    assert (warm.cwd / "cleaned").read_text() == "yes\n"
    assert jobs[1].ending is not None
    assert jobs[1].ending.outcome is Outcome.TIMEOUT


def test_a_running_call_is_cancelled_and_the_next_ones_go_on(warm: Cli) -> None:
    running, after = call(warm, "hold", "never"), call(warm, "pid")
    worker = warm.start("worker", "--drain", "-j", "1")
    pid = int(wait_until(lambda: (warm.cwd / "never.pid").exists() and (warm.cwd / "never.pid").read_text()))
    running.cancel()
    assert running.wait(timeout=30).state is State.CANCELLED
    assert after.wait(timeout=30).result != pid
    assert worker.wait(30) == 0


def test_calls_that_leave_something_behind_are_the_last_of_their_process(warm: Cli) -> None:
    names = ["daemon", "moves", "sets", "masks", "handles", "leaves_child", "leaves_orphan"]
    jobs = [job for name in names for job in calls(warm, name, "pid")]
    results = drain(warm, jobs)
    assert len(set(results[0::2]) | set(results[1::2])) >= len(names)
    for name, own, after in zip(names, results[0::2], results[1::2], strict=True):
        assert own != after, name
    assert not is_alive(int((warm.cwd / "child").read_text()))
    assert "its process made no other call: it changed the working directory" in warm("show", str(jobs[2].id)).stdout


def test_what_can_be_taken_back_is(warm: Cli) -> None:
    jobs = [*calls(warm, "prints_elsewhere", "forked"), call(warm, "say", "x"), *calls(warm, "thread", "pid")]
    results = drain(warm, jobs)
    assert results[0] == results[1] == results[3] == results[4]
    assert warm("log", str(jobs[2].id)).stdout == "x\nX\n"
    assert (warm.cwd / "thread").exists(), "the call waits for a thread that is no daemon"


def test_a_module_that_was_changed_is_imported_anew(warm: Cli) -> None:
    first, gate, second = call(warm, "pid"), call(warm, "hold", "go"), call(warm, "large")
    worker = warm.start("worker", "--drain", "-j", "1")
    wait_until((warm.cwd / "go.pid").exists)
    (warm.cwd / "w.py").write_text(MODULE.replace('"x" * 5000', '"new"'))
    (warm.cwd / "go").touch()
    assert worker.wait(30) == 0
    assert second.refresh().result == "new"
    assert first.refresh().result == gate.refresh().result
    assert imports(warm) == 2


def test_a_call_that_imports_threading_is_not_the_last_one(warm: Cli) -> None:
    (warm.cwd / "lazy.py").write_text("import os\ndef pid(_): import threading; return os.getpid()\n")
    jobs = [warm.queue.call("lazy:pid", (n,), isolation="warm", cwd=str(warm.cwd)) for n in range(3)]
    assert len(set(drain(warm, jobs))) == 1


def test_a_process_that_has_grown_is_replaced(warm: Cli) -> None:
    jobs = [*calls(warm, "pid", "grows"), *[call(warm, "pid", n) for n in range(70)]]
    results = drain(warm, jobs)
    assert results[0] == results[1] == results[2]
    assert len(set(results)) == 2


@pytest.mark.parametrize("warm_after", [False, True])
def test_what_a_process_prints_at_its_exit_is_in_no_later_log(warm: Cli, warm_after: bool) -> None:
    quick = [call(warm, "pid", n, retries=1) for n in range(60)]  # these and those behind make one batch of the two
    before = call(warm, "prints_at_exit", retries=1)
    after = call(warm, "pid", retries=1, env={"OTHER": "1"}) if warm_after else warm.queue.add("echo own", retries=1)
    quick += [call(warm, "pid", n, retries=1) for n in range(60)]
    drain(warm, quick)
    assert warm("log", str(after.id)).stdout == ("" if warm_after else "own\n")
    assert warm("log", str(before.id)).stdout == "bye\n"


def test_a_command_between_two_calls_has_the_slot_for_itself(warm: Cli) -> None:
    before = call(warm, "pid")
    command = warm.queue.add("ps -o ppid= -p $$; cat /proc/$PPID/task/$PPID/children", retries=0)
    after = call(warm, "pid")
    first, _, last = (
        drain(warm, [before, command, after]) if False else (drain(warm, [before])[0], None, after.refresh().result)
    )
    assert first != last
    children = warm("log", str(command.id)).stdout.split()[1:]
    assert str(first) not in children


def test_a_call_outlives_its_worker_and_a_dead_supervisor_leaves_nothing(warm: Cli) -> None:
    job = call(warm, "hold", "go", retries=1)
    worker = warm.start("worker", "--drain")
    pid = int(wait_until(lambda: (warm.cwd / "go.pid").exists() and (warm.cwd / "go.pid").read_text()))
    worker.kill()
    worker.wait()
    assert is_alive(pid)
    second = warm.start("worker", "--drain")
    wait_until(lambda: job.refresh().job.history[-1].event == "adopt")
    (warm.cwd / "go").touch()
    assert second.wait(30) == 0
    assert job.refresh().result == pid

    first, lost = call(warm, "pid"), call(warm, "hold", "gone", retries=1)
    third = warm.start("worker", "--drain", "-j", "1")
    pid = int(wait_until(lambda: (warm.cwd / "gone.pid").exists() and (warm.cwd / "gone.pid").read_text()))
    assert first.refresh().result == pid, "its environment has the mark of the first call, not of the one that runs"
    kill_both(warm.store, third)
    fourth = warm.start("worker", "--drain", "-j", "1")
    wait_until(lambda: len(lost.refresh().attempts) == 2)
    assert not is_alive(pid)
    (warm.cwd / "gone").touch()
    assert fourth.wait(30) == 0
    assert [attempt.ending and attempt.ending.outcome for attempt in lost.refresh().attempts] == [
        Outcome.LOST,
        Outcome.EXIT,
    ]


def test_a_stopping_worker_hands_calls_back(warm: Cli) -> None:
    running, waiting = call(warm, "hold", "never", retries=1), call(warm, "pid")
    worker = warm.start("worker", "-j", "1")
    wait_until((warm.cwd / "never.pid").exists)
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(30) == 0
    assert (running.refresh().state, waiting.refresh().state) == (State.QUEUED, State.QUEUED)
    assert running.job.retries_used == 0


def test_an_exception_may_ask_for_another_attempt(warm: Cli) -> None:
    with open(warm.cwd / "w.py", "a") as f:
        f.write(
            "from jobq import Fail, Retry, Snooze\ndef again(): raise Retry('x', after=0)\ndef fails(): raise Fail('no')\ndef snoozes():\n    if job()[1] == '1': raise Snooze(0)\n"
        )
    again, fails, snoozes = call(warm, "again", retries=2), call(warm, "fails", retries=2), call(warm, "snoozes")
    drain(warm, [])
    assert [len(job.refresh().attempts) for job in (again, fails, snoozes)] == [3, 1, 2]
    assert snoozes.result is None


def test_handlers_are_warm_and_functions_are_not_unless_somebody_says_so(warm: Cli) -> None:
    (warm.cwd / "h.py").write_text(
        "import os\nfrom jobq import handler\n@handler\ndef own(): return os.getpid()\n"
        "@handler(isolation='process')\ndef apart(): return os.getpid()\ndef plain(): return os.getpid()\n"
    )
    names = ["h:own", "h:own", "h:apart", "h:apart", "h:plain", "h:plain"]
    for name in names:
        warm("call", name)
    warm("worker", "--drain", "-j", "1")
    results = [warm.queue.get(n).result for n in range(1, 7)]
    assert results[0] == results[1]
    assert len(set(results)) == 5
    assert [warm.queue.job(n).spec.isolation for n in (1, 3, 5)] == ["warm", "process", "process"]
    (warm.cwd / ".jobq.toml").write_text('isolation = "warm"\n')
    warm("call", "h:plain")
    warm("call", "h:apart")
    assert [warm.queue.job(n).spec.isolation for n in (7, 8)] == ["warm", "process"]
    (warm.cwd / ".jobq.toml").write_text('isolation = "process"\n')
    warm("call", "h:own")
    assert warm.queue.job(9).spec.isolation == "process"


@pytest.mark.parametrize("option", [{"pty": True}, {"stdin": "/dev/null"}, {"stderr": "apart"}])
def test_a_call_with_special_streams_has_a_process_of_its_own(warm: Cli, option: dict[str, Any]) -> None:
    jobs = [call(warm, "pid", **option), call(warm, "pid", **option)]
    assert len(set(drain(warm, jobs))) == 2
