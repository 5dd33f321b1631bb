"""A worker beside an application, for as long as that wants one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from jobq.errors import EngineBroken
from jobq.rules.serving import LiveWorker

START_S = 30.0  # seconds in which it has to be there
PAUSE = 0.01


@contextmanager
def working(
    path: str, live: Callable[[], Sequence[LiveWorker]], slots: int, queues: Sequence[str], stop_after: float
) -> Iterator[None]:
    """Run a worker process of the store at `path` while the block runs; it also stops if this process dies.

    At the end it starts no more jobs, waits `stop_after` seconds for those that run, and hands back the rest. Raises
    EngineBroken if it does not start.
    """
    options = [word for queue in queues for word in ("--queue", queue)]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobq", "--store", path, "worker", "-j", str(slots), *options,
         "--stop-after", f"{stop_after}s", "--parent", str(os.getpid())],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + START_S
        while process.pid not in {worker.pid for worker in live()}:
            if process.poll() is not None or time.monotonic() > until:
                raise EngineBroken(f"the worker did not start: {_last_words(process)}")
            time.sleep(PAUSE)
        yield
    finally:
        process.terminate()
        process.communicate()


def _last_words(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    told = process.communicate()[1].decode("utf-8", "replace").strip()
    return told.rpartition("\n")[2] or f"exit {process.returncode}"
