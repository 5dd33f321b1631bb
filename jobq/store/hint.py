"""The hint: how far the journal is synced, so that no process has to search for its end.

It is overwritten in place after each sync, and is never synced itself: after a power cut it may lag behind.
"""

from __future__ import annotations

import os

from jobq.errors import StoreForbidden
from jobq.sealed import is_whole, seal
from jobq.store.folder import Folder

HINT = "journal.hint"
HINT_BYTES = 192
MOST = 1 << 63  # sizes of files, ids and all other numbers stay below it
NAMES = (b'"generation"', b'"size"', b'"seq"', b'"next_id"', b'"snapshot_end"')


class Hint:
    """The synced size of the journal of `generation`, and what a writer needs to append without reading it."""

    def __init__(self, generation: int, size: int, seq: int, next_id: int, snapshot_end: int) -> None:
        self.generation = generation
        self.size = size  # bytes
        self.seq = seq  # of the last line
        self.next_id = next_id
        self.snapshot_end = snapshot_end  # offset of the first transaction, bytes

    def after(self, size: int, seq: int, next_id: int) -> Hint:
        """Return the hint for the same generation, after the journal has grown to this size."""
        return Hint(self.generation, size, seq, next_id, self.snapshot_end)

    def encode(self) -> bytes:
        """Return exactly HINT_BYTES bytes, so that one write overwrites the hint in place."""
        values = (self.generation, self.size, self.seq, self.next_id, self.snapshot_end)
        body = b"{" + b",".join(b"%b:%d" % pair for pair in zip(NAMES, values, strict=True))
        return seal(body)[:-1].ljust(HINT_BYTES - 1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Hint | None:
        """Decode a hint; None if torn, foreign or empty. Every step does this, so the JSON parser would be too slow."""
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
    """Return the current hint, or None; a torn read is repeated once."""
    try:
        fd = folder.file(HINT, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return Hint.decode(os.pread(fd, HINT_BYTES, 0)) or Hint.decode(os.pread(fd, HINT_BYTES, 0))
    finally:
        os.close(fd)


def write_hint(folder: Folder, hint: Hint) -> None:
    """Overwrite the hint in place. A failure is harmless: the next writer finds the end by reading."""
    try:
        fd = folder.file(HINT, os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(fd, hint.encode(), 0)
        finally:
            os.close(fd)
    except (OSError, StoreForbidden):
        pass
