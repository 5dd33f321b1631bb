"""Workers in the background: a process of its own for one, and its end."""

from __future__ import annotations

import os
import signal
import time

from jobq.rules.serving import LiveWorker
from jobq.store import presence
from jobq.store.folder import Folder
from jobq.supervisor.tree import read_stat, send

PAUSE = 0.05  # seconds between two looks whether a worker is gone


class Parting:
    """A fork: the new process has a session of its own, and its output goes to a file. `pid` is 0 there."""

    def __init__(self, log: int) -> None:
        """Fork. `log`: the descriptor for what the new process prints."""
        self._read, self._write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background job ignores it
            os.setsid()  # no terminal, so that its end is not ours
            os.chdir("/")
            null = os.open("/dev/null", os.O_RDONLY)
            for old, new in ((null, 0), (log, 1), (log, 2)):
                os.dup2(old, new)
            os.close(null)
        else:
            os.close(self._write)
        os.close(log)

    def tell_ready(self) -> None:
        """Tell the other process that all is well, from the new one."""
        os.write(self._write, b"!")
        os.close(self._write)

    def is_ready(self) -> bool:
        """Wait for the new process; return True once it is ready, False if it has ended instead."""
        try:
            return bool(os.read(self._read, 1))
        finally:
            os.close(self._read)


def close_inherited() -> None:
    """Close the descriptors that the caller has left open: a worker would keep its locks and pipes for ever."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def terminate(root: Folder, worker: LiveWorker) -> bool:
    """Send TERM to a live worker, and to no process that has its number since; return False if it is gone."""
    stat = read_stat(worker.pid)
    if not worker.pid or not presence.is_alive(root, worker.token):
        return False
    return send((worker.pid, stat[1]) if stat is not None else (-worker.pid, 0), signal.SIGTERM)


def wait_until_gone(root: Folder, worker: LiveWorker) -> None:
    """Return when the worker lives no more."""
    while presence.is_alive(root, worker.token):
        time.sleep(PAUSE)
