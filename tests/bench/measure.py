"""What is measured, and how: jobq on a store of its own, other programs in a folder of their own, one act at a time."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jobq.api import Queue
from tests.conftest import wait_until

ROOT = Path(__file__).resolve().parents[2]
JOBQ = [sys.executable, "-m", "jobq"]


class Contender(NamedTuple):
    """One program in a row: `measure` gets an empty folder and returns the figure."""

    name: str
    measure: Callable[[Path], float]


class Row(NamedTuple):
    """One comparison; the first contender is what the ratios are to."""

    name: str
    unit: str  # "ms", "s", "jobs/s", "MiB" ...
    contenders: list[Contender]
    runs: int = 5  # of each contender, at most


def environment(folder: Path) -> dict[str, str]:
    """For jobq on the store of the folder."""
    return os.environ | {"JOBQ_STORE": f"{folder}/store", "PYTHONPATH": str(ROOT)}


def jobq(folder: Path, *words: str, stdin: str = "", check: bool = True) -> None:
    """Run jobq to its end."""
    run(*JOBQ, *words, env=environment(folder), stdin=stdin, check=check)


def run(*words: str, env: dict[str, str] | None = None, stdin: str = "", check: bool = True) -> None:
    """Run any program to its end, its output thrown away."""
    subprocess.run(
        words, input=stdin, text=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=check
    )


def timed(act: Callable[[], object], *, scale: float = 1.0) -> float:
    """Seconds that the act takes, times `scale`."""
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * scale


def cpu(act: Callable[[], object]) -> float:
    """Milliseconds of CPU that the children of the act took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    act()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def fill(folder: Path, count: int, *, finished: bool = False) -> Queue:
    """A store with that many jobs, waiting or cancelled, added in this process."""
    queue = Queue(f"{folder}/store")
    for start in range(0, count, 100_000):
        queue.add_many(["true"] * min(100_000, count - start), queue.spec)
    if finished:
        for start in range(1, count + 1, 10_000):
            queue.cancel(range(start, min(start + 10_000, count + 1)))
    return queue


@contextlib.contextmanager
def worker(folder: Path, *words: str, stdout: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that listens, stopped at the end."""
    process = subprocess.Popen(
        [*JOBQ, "worker", *words],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
    )
    try:
        queue = Queue(f"{folder}/store")
        wait_until(queue.workers)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.wait()


def drain_rate(folder: Path, held: int, seconds: float) -> float:
    """Jobs a second that two slots finish while that many wait."""
    queue = fill(folder, held)
    with worker(folder, "-j", "2"):
        wait_until(lambda: any(True for _ in queue.finished()))
        before, begun = len(queue.jobs()), time.perf_counter()
        time.sleep(seconds)
        after, over = len(queue.jobs()), time.perf_counter()
    return (before - after) / (over - begun)


def peak_memory(folder: Path, held: int) -> float:
    """MiB that a worker has at most with that many jobs waiting, which it may not take."""
    fill(folder, held).store.close()
    with worker(folder, "-j", "2", "-q", "other") as process:
        time.sleep(2.0)  # it looks around, and would compact
        status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def wake_ups(command: list[str], folder: Path, seconds: float) -> float:
    """Voluntary context switches a second of a process, all of its threads, once it has settled."""
    process = subprocess.Popen(
        command, env=environment(folder), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(2.0)
        before = switches(process.pid)
        time.sleep(seconds)
        return (switches(process.pid) - before) / seconds
    finally:
        process.terminate()
        process.wait()


def switches(pid: int) -> int:
    """Voluntary context switches of all threads of a process so far."""
    return sum(
        int(path.read_text().partition("voluntary_ctxt_switches:")[2].split()[0])
        for path in Path(f"/proc/{pid}/task").glob("*/status")
    )


def noise() -> str:
    """The state of the machine: what starting /bin/true costs, and the load."""
    costs = sorted(timed(lambda: run("/bin/true"), scale=1000) for _ in range(100))
    load = os.getloadavg()[0]
    return f"starting /bin/true: median {statistics.median(costs):.1f} ms, p99 {costs[98]:.1f} ms; load {load:.1f}"
