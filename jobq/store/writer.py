"""The writer of the journal: it appends every transaction, all or nothing, those of `jobq add` included."""

from __future__ import annotations

import os

from jobq.errors import JournalMoved, NotSaved, SyncFailed
from jobq.store.folder import Folder, write_all
from jobq.system import sync


def append(folder: Folder, name: str, fd: int, data: bytes, at: int) -> None:
    """Write and sync `data` at `at`, the end of the open file `name`; on any error, cut the file back to `at`.

    Raises NotSaved, or SyncFailed: then the kernel may have dropped the bytes, and they must not be trusted. Raises
    JournalMoved if another file has the name by now: no process would ever read what was written. The name is checked
    after the sync, so nothing that was acknowledged has gone to a file that had lost its name before.
    """
    path = f"{folder.path}/{name}"
    try:
        write_all(fd, data, at)
    except OSError as e:
        raise NotSaved(path, e, undone=cut(fd, at)) from None
    try:
        sync(fd)
    except OSError as e:
        raise SyncFailed(path, e, undone=cut(fd, at)) from None
    if not folder.holds(name, fd):
        cut(fd, at)  # the file may come back under its old name
        raise JournalMoved(path)


def cut(fd: int, at: int) -> bool:
    """Drop everything from `at` on; return True if that is durable, so that nothing of it can come back.

    If the file can't be made shorter, the line there is spoiled: a line that begins with NUL is torn, and the next
    writer tries to cut it off again. It must not be taken for the whole line of a writer that died after writing it.
    """
    try:
        try:
            os.ftruncate(fd, at)
        except OSError:
            write_all(fd, b"\0", at)
        sync(fd)
    except OSError:
        return False
    return True
