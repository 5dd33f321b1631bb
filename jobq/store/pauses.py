"""A note of the paused queues beside the journal, so that `jobq add` can tell without reading the journal.

    paused.json   {"default":"reason", ...} as one sealed line; "*": all queues

The journal decides; the note is written after it, and never synced. If it is missing or stale, a sentence is missing or
too much.
"""

from __future__ import annotations

import os

from jobq.errors import StoreError
from jobq.sealed import from_json, is_whole, seal, to_json
from jobq.store.folder import Folder, write_all
from jobq.store.format import PAUSED

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_NOTE = 1 << 20  # bytes


def write_note(root: Folder, reasons: Mapping[str, str]) -> None:
    """Record the paused queues and their reasons, as far as the disk allows."""
    try:
        if not reasons and not root.has(PAUSED):
            return
        fd = root.file(PAUSED, os.O_WRONLY | os.O_CREAT)
        try:
            write_all(fd, seal(to_json(dict(reasons) or {"": ""})[:-1].encode("ascii")), 0)
        finally:
            os.close(fd)
    except (OSError, StoreError):
        pass


def read_note(root: Folder) -> dict[str, str]:
    """Return the paused queues and their reasons; nothing if there is no note, or none that can be read."""
    try:
        fd = root.file(PAUSED, os.O_RDONLY)
        try:
            line = os.pread(fd, MOST_NOTE, 0).partition(b"\n")[0]
        finally:
            os.close(fd)
        record = from_json(line.decode("ascii")) if is_whole(line) else None
    except (OSError, StoreError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    return {name: reason for name, reason in record.items() if name not in {"", "crc"} and isinstance(reason, str)}
