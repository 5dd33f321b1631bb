"""Workers in the background: a process of its own for one, its output, its end."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from jobq.errors import NotSaved
from jobq.rules.serving import LiveWorker
from jobq.store import presence, worker_log
from jobq.store.folder import Folder

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
        with suppress(BrokenPipeError):  # it was killed meanwhile
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


def keep_log_short(root: Folder) -> None:
    """Let the output of this process go on in a new file, if the one it goes to is long enough and there is room."""
    if not worker_log.is_over(1):
        return
    try:
        log = worker_log.open_log(root)
    except NotSaved:
        return  # it is more than it should be, but the worker goes on
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def wait_until_gone(root: Folder, worker: LiveWorker) -> None:
    """Return when the worker lives no more."""
    while presence.is_alive(root, worker.token):
        time.sleep(PAUSE)
