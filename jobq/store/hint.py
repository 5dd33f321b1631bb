"""The hint: how far the journal is synced, so that nobody needs to look for its end.

It is overwritten in place after each sync, and never synced itself: after a power cut it may lag behind.
"""

from __future__ import annotations

import os

from jobq.errors import StoreForbidden
from jobq.sealed import is_whole, seal
from jobq.store.folder import Folder

HINT = "journal.hint"
HINT_BYTES = 192
MOST = 1 << 63  # what a file's size, an id and all other numbers stay below
NAMES = (b'"generation"', b'"size"', b'"seq"', b'"next_id"', b'"snapshot_end"')


class Hint:
    """How far the journal of `generation` is synced, and what the next writer needs to know to append blindly."""

    def __init__(self, generation: int, size: int, seq: int, next_id: int, snapshot_end: int) -> None:
        self.generation = generation
        self.size = size  # bytes
        self.seq = seq  # of the last line
        self.next_id = next_id
        self.snapshot_end = snapshot_end  # where the transactions begin, bytes

    def after(self, size: int, seq: int, next_id: int) -> Hint:
        """The hint once the journal of the same generation has grown to this."""
        return Hint(self.generation, size, seq, next_id, self.snapshot_end)

    def encode(self) -> bytes:
        """Always HINT_BYTES long: it is overwritten in place by one write."""
        values = (self.generation, self.size, self.seq, self.next_id, self.snapshot_end)
        body = b"{" + b",".join(b"%b:%d" % pair for pair in zip(NAMES, values, strict=True))
        return seal(body)[:-1].ljust(HINT_BYTES - 1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Hint | None:
        """None if torn, foreign or empty: then there is no hint. Read at every step, so not by the JSON parser."""
        line = data.rstrip()
        if len(data) != HINT_BYTES or not is_whole(line):
            return None
        members = line[1:].split(b",")[:-1]
        values = [number for name, _, number in (m.partition(b":") for m in members) if number.isdigit()]
        if [m.partition(b":")[0] for m in members] != list(NAMES) or len(values) != len(NAMES):
            return None
        hint = cls(*map(int, values))
        fits = 0 < hint.snapshot_end <= hint.size and hint.next_id > 0
        return hint if fits and max(hint.size, hint.seq, hint.next_id, hint.generation) < MOST else None


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
    except (OSError, StoreForbidden):
        pass
