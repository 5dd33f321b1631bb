"""K.ends, the file in which a supervisor notes what happened, for whoever asks after its worker's death or its own.

A line is JSON that ends in the CRC-32 of what is before it, as in the journal.
"""

from __future__ import annotations

import json
import os
import select
import zlib

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

ENDS_LIMIT = 1 << 16  # bytes that are kept although the worker has recorded them
ENCODER = json.JSONEncoder(separators=(",", ":"))


def line_of(record: dict[str, Any]) -> bytes:
    """The record as a line with its checksum."""
    body = ENCODER.encode(record)[:-1].encode("ascii")
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


class Ends:
    """The file."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self.unsaved: list[bytes] = []  # ends that the disk did not take
        self.mend = b""  # what ends a line that may be torn

    def save(self, line: bytes) -> bool:
        """Append it, whole or not at all; whether it is there."""
        try:
            before = os.fstat(self.fd).st_size
            if os.write(self.fd, self.mend + line) == len(self.mend + line):
                self.mend = b""
                return True
            os.ftruncate(self.fd, before)
        except OSError:
            self.mend = b"\n"  # something of it may be there
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
