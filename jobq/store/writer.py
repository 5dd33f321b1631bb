"""Appending to the journal, all or nothing: the one way in which every writer writes, `jobq add` included."""

from __future__ import annotations

import os

from jobq.errors import JournalMoved, NotSaved, SyncFailed
from jobq.store.folder import Folder, write_all
from jobq.system import sync


def append(folder: Folder, name: str, fd: int, data: bytes, at: int) -> None:
    """Write and sync `data` at `at`, the end of the open file of that name; on any error the file is as before.

    Raises NotSaved, or SyncFailed: then the kernel may have dropped the bytes, and they must not be trusted. Raises
    JournalMoved if the name is that of another file by now: what is written is durable, and nobody will ever see it.
    It is looked at behind the sync, so nothing that was acknowledged has gone to a file that had lost its name before.
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
        cut(fd, at)  # it may come back under its old name
        raise JournalMoved(path)


def cut(fd: int, at: int) -> bool:
    """Drop everything from `at` on; whether that is durable, so that nothing of it can come back.

    Where the file can't be made shorter, what lies there is spoiled: a line that begins with NUL is torn, and the next
    writer tries to cut it off again. It must not be taken for the whole line of somebody who died behind his write.
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
