"""The hint: how far the journal is synced, so that nobody needs to look for its end.

It is overwritten in place after each sync, and never synced itself: after a power cut it may lag behind.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from jobq.store.folder import Folder
from jobq.store.journal import encode_line, is_whole

HINT = "journal.hint"
HINT_BYTES = 192


class Hint(NamedTuple):
    """How far the journal of `generation` is synced, and what the next writer needs to know to append blindly."""

    generation: int
    size: int  # bytes
    seq: int  # of the last line
    next_id: int
    snapshot_end: int  # where the transactions begin, bytes

    def encode(self) -> bytes:
        """Always HINT_BYTES long: it is overwritten in place by one write."""
        return encode_line(self._asdict())[:-1].ljust(HINT_BYTES - 1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Hint | None:
        """None if torn, foreign or empty: then there is no hint. Read at every step, so not by the JSON parser."""
        found = _HINT.fullmatch(data)
        return cls(*map(int, found.groups())) if found and is_whole(data.rstrip()) else None


_HINT = re.compile(
    b'{%b,"crc":"[0-9a-f]{8}"} *\n' % b",".join(b'"%b":(\\d{1,18})' % name.encode() for name in Hint._fields)
)


def read_hint(folder: Folder) -> Hint | None:
    """The hint as it is now; a torn read is read once more."""
    try:
        fd = folder.file(HINT, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return Hint.decode(os.pread(fd, HINT_BYTES, 0)) or Hint.decode(os.pread(fd, HINT_BYTES, 0))
    finally:
        os.close(fd)


def write_hint(folder: Folder, hint: Hint) -> None:
    """Overwrite the hint in place. Failing is harmless: the next writer finds the end by reading."""
    try:
        fd = folder.file(HINT, os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(fd, hint.encode(), 0)
        finally:
            os.close(fd)
    except OSError:
        pass
