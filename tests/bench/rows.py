"""The rows of the table: jobq, the best programs for the same work, and the least that a C program needs."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from jobq.api import Queue
from jobq.options.request import call_command
from tests.bench.measure import (
    Contender,
    Row,
    Session,
    cpu,
    drain_rate,
    fill,
    floor,
    idle,
    jobq,
    jobq_words,
    peak_mib,
    run,
    share,
    size,
    timed,
    worker,
)
from tests.bench.peers import Peer
from tests.bench.scale import million
from tests.conftest import wait_until

TICK = "def tick(path):\n    open(path, 'a').write('\\n')\n"


# -- the contenders ----------------------------------------------------------------------------------


def drain_jobq(count: int) -> Callable[[Path], float]:
    """Seconds from start to exit of a worker that runs all jobs; they are added before."""

    def measure(folder: Path) -> float:
        fill(folder, count, line=f"echo >> {folder}/ticks").store.close()
        took = timed(lambda: jobq(folder, "worker", "--drain", "-j", "2"))
        assert size(folder / "ticks") == count
        return took

    return measure


def drain_peer(peer: Peer, count: int, redis: str) -> Callable[[Path], float]:
    """Seconds of a runner from start to exit, or of a library's worker from start to the last job, enqueued before."""

    def measure(folder: Path) -> float:
        session = Session(peer, folder, redis)
        line = f"echo >> {session.ticks}"
        if peer.run:
            (folder / "list").write_text(f"{line}\n" * count)
            session.shell(peer.prepare or "true")
            took = timed(lambda: session.shell(peer.run))
            wait_until(lambda: size(session.ticks) >= count)
            session.shell(peer.end or "true")
            return took
        session.put("command", line, count)
        begun = time.perf_counter()
        with session.worker():
            wait_until(lambda: size(session.ticks) >= count, timeout=300)
            return time.perf_counter() - begun

    return measure


def drain_floor(count: int) -> Callable[[Path], float]:
    """Seconds of a loop in C that runs the lines, two at a time."""
    return lambda folder: timed(lambda: run(floor() or "", "spawn", str(count), f"echo >> {folder}/ticks"))


def functions_jobq(count: int, isolation: str) -> Callable[[Path], float]:
    """Calls per second of a drain."""

    def measure(folder: Path) -> float:
        (folder / "bench_tick.py").write_text(TICK)
        queue = Queue(f"{folder}/store")
        call = call_command("bench_tick:tick", [f"{folder}/ticks"], {}, sys.executable)
        queue.add_many([call] * count, lambda: queue.spec(cwd=str(folder), isolation=isolation))
        took = timed(lambda: jobq(folder, "worker", "--drain", "-j", "2"))
        assert size(folder / "ticks") == count
        return count / took

    return measure


def functions_peer(peer: Peer, count: int, redis: str) -> Callable[[Path], float]:
    """Calls per second of a library's worker, which keeps its processes."""

    def measure(folder: Path) -> float:
        session = Session(peer, folder, redis)
        session.put("function", str(session.ticks), count)
        begun = time.perf_counter()
        with session.worker():
            wait_until(lambda: size(session.ticks) >= count, timeout=300)
            return count / (time.perf_counter() - begun)

    return measure


def add_jobq(held: int, *options: str) -> Callable[[Path], float]:
    """Milliseconds of the whole `jobq add` while `held` jobs wait; its environment has not been captured if -e sets it."""

    def measure(folder: Path) -> float:
        if held:
            fill(folder, held).store.close()
        jobq(folder, "add", "true")  # captures the environment
        return timed(lambda: jobq(folder, "add", *options, "true"), scale=1000)

    return measure


def start(*words: str) -> Contender:
    """Milliseconds of a command on a store that holds one job."""

    def measure(folder: Path) -> float:
        jobq(folder, "add", "true")
        return timed(lambda: jobq(folder, *words), scale=1000)

    return Contender(" ".join(["jobq", *words]), measure)


def add_peer(peer: Peer, redis: str) -> Callable[[Path], float]:
    """Milliseconds of the peer's command, or of a script that enqueues one job."""

    def measure(folder: Path) -> float:
        session = Session(peer, folder, redis)
        if peer.app:
            return timed(lambda: session.put("command", "true"), scale=1000)
        session.shell(peer.prepare or "true")
        words = peer.add.split()
        run(*words, "sleep 0.3", env=session.env)
        took = timed(lambda: run(*words, "true", env=session.env), scale=1000)
        session.shell(peer.end or "true")
        return took

    return measure


def cpu_of_add(folder: Path) -> float:
    """Milliseconds of CPU: other work on the machine changes them little."""
    jobq(folder, "add", "true")
    return cpu(lambda: jobq(folder, "add", "true"))


def bulk_jobq(count: int) -> Callable[[Path], float]:
    """Jobs per second of one `jobq add --from`, the whole process."""
    lines = "true\n" * count
    return lambda folder: count / timed(lambda: jobq(folder, "add", "--from", "-", stdin=lines))


def bulk_peer(peer: Peer, count: int, redis: str) -> Callable[[Path], float]:
    """Jobs per second of one process that enqueues them one by one."""

    def measure(folder: Path) -> float:
        session = Session(peer, folder, redis)
        return count / timed(lambda: session.put("command", "true", count))

    return measure


def bulk_floor(folder: Path) -> float:
    """Lines per second of a C program: one write, one sync."""
    return 100_000 / timed(lambda: run(floor() or "", "bulk", "100000", f"{folder}/q"))


def list_jobq(count: int, *words: str, finished: bool) -> Callable[[Path], float]:
    """Milliseconds of the whole `jobq list`."""

    def measure(folder: Path) -> float:
        fill(folder, count, finished=finished).store.close()
        return timed(lambda: jobq(folder, "list", *words), scale=1000)

    return measure


def dispatch_jobq(folder: Path) -> Mapping[str, float]:
    """Milliseconds until an idle worker of jobq starts a job."""
    with worker(folder, "-j", "1"):
        return dispatch(folder, lambda line: jobq(folder, "add", line))


def dispatch_peer(peer: Peer, redis: str) -> Callable[[Path], Mapping[str, float]]:
    """Milliseconds until a spooler, or a library's idle worker, starts a job."""

    def measure(folder: Path) -> Mapping[str, float]:
        session = Session(peer, folder, redis)
        if peer.app:
            with session.worker():
                session.put("command", f"echo >> {session.ticks}")
                wait_until(lambda: size(session.ticks))
                return dispatch(folder, lambda line: session.put("command", line))
        session.shell(peer.prepare or "true")
        took = dispatch(folder, lambda line: run(*peer.add.split(), line, env=session.env))
        session.shell(peer.end or "true")
        return took

    return measure


def dispatch_floor(folder: Path) -> Mapping[str, float]:
    """Milliseconds until a C program that waits at a FIFO starts a job."""
    os.mkfifo(folder / "fifo")
    server = threading.Thread(
        target=run, args=(floor() or "", "serve", f"{folder}/fifo"), kwargs={"check": False}, daemon=True
    )
    server.start()
    fd = os.open(folder / "fifo", os.O_RDWR)
    took = dispatch(folder, lambda line: os.write(fd, f"{line}\n".encode()))
    os.write(fd, b"kill -9 $PPID\n")
    server.join()
    os.close(fd)
    return took


def dispatch(folder: Path, add: Callable[[str], object]) -> Mapping[str, float]:
    """Return medians of 20 in ms: from the return of `add`, and from its start, to the job's first instruction."""
    stamps = folder / "stamps"
    line = f"date +%s.%N >> {stamps}"
    from_return, from_start = [], []
    for n in range(20):
        time.sleep(0.05)  # the worker is idle again
        started = time.time()
        add(line)
        returned = time.time()
        wait_until(lambda n=n: size(stamps) and len(stamps.read_text().split()) > n)
        first = float(stamps.read_text().split()[n])
        from_return.append((first - returned) * 1000)
        from_start.append((first - started) * 1000)
    return {"from its return": share(from_return, 0.5), "from its start": share(from_start, 0.5)}


def contend(adders: int, workers: int) -> Callable[[Path], Mapping[str, float]]:
    """Rate and times of 200 adds by so many adders, while workers run the jobs; seconds until all have run."""

    def measure(folder: Path) -> Mapping[str, float]:
        fill(folder, 1).store.close()
        jobq(folder, "add", "true")
        times: list[float] = []
        ended: list[float] = []

        def adding(count: int) -> None:
            times.extend(timed(lambda: jobq(folder, "add", "true"), scale=1000) for _ in range(count))
            ended.append(time.perf_counter())

        with contextlib.ExitStack() as stack:
            for _ in range(workers):
                stack.enter_context(worker(folder, "-j", "2"))
            threads = [threading.Thread(target=adding, args=(200 // adders,)) for _ in range(adders)]
            begun = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wait_until(lambda: not Queue(f"{folder}/store").jobs())
            over = time.perf_counter()
        return {
            "adds a second": 200 / (max(ended) - begun),
            "p50": share(times, 0.5),
            "p99": share(times, 0.99),
            "longest": max(times),
            "all run after": over - begun,
        }

    return measure


def peak_memory(folder: Path, held: int) -> float:
    """Return the peak memory of a worker in MiB while `held` jobs wait; it runs a thousand of them."""
    fill(folder, held, line=f"echo >> {folder}/ticks").store.close()
    with worker(folder, "-j", "2") as process:
        wait_until(lambda: size(folder / "ticks") > min(held, 1000) - 1)
        return peak_mib(process.pid)


# -- the table ---------------------------------------------------------------------------------------


def rows(peers: list[Peer], redis: str, *, scale: bool) -> list[Row]:
    """Return every comparison; `scale` adds those with a million jobs."""
    python = os.path.dirname(jobq_words()[0]) + "/python"

    def of(
        make: Callable[..., Callable[[Path], object]], wanted: Callable[[Peer], object], *args: object
    ) -> list[Contender]:
        return [Contender(peer.name, make(peer, *args, redis)) for peer in peers if wanted(peer)]  # type: ignore[arg-type]

    def at_least(name: str, measure: Callable[[Path], object]) -> list[Contender]:
        return [Contender(f"floor: {name}", measure)] if floor() else []  # type: ignore[arg-type]

    def bare(code: str) -> Contender:
        return Contender(f"python -c '{code}'", lambda _f: timed(lambda: run(python, "-c", code), scale=1000))

    quick = {"xargs -P2 sh -c", "task-spooler", "litequeue", "huey, file store"}
    held = [1_000, 10_000, 100_000, *([1_000_000] if scale else [])]
    return [
        Row("drain 1,000 shell jobs, two at a time", "s", [
            Contender("jobq worker --drain -j 2", drain_jobq(1000)),
            *of(drain_peer, lambda peer: peer.run or peer.app, 1000),
            *at_least("a loop in C", drain_floor(1000)),
        ], runs=3),
        Row("drain 10,000", "s", [
            Contender("jobq worker --drain -j 2", drain_jobq(10_000)),
            *of(drain_peer, lambda peer: peer.name in quick, 10_000),
            *at_least("a loop in C", drain_floor(10_000)),
        ], runs=3),
        Row("two slots, by number of waiting jobs: attempts, memory", "/s, MiB", [
            Contender(f"{n:,} of all kinds", lambda f, n=n: drain_rate(f, n, min(5.0, n / 2500))) for n in held
        ], runs=3),
        Row("functions of Python", "jobs/s", [
            Contender("jobq, warm processes", functions_jobq(10_000, "warm")),
            Contender("jobq, a process each", functions_jobq(60, "process")),
            *of(functions_peer, lambda peer: peer.app, 2000),
        ], runs=3),
        Row("add one job, whole process", "ms", [
            Contender("jobq add, nothing held", add_jobq(0)),
            Contender("jobq add, 100,000 held", add_jobq(100_000)),
            Contender("jobq add, with options", add_jobq(0, "-p5", "--retries=0", "-qnight")),
            Contender("jobq add, a new environment", add_jobq(0, "-eSEED=1")),
            bare("pass"),
            bare("import typer"),
            *of(add_peer, lambda peer: peer.add or peer.app),
            *at_least("a line in C", lambda f: timed(lambda: run(floor() or "", "append", f"{f}/q"), scale=1000)),
        ], runs=9),
        Row("start of other commands", "ms", [
            bare("pass"), start("--version"), start("list"), start("list", "--json"), start(),
        ], runs=9),
        Row("CPU of one add", "ms", [
            Contender("jobq add", cpu_of_add),
            Contender("python -c 'pass'", lambda _f: cpu(lambda: run(python, "-c", "pass"))),
        ], runs=15),
        Row("add 100,000 jobs from a file", "jobs/s", [
            Contender("jobq add --from", bulk_jobq(100_000)),
            *of(bulk_peer, lambda peer: peer.app, 3000),
            *at_least("one write, one sync", bulk_floor),
        ], runs=3),
        Row("list", "ms", [
            Contender("100 finished", list_jobq(100, finished=True)),
            Contender("100,000 finished", list_jobq(100_000, finished=True)),
            Contender("100 waiting, list @", list_jobq(100, "@", finished=False)),
            Contender("100,000 waiting, list @", list_jobq(100_000, "@", finished=False)),
        ], runs=3),
        Row("add to the job's first instruction, idle worker", "ms, ms", [
            Contender("jobq", dispatch_jobq),
            *of(dispatch_peer, lambda peer: peer.add or peer.app),
            *at_least("a FIFO in C", dispatch_floor),
        ], runs=3),
        Row("memory of a worker, at most", "MiB", [
            Contender(f"{n:,} waiting", lambda f, n=n: peak_memory(f, n)) for n in (1, *held[2:])
        ], runs=1),
        Row("nothing to do: per second", "times, ms", [
            Contender("idle worker", lambda f: idle(f, "worker", "-q", "other")),
            Contender("idle worker, live table", lambda f: idle(f, "worker", "-q", "other", terminal=True)),
            Contender("worker with one long job, live table", lambda f: idle(f, "worker", terminal=True)),
            Contender("wait", lambda f: idle(f, "wait", "1")),
            Contender("log -f", lambda f: idle(f, "log", "-f", "1")),
        ], runs=1),
        *[
            Row(f"200 adds beside workers: {a} adders", "/s, ms, ms, ms, s", [
                Contender(f"{w} workers", contend(a, w)) for w in (1, 2, 4)
            ], runs=1)
            for a in (1, 8, 50)
        ],
        *([Row("a million jobs", "s, ms, ms, s, MiB, /s, s, MiB, ms, ms", [Contender("jobq", million)], runs=1)] if scale else []),
    ]  # fmt: skip
