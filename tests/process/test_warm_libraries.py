"""What functions do with threads, processes and signals: each call ends as what it is, warm or not."""

from __future__ import annotations

from typing import Any

import pytest

from jobq import JobHandle
from jobq.job import Outcome, State
from tests.conftest import Cli
from tests.helpers.processes import marked

MODULE = """
import asyncio, atexit, concurrent.futures, faulthandler, logging, multiprocessing, os, queue, signal, subprocess, sys, threading, time

def square(n): return n * n

def thread_pool():
    with concurrent.futures.ThreadPoolExecutor(4) as pool: return sum(pool.map(square, range(10)))
def thread_pool_left():
    pool = concurrent.futures.ThreadPoolExecutor(2); return pool.submit(square, 3).result()
def process_pool(method):
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool: return sum(pool.map(square, range(4)))
def old_pool(method):
    with multiprocessing.get_context(method).Pool(2) as pool: return sum(pool.map(square, range(4)))
def fork_with_threads():
    stop = threading.Event(); other = threading.Thread(target=stop.wait); other.start()
    process = multiprocessing.get_context("fork").Process(target=square, args=(3,)); process.start(); process.join(); stop.set(); other.join()
    return process.exitcode
def process_left():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)).start(); return 1
def daemon_process():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True).start(); return 1
def loop():
    async def inner():
        await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(20))); return len(asyncio.all_tasks())
    return asyncio.run(inner())
async def left_task():
    asyncio.ensure_future(asyncio.sleep(600)); return 5
def shell(): return subprocess.run("echo out; exit 3", shell=True).returncode
def pipe(): return subprocess.run(["cat"], input=b"x" * 300000, stdout=subprocess.PIPE).stdout.count(b"x")
def at_exit(): atexit.register(lambda: open("at_exit", "a").write("ran\\n")); return 1
def logs():
    logging.basicConfig(stream=sys.stderr, force=True); logging.getLogger("x").warning("hello"); return 1
def alarm():
    old = signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
    signal.signal(signal.SIGALRM, old); return 1
def ignores_term(): signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)
def thread_raises():
    thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join(); return 1
def thread_exits():
    threading.Thread(target=lambda: os._exit(7)).start(); time.sleep(600)
def waits_for_lock():
    lock = threading.Lock(); lock.acquire(); lock.acquire()
def recursion():
    def f(n): return f(n + 1)
    return f(0)
def generator(): yield 1
def asserts(): assert 1 == 2, "no"
def interrupt(): raise KeyboardInterrupt
def closes(): os.close(1); os.close(2); return 1
def uses_stdin(): return input()
def pid(): return os.getpid()
"""
CALLS: list[tuple[str, list[Any], Any]] = [  # function, arguments -> its result, or its exit code as text
    ("thread_pool", [], 285), ("thread_pool_left", [], 9),
    *[(name, [method], 14) for name in ("process_pool", "old_pool") for method in ("fork", "spawn", "forkserver")],
    ("fork_with_threads", [], 0), ("process_left", [], 1), ("daemon_process", [], 1), ("loop", [], 1), ("left_task", [], 5),
    ("shell", [], 3), ("pipe", [], 300000), ("at_exit", [], 1), ("logs", [], 1), ("alarm", [], 1), ("thread_raises", [], 1),
    ("thread_exits", [], "7"), ("recursion", [], "1"), ("generator", [], "1"), ("asserts", [], "1"), ("interrupt", [], "1"),
    ("closes", [], 1), ("uses_stdin", [], "1"),
]  # fmt: skip


@pytest.mark.parametrize("isolation", ["warm", "process"])
def test_every_call_ends_as_what_it_is(cli: Cli, isolation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cli.cwd)
    (cli.cwd / "m.py").write_text(MODULE)
    add = cli.queue.call

    def one(name: str, *args: Any) -> JobHandle[Any]:
        return add(f"m:{name}", args, isolation=isolation, retries=0, timeout=60)

    # Python itself waits for such a process before it exits: a warm one does not exit, and the process is ended.
    asked = [call for call in CALLS if isolation == "warm" or call[0] != "process_left"]
    jobs = [(name, expected, one(name, *args), one("pid")) for name, args, expected in asked]
    deaf = add("m:ignores_term", timeout=0.5, grace=0.3, isolation=isolation, retries=0)
    stuck = add("m:waits_for_lock", timeout=0.5, isolation=isolation, retries=0)
    last = one("pid")
    cli("worker", "--drain", "-j", "2", code=1)
    for name, expected, job, after in jobs:
        job.refresh()
        found = job.result if job.state is State.SUCCEEDED else str(job.exit_code)
        assert found == expected, name
        assert after.refresh().state is State.SUCCEEDED, name
    for ended in (deaf, stuck):
        ending = ended.refresh().ending
        assert ending is not None
        assert ending.outcome is Outcome.TIMEOUT
    assert last.refresh().state is State.SUCCEEDED
    if isolation == "process":  # a warm process may be ended by a later call
        assert (cli.cwd / "at_exit").read_text() == "ran\n"
    assert marked(cli.store) == []
    logged = next(job.id for name, _, job, _ in jobs if name == "logs")
    assert cli("log", str(logged)).stdout == "WARNING:x:hello\n"
