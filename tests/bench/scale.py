"""A million jobs in one store: the cost of each action."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from jobq.api import Queue
from jobq.store.transaction import Add
from tests.bench.measure import environment, jobq, peak_mib, share, size, timed, worker
from tests.conftest import wait_until

COUNT = 1_000_000
COMPACT = """
import resource, sys, time
from jobq import clock
from jobq.store import compaction
begun = time.perf_counter()
assert compaction.compact(sys.argv[1], clock.now())
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


class Prober(threading.Thread):
    """Adds a job again and again, and records the times: they show how long others hold the lock."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.times: list[float] = []
        self._queue = Queue(f"{folder}/store")
        self._over = threading.Event()

    def run(self) -> None:
        spec = self._queue.spec(queue="later")
        while not self._over.wait(0.005):
            self.times.append(timed(lambda: self._queue.store.append(Add(spec, ["true"]), time.time()), scale=1000))

    def stop(self) -> list[float]:
        """Stop adding; return the times in milliseconds."""
        self._over.set()
        self.join()
        return self.times


def million(folder: Path) -> Mapping[str, float]:
    """Add the jobs from a file, list, start a worker, drain a part, compact, while another thread adds jobs."""
    figures = {}
    lines = f"echo >> {folder}/ticks\n" * COUNT
    figures["add from a file"] = timed(lambda: jobq(folder, "add", "--from", "-", stdin=lines))
    figures["add one more"] = timed(lambda: jobq(folder, "add", "-q", "later", "true"), scale=1000)
    figures["list @"] = timed(lambda: jobq(folder, "list", "@"), scale=1000)
    prober = Prober(folder)
    begun = time.perf_counter()
    with worker(folder, "-j", "2", "-q", "default") as process:
        wait_until(lambda: size(folder / "ticks"), timeout=120)
        figures["worker's start to its first job"] = time.perf_counter() - begun
        prober.start()
        time.sleep(20.0)
        before, begun = size(folder / "ticks"), time.perf_counter()
        time.sleep(20.0)
        rate = (size(folder / "ticks") - before) / (time.perf_counter() - begun)
        figures["memory of the worker"] = peak_mib(process.pid)
        figures["rate beside adds"] = rate
    words = [sys.executable, "-c", COMPACT, f"{folder}/store"]
    done = subprocess.run(words, env=environment(folder), capture_output=True, text=True, check=True)
    figures["compaction"], figures["memory of it"] = map(float, done.stdout.split())
    times = prober.stop()
    figures["p99 of an add meanwhile"], figures["longest"] = share(times, 0.99), max(times)
    return figures
