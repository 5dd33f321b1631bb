"""K.ends: the file in which a supervisor records what happened, read when its worker or the supervisor has died.

Each line is JSON that ends in the CRC-32 of the bytes before it, as in the journal.
"""

from __future__ import annotations

import json
import os
import select

from jobq.sealed import seal
from jobq.system import is_file_at, open_plain

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

UNRECORDED = {"outcome": "spawn_error", "error": "the start can't be recorded", "counted": False}
ENDS_LIMIT = 1 << 16  # bytes that may stay although the worker has recorded them
FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND
ENCODER = json.JSONEncoder(separators=(",", ":"))


def line_of(record: dict[str, Any]) -> bytes:
    """Return the record as a line with its checksum."""
    return seal(ENCODER.encode(record)[:-1].encode("ascii"))


class Endings:
    """The open file."""

    def __init__(self, path: str) -> None:
        """Open the file at `path`, or make it. Raises OSError."""
        self.path = path
        self.fd = open_plain(path, FLAGS)
        self.unsaved: list[bytes] = []  # endings that could not be written
        self.patch = b""  # ends a line that may be torn

    def save(self, line: bytes) -> bool:
        """Append the line, whole or not at all. Return True if it was written."""
        try:
            before = os.fstat(self.fd).st_size
            if os.write(self.fd, self.patch + line) == len(self.patch + line):
                self.patch = b""
                return True
            os.ftruncate(self.fd, before)
        except OSError:
            self.patch = b"\n"  # a part of the line may be in the file
        return False

    def save_end(self, line: bytes) -> None:
        """Append the line, or keep it for `save_rest` if it can't be written now."""
        if not self.save(line):
            self.unsaved.append(line)

    def save_rest(self) -> None:
        """Write the kept lines; wait as long as the disk is full, as they are the only copy of the endings."""
        for line in self.unsaved:
            while not self.save(line):
                select.select([], [], [], 1.0)

    def mend(self) -> None:
        """Write the file again, with its content, if it was removed or replaced. Raises OSError."""
        if is_file_at(self.fd, self.path):
            return
        folder, _, name = self.path.rpartition("/")
        new = f"{folder}/.{name}"
        if os.path.lexists(new):
            os.unlink(new)  # left by a try that was cut short
        fd = open_plain(new, FLAGS | os.O_EXCL)
        try:
            data = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)  # it may hold the start of a job that must never run twice
            os.rename(new, self.path)
        except OSError:
            os.close(fd)
            raise
        os.close(self.fd)
        self.fd = fd

    def sync(self) -> bool:
        """Sync the file, lest a power cut loses the start of a job that must never run twice. Return True if synced."""
        try:
            os.fsync(self.fd)
        except OSError:
            return False
        return True

    def recorded(self) -> None:
        """Drop the kept lines, and empty a file past ENDS_LIMIT: the worker has recorded all of it."""
        self.unsaved.clear()
        try:
            if os.fstat(self.fd).st_size > ENDS_LIMIT:
                os.ftruncate(self.fd, 0)
        except OSError:
            pass  # the next call tries again
