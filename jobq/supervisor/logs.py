"""The output of a job: a log that is not to grow without end, and the empty one of a job that said nothing."""

from __future__ import annotations

import os
import stat
import sys
import time

from jobq.supervisor.spawn import LOG_FLAGS
from jobq.system import is_open_nowhere_else, open_plain, punch_hole

LOG_LOOK = 1.0  # seconds between two looks at how long the log has become
LOG_BLOCK = 1 << 12  # bytes: holes consist of whole ones


class Log:
    """One job's log, of which its beginning and its latest part are kept.

    What lies between is made a hole in the file, which takes no room and moves nothing: the job goes on appending.
    """

    def __init__(self, path: str, fd: int, most: int, *, followed: bool = False) -> None:
        """`most` bytes are kept, and what a follower has not read; orders say how far it is."""
        self.path = path
        self.fd = fd
        self.head = most // 4 // LOG_BLOCK * LOG_BLOCK
        self.tail = most - self.head
        self.hole_end = self.head
        self.dropped = 0
        self.read_to = 0 if followed else sys.maxsize
        self.look_at = time.monotonic() + LOG_LOOK

    def trim(self) -> None:
        """Drop what is too much by now. Where the system can't, the log grows."""
        self.look_at = time.monotonic() + LOG_LOOK
        size = os.fstat(self.fd).st_size
        if size < self.hole_end:
            self.hole_end = self.head  # the job has truncated it
        end = min(size - self.tail, self.read_to) // LOG_BLOCK * LOG_BLOCK
        if end > self.hole_end and punch_hole(self.fd, self.hole_end, end - self.hole_end):
            self.dropped += end - self.hole_end
            self.hole_end = end

    def sizes(self) -> dict[str, int]:
        """As the end of the job records them."""
        return {"log_bytes": os.fstat(self.fd).st_size, "log_dropped": self.dropped}


class Logs:
    """Opens and closes the logs of one slot.

    Within a batch, the empty one of a job that said nothing is renamed to be the next one's: that costs a tenth of a
    new file, and leaves none behind for each silent job.
    """

    def __init__(self) -> None:
        self.empty: tuple[str, int] | None = None  # the path and the descriptor of the one to pass on

    def open(self, path: str) -> int:
        """The log at `path`, made, for us to look at. Raises OSError."""
        if self.empty is not None:
            old, log = self.empty
            self.empty = None
            try:
                same = os.path.samestat(os.stat(old, follow_symlinks=False), os.fstat(log))
                if same and not os.path.lexists(path):
                    os.rename(old, path)
                    return log
            except OSError:
                pass
            os.close(log)
        return open_plain(path, LOG_FLAGS | os.O_CREAT)

    def close(self, log: Log) -> dict[str, int]:
        """Its sizes. An empty one is passed on, if really nobody can write to it any more."""
        log.trim()
        sizes = log.sizes()
        if not sizes["log_bytes"] and is_open_nowhere_else(log.fd) and is_as_new(log.fd):
            self.empty = log.path, log.fd
        else:
            os.close(log.fd)
        return sizes

    def forget(self) -> None:
        """Pass nothing on: the job of the empty log is recorded, and its log is its own."""
        if self.empty is not None:
            os.close(self.empty[1])
            self.empty = None


def is_as_new(fd: int) -> bool:
    """Whether the file is empty, has one name, and the mode that we made it with."""
    status = os.fstat(fd)
    return (status.st_size, status.st_nlink, stat.S_IMODE(status.st_mode)) == (0, 1, 0o600)
