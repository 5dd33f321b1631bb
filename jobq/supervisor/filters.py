"""Filters: processes such as tee(1) that write the rest of a job's output after the main process has ended."""

from __future__ import annotations

import os
import stat

from jobq.supervisor.tree import read_stat

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from jobq.supervisor.tree import Process


def may_be_filter(process: Process, log: os.stat_result) -> bool | None:
    """Tell whether the process has the log open, and a pipe or socket to read from; None if the pipe holds unread data.

    True if that can't be seen and the process still exists.
    """
    holds_log = has_pipe = unread = False
    folder = f"/proc/{process[0]}/fd"
    try:
        for name in os.listdir(folder):
            try:
                status = os.stat(f"{folder}/{name}")
            except OSError:
                continue
            holds_log |= os.path.samestat(status, log)
            has_pipe |= stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)
            unread = unread or (stat.S_ISFIFO(status.st_mode) and holds_unread(f"{folder}/{name}"))
    except OSError:
        return process[0] < 0 or read_stat(process[0]) is not None
    return None if holds_log and unread else holds_log and has_pipe


def holds_unread(pipe: str) -> bool:
    """Return True if the pipe holds unread data; False if that can't be seen."""
    import fcntl  # noqa: PLC0415  # hardly ever needed
    import termios  # noqa: PLC0415

    try:
        fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) != bytes(4)
    except OSError:
        return False
    finally:
        os.close(fd)
