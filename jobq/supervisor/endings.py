"""K.ends, the file in which a supervisor notes what happened, for whoever asks after its worker's death or its own.

A line is JSON that ends in the CRC-32 of what is before it, as in the journal.
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

ENDS_LIMIT = 1 << 16  # bytes that are kept although the worker has recorded them
FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND
ENCODER = json.JSONEncoder(separators=(",", ":"))


def line_of(record: dict[str, Any]) -> bytes:
    """The record as a line with its checksum."""
    return seal(ENCODER.encode(record)[:-1].encode("ascii"))


class Endings:
    """The file."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self.path = path
        self.fd = open_plain(path, FLAGS)
        self.unsaved: list[bytes] = []  # ends that the disk did not take
        self.patch = b""  # what ends a line that may be torn

    def save(self, line: bytes) -> bool:
        """Append it, whole or not at all; whether it is there."""
        try:
            before = os.fstat(self.fd).st_size
            if os.write(self.fd, self.patch + line) == len(self.patch + line):
                self.patch = b""
                return True
            os.ftruncate(self.fd, before)
        except OSError:
            self.patch = b"\n"  # something of it may be there
        return False

    def save_end(self, line: bytes) -> None:
        """Append it; one that the disk does not take now is kept for `save_rest`."""
        if not self.save(line):
            self.unsaved.append(line)

    def save_rest(self) -> None:
        """Return when everything is there, however long the disk is full: it is the only copy of a result."""
        for line in self.unsaved:
            while not self.save(line):
                select.select([], [], [], 1.0)

    def mend(self) -> None:
        """Write it anew, as it is, if the file at its path is not this one any more. Raises OSError."""
        if is_file_at(self.fd, self.path):
            return
        folder, _, name = self.path.rpartition("/")
        new = f"{folder}/.{name}"
        if os.path.lexists(new):
            os.unlink(new)  # of a try that was cut short
        fd = open_plain(new, FLAGS | os.O_EXCL)
        try:
            data = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)  # the start of a job that must never run twice may be in it
            os.rename(new, self.path)
        except OSError:
            os.close(fd)
            raise
        os.close(self.fd)
        self.fd = fd

    def sync(self) -> bool:
        """Make it durable: that a job which must never run twice has started is not forgotten in a power cut."""
        try:
            os.fsync(self.fd)
        except OSError:
            return False
        return True

    def recorded(self) -> None:
        """The worker has recorded all that is in here, and what is not."""
        self.unsaved.clear()
        try:
            if os.fstat(self.fd).st_size > ENDS_LIMIT:
                os.ftruncate(self.fd, 0)
        except OSError:
            pass  # another time
