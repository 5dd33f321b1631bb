"""The file in which a warm process notes what it does with a batch of calls; supervisor/calls.py is the other side.

Standard library only, oldest Python 3.7, as for host.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from time import monotonic, sleep

from . import traces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT, STATE, REPLIES = 8, 16, 64  # offsets in the file of calls; see supervisor/calls.py
FULL = (1 << 18) - (1 << 15)  # ... behind which there may be no room for another reply
NUMBER, BEGUN = struct.Struct("<q"), struct.Struct("<qqd")
RUNNING, KEEPING, OVER = 0, 1, 2
HIGH = 800  # descriptors of our own begin here, if so many are allowed: functions close, or use, low ones
PAUSE = 0.5  # seconds between two tries to write where there is no room


def out_of_the_way(fd: int) -> int:
    """Move a descriptor of our own to a high number."""
    try:
        high: int = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH)
    except (OSError, ValueError):  # so many are not allowed
        return fd
    os.close(fd)
    return high


class Calls:
    """This side of the file of calls."""

    def __init__(self, path: str, patient: tuple[int, ...]) -> None:
        """`patient`: errors of a write after which to try again."""
        self.path = path
        self.patient = patient
        self.batch, self.at, self.end = 0, 0.0, REPLIES
        self.fd = -1
        self.file: tuple[int, int] | None = None
        self.open()

    def open(self) -> None:
        """Open the file, for the first time, or because a function has closed it."""
        self.fd = out_of_the_way(os.open(self.path, os.O_RDWR | os.O_NOFOLLOW))
        self.file = traces.file_of(self.fd)

    def check(self) -> None:
        """Make sure that the descriptor is still ours: a function may have closed it, and opened a file of its own."""
        if traces.file_of(self.fd) != self.file:
            self.open()

    def begin(self, index: int) -> bool:
        """Note that a call begins. Return False if it must not."""
        self.at = monotonic()
        self.note(index, RUNNING)
        if self.limit() > index:
            return True
        self.note(index - 1, RUNNING)
        return False

    def note(self, index: int, doing: int) -> None:
        """Note the call that has begun last, and what is done with it."""
        os.pwrite(self.fd, BEGUN.pack(index, doing, self.at), STATE)

    def limit(self) -> int:
        """Return the call from which on none may begin."""
        return int(NUMBER.unpack(os.pread(self.fd, NUMBER.size, LIMIT))[0])

    def reply(self, reply: dict[str, Any]) -> None:
        """Note how a call has ended; wait for room on the disk if need be: it must not be made again."""
        reply.update(batch=self.batch, at=self.at, seconds=round(monotonic() - self.at, 6))
        data = json.dumps(reply).encode("ascii") + b"\n"
        while True:
            try:
                if os.pwrite(self.fd, data, self.end) == len(data):
                    break
            except OSError as e:
                if e.errno not in self.patient:
                    raise
            sleep(PAUSE)
        self.end += len(data)
