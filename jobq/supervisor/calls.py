"""K.calls: what a warm process has begun and finished of the calls that it was given. Those of a batch count from 0.

    0    number of the batch         by the supervisor
    8    limit                       by the supervisor, or whoever finds it dead
    16   call that has begun, or -1  by the process (python/host.py)
    24   RUNNING; KEEPING: it moves the output of the call to the log; OVER: it makes no more of this batch
    32   when it began (monotonic seconds)
    64   replies: a line of JSON for each finished call, in order; behind the last one may be older lines

The process writes that a call has begun before it reads the limit, and makes the call only if that is higher; else it
takes back that it has begun. Once a limit is written, what has not begun never does. Likewise it writes KEEPING before
it reads the limit and moves what the call has printed to its log; behind a limit right after this call, it leaves that
to the supervisor. Each is one small write(2) to a file: others see it whole, and in this order, and it is there if the
process dies.
"""

from __future__ import annotations

import errno
import json
import os
import struct

from jobq.supervisor.verdict import verdict
from jobq.system import open_plain

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

LIMIT, REPLIES = 8, 64  # offsets
SIZE = 1 << 18  # bytes; all are there from the start: to write over them needs no room on the disk
NUMBER, HEAD = struct.Struct("<q"), struct.Struct("<qqqqd")
RUNNING, KEEPING, OVER = 0, 1, 2
NONE = -1
NO_LIMIT = 1 << 40
MOST_READ = 1 << 16  # bytes at once
TOLD = ("status", "user_s", "system_s", "log_bytes", "result", "replaced")  # by the process, for the record of the end


class Begun:
    """The call that has begun last."""

    def __init__(self, index: int, doing: int, at: float) -> None:
        """`index` NONE: no call has; `at`: monotonic seconds."""
        self.index, self.doing, self.at = index, doing, at


class Calls:
    """The open file, and how far its replies are read."""

    def __init__(self, path: str, *, new: bool) -> None:
        """Open the file at `path`; make a `new` one, in the place of any other. Raises OSError."""
        self.path = path
        if new and os.path.lexists(path):
            os.unlink(path)
        self.fd = open_plain(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0))
        status = os.fstat(self.fd)
        self.file = [status.st_dev, status.st_ino]
        self.number = 0
        self.read_to = REPLIES
        try:
            if new and os.pwrite(self.fd, bytes(SIZE), 0) < SIZE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            if not new:
                self.number = HEAD.unpack(os.pread(self.fd, HEAD.size, 0))[0]
        except BaseException:
            os.close(self.fd)
            raise

    def begin(self, number: int) -> None:
        """Make the file ready for the batch of this number; the process has nothing to do. Raises OSError."""
        self.number, self.read_to = number, REPLIES
        os.pwrite(self.fd, HEAD.pack(number, NO_LIMIT, NONE, RUNNING, 0.0), 0)

    def stop(self, limit: int) -> Begun:
        """Let no call from `limit` on begin. Return the one that has begun last. Raises OSError."""
        os.pwrite(self.fd, NUMBER.pack(limit), LIMIT)
        return self.begun()

    def begun(self) -> Begun:
        """Return the call that has begun last. Raises OSError."""
        data = os.pread(self.fd, HEAD.size, 0)
        if len(data) < HEAD.size:  # somebody has cut it off
            return Begun(NONE, RUNNING, 0.0)
        return Begun(*HEAD.unpack(data)[2:])

    def replies(self) -> list[dict[str, Any]]:
        """Return the replies that have come since the last call of this. Raises OSError."""
        found: list[dict[str, Any]] = []
        count = -1
        while count < len(found):
            count = len(found)
            for line in os.pread(self.fd, MOST_READ, self.read_to).split(b"\n")[:-1]:
                try:
                    reply = json.loads(line)
                except ValueError:
                    return found
                if not isinstance(reply, dict) or reply.get("batch") != self.number:
                    return found
                found.append(reply)
                self.read_to += len(line) + 1
        return found

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def ending_of(reply: dict[str, Any], wall: float, clock: float) -> dict[str, Any]:
    """Return the ending that a reply tells; `wall` and `clock` (monotonic seconds): when the batch was handed over."""
    began = wall + reply["at"] - clock
    end = {name: reply[name] for name in TOLD if name in reply}
    end.update(outcome="exit", started_at=began, ended_at=began + reply["seconds"])
    if reply["status"]:
        end.update(verdict(reply["file"]))
    return end
