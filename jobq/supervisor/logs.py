"""The logs of jobs: their size is limited, and the empty log of a job that printed nothing is passed on."""

from __future__ import annotations

import os
import stat
import sys
import time

from jobq.supervisor.spawn import LOG_FLAGS
from jobq.system import is_open_nowhere_else, open_plain, punch_hole

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from jobq.supervisor.messages import JobMessage

LOG_LOOK = 1.0  # seconds between two checks of the size of a log
LOG_BLOCK = 1 << 12  # bytes: a hole consists of whole blocks


class Log:
    """The log of one job. Its beginning and its latest part are kept.

    The part between them becomes a hole in the file. It takes no space and moves no byte: the job goes on appending.
    """

    def __init__(self, path: str, fd: int, most: int, *, followed: bool = False) -> None:
        """Keep `most` bytes and, if it is `followed`, what its reader has not read; orders tell how far it has read."""
        self.path = path
        self.fd = fd
        self.head = most // 4 // LOG_BLOCK * LOG_BLOCK
        self.tail = most - self.head
        self.hole_end = self.head
        self.dropped = 0
        self.read_to = 0 if followed else sys.maxsize
        self.look_at = time.monotonic() + LOG_LOOK
        self.errors: Log | None = None  # the log of stderr, if that is kept apart

    def trim(self) -> None:
        """Drop the bytes that exceed the limit. Where the system can't make holes, the log grows."""
        self.look_at = time.monotonic() + LOG_LOOK
        size = os.fstat(self.fd).st_size
        if size < self.hole_end:
            self.hole_end = self.head  # the job has truncated it
        end = min(size - self.tail, self.read_to) // LOG_BLOCK * LOG_BLOCK
        if end > self.hole_end and punch_hole(self.fd, self.hole_end, end - self.hole_end):
            self.dropped += end - self.hole_end
            self.hole_end = end
        if self.errors is not None:
            self.errors.trim()

    def mark_read(self, end: int, *, stderr: bool) -> None:
        """Note that its follower (or that of stderr) has it up to this byte."""
        log = self.errors if stderr else self
        if log is not None:
            log.read_to = end

    def size(self) -> int:
        """Return the bytes that were printed."""
        return os.fstat(self.fd).st_size + (self.errors.size() if self.errors is not None else 0)

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes, as the ending of the job records them."""
        return {"log_bytes": os.fstat(self.fd).st_size, "log_dropped": self.dropped}


class Logs:
    """The logs of one slot.

    Within a batch, the empty log of a job that printed nothing is renamed for the next job. That costs a tenth of a new
    file, and no file stays behind for each silent job.
    """

    def __init__(self) -> None:
        self.empty: tuple[str, int] | None = None  # the path and the descriptor of the log to pass on

    def make(self, job: JobMessage) -> Log:
        """Make the log of a job, and that of its stderr if it is kept apart. Raises OSError."""
        log = Log(job["log"], self._open(job["log"]), job["log_max"], followed=job.get("followed", False))
        path = job.get("stderr")
        if path and job.get("apart"):
            try:
                fd = open_plain(path, LOG_FLAGS | os.O_CREAT)
                log.errors = Log(path, fd, job["log_max"], followed=job.get("followed", False))
            except OSError:
                self.close(log)
                raise
        return log

    def _open(self, path: str) -> int:
        """Make the log at `path`; return the supervisor's own descriptor of it. Raises OSError."""
        if self.empty is not None:
            old, log = self.empty
            self.empty = None
            try:
                status = os.fstat(log)
                same = os.path.samestat(os.stat(old, follow_symlinks=False), status)
                if same and not status.st_size and not os.path.lexists(path):
                    os.rename(old, path)
                    return log
            except OSError:
                pass
            os.close(log)
        return open_plain(path, LOG_FLAGS | os.O_CREAT)

    def close(self, log: Log) -> dict[str, int]:
        """Close the log; return its sizes. Keep an empty one, to pass it on, if nobody can write to it any more."""
        log.trim()
        if log.errors is not None:
            close_errors(log.errors)
        sizes = log.sizes()
        if self.empty is None and not sizes["log_bytes"] and is_open_nowhere_else(log.fd) and is_as_new(log.fd):
            self.empty = log.path, log.fd
        else:
            os.close(log.fd)
        return sizes

    def forget(self) -> None:
        """Keep no log to pass on: the job of the empty log is recorded, and the log must stay with it."""
        if self.empty is not None:
            os.close(self.empty[1])
            self.empty = None


def close_errors(log: Log) -> None:
    """Close a log of stderr; delete it if it is empty."""
    try:
        if not log.size() and os.path.samestat(os.lstat(log.path), os.fstat(log.fd)):
            os.unlink(log.path)
    except OSError:
        pass  # it is removed with the job
    os.close(log.fd)


def is_as_new(fd: int) -> bool:
    """Return True if the file is empty, has one name, and still has the mode that it was made with."""
    status = os.fstat(fd)
    return (status.st_size, status.st_nlink, stat.S_IMODE(status.st_mode)) == (0, 1, 0o600)
