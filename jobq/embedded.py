"""A worker beside an application, for as long as that wants one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jobq.errors import EngineBroken
from jobq.workers import Workers

START_S = 30.0  # seconds in which it has to be there
PAUSE = 0.01


@contextmanager
def working(path: str, workers: Workers, slots: int, queues: Sequence[str], stop_after: float) -> Iterator[None]:
    """Run a worker process of the store at `path` while the block runs; it also stops if this process dies.

    At the end it starts no more jobs, waits `stop_after` seconds for those that run, and hands back the rest. What it
    prints goes to the log of workers in the background. Raises EngineBroken if it does not start, NotSaved.
    """
    log = workers.open_log()
    options = [word for queue in queues for word in ("--queue", queue)]
    try:
        process = subprocess.Popen(
        [sys.executable, "-P", "-m", "jobq", "--store", path, "worker", "-j", str(slots), *options,
         "--stop-after", f"{stop_after}s", "--parent", str(os.getpid())],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    finally:
        os.close(log)
    try:
        until = time.monotonic() + START_S
        while process.pid not in {worker.pid for worker in workers.all()}:
            if process.poll() is not None or time.monotonic() > until:
                raise EngineBroken("the worker did not start", "'jobq worker log --tail 5' shows why")
            time.sleep(PAUSE)
        yield
    finally:
        process.terminate()
        process.wait()
